//! Weights that stay arranged for the kernels from one evaluation to the next.
//!
//! The arrangement is kept beside the values, in their storage, so that whatever replaces or writes them drops it:
//! values have one place that writes them, `Tensor::update`, and a copy has a storage of its own.

use rasgo_kernels::gemm::PackedWeight;

use super::{Input, grad_enabled};
use crate::meta::DType;

impl Input {
    /// The values as `pack` arranges them. `None` while gradients are recorded, since then the next step would change
    /// the values, and where `pack` leaves them as they are.
    ///
    /// What is kept may have been made for another shape of the same values, or for another instruction set: a kernel
    /// looks whether it fits, and arranges the values for itself if not.
    pub(crate) fn packed(&self, pack: impl FnOnce(&[f32]) -> Option<PackedWeight>) -> Option<&PackedWeight> {
        let storage = self.storage.as_ref()?;
        if grad_enabled() || self.meta.dtype != DType::F32 || self.offset > 0 {
            return None;
        }
        if storage.packed.get().is_none() {
            // No thread waits for another that packs, since that one may need the threads that wait: of two that
            // pack at once, one is kept.
            let _ = pack(self.values()).map(|packed| storage.packed.set(Box::new(packed)));
        }
        storage.packed.get().map(|packed| &**packed)
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::ConvOptions;
    use crate::tensor::{Tensor, Value};
    use crate::{Result, no_grad};

    fn is_packed(tensor: &Tensor) -> bool {
        match tensor.detach().into_parts().1 {
            Value::Data { storage, .. } => storage.packed.get().is_some(),
            Value::ShapeOnly => false,
        }
    }

    fn bits(y: Result<Tensor>) -> Vec<u32> {
        y.unwrap().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    type OfWeight = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

    /// A weight and a function of it, for each op that keeps weights.
    fn cases() -> Vec<(Tensor, OfWeight)> {
        let (row, map) = (Tensor::randn([3, 40]), Tensor::randn([3, 8, 6, 5]));
        let grouped = ConvOptions { groups: 2, padding: [(1, 1); 3], ..ConvOptions::default() };
        let maps = map.clone();
        vec![
            (Tensor::randn([19, 40]), Box::new(move |w| row.linear(w, None))),
            (Tensor::randn([19, 8, 3, 3]), Box::new(move |w| map.conv(w, None, &ConvOptions::default()))),
            (Tensor::randn([18, 4, 3, 3]), Box::new(move |w| maps.conv(w, None, &grouped))),
        ]
    }

    #[test]
    fn evaluation_keeps_a_packed_weight_with_the_same_bits_and_recording_keeps_none() {
        for (weight, f) in cases() {
            let recorded = bits(f(&weight));
            assert!(!is_packed(&weight));
            for _ in 0..2 {
                assert_eq!(bits(no_grad(|| f(&weight))), recorded);
                assert!(is_packed(&weight) && is_packed(&weight.clone()));
            }
            assert_eq!(bits(f(&weight)), recorded);
        }
    }

    #[test]
    fn a_packed_weight_is_dropped_when_its_values_change_and_stays_with_who_kept_them() {
        for (mut weight, f) in cases() {
            let before = bits(no_grad(|| f(&weight)));
            weight.update(|w: &mut [f32]| w[7] += 1.0).unwrap();
            assert!(!is_packed(&weight));
            let after = bits(no_grad(|| f(&weight)));
            assert_ne!(after, before);
            let other = weight.clone();
            weight.update(|w: &mut [f32]| w[7] -= 1.0).unwrap();
            assert!(is_packed(&other) && !is_packed(&weight));
            assert_eq!(bits(no_grad(|| f(&other))), after);
            assert_eq!(bits(no_grad(|| f(&weight))), bits(f(&weight)));
        }
    }

    #[test]
    fn a_view_of_another_shape_or_place_does_not_take_the_packed_weight_of_the_whole() {
        let (x, weight) = (Tensor::randn([2, 12]), Tensor::randn([8, 12]));
        no_grad(|| x.linear(&weight, None)).unwrap();
        assert!(is_packed(&weight));
        let wide = Tensor::randn([2, 24]);
        for (x, view) in [
            (&x, weight.narrow(0, 0, 4).unwrap()),
            (&x, weight.narrow(0, 4, 4).unwrap()),
            (&wide, weight.reshape([4, 24]).unwrap()),
        ] {
            assert_eq!(bits(no_grad(|| x.linear(&view, None))), bits(x.linear(&view.deep_copy(), None)));
        }
    }

    #[test]
    fn a_depthwise_filter_and_a_very_large_matrix_are_not_kept_twice() {
        let options = ConvOptions { groups: 16, ..ConvOptions::default() };
        let filters = Tensor::randn([16, 1, 3, 3]);
        no_grad(|| Tensor::randn([1, 16, 5, 5]).conv(&filters, None, &options)).unwrap();
        let matrix = Tensor::randn([1025, 1024]);
        no_grad(|| Tensor::randn([1, 1024]).linear(&matrix, None)).unwrap();
        assert!(!is_packed(&filters) && !is_packed(&matrix));
    }
}
