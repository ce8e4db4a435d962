//! What an architecture builds.

use std::sync::Mutex;

use rasgo_core::op::{Event, is_observed};
use rasgo_core::{DType, Result, Tensor, no_grad, observe, scope};

use super::Architecture;
use crate::nn::{
    Item, Module, ModuleExt, Sequential, Visitable, Visitor, VisitorMut, shape_only_forward, walk,
};

/// A network of a backbone, which finds features, and a head, which predicts from them.
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    backbone: Sequential,
    neck: Sequential,
    head: Sequential,
    /// Of the samples' shape and dtype in the last prediction, how many are computed at a time.
    together: Mutex<Option<(Vec<usize>, DType, usize)>>,
}

/// Bytes of what a layer reads and writes of all samples that are computed at a time: a quarter of the last-level cache of
/// a processor of eight cores.
const CACHE: usize = 8 << 20;

impl Network {
    pub(super) fn new(
        architecture: Architecture,
        backbone: Sequential,
        neck: Sequential,
        head: Sequential,
    ) -> Network {
        let network = Network { architecture, backbone, neck, head, together: Mutex::new(None) };
        network.name_layers();
        network
    }

    /// The layers as a model file lists them.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.architecture.class_count()
    }

    /// The layers that find features.
    pub fn backbone(&self) -> &Sequential {
        &self.backbone
    }

    /// The layers that find features, to be frozen: `network.backbone_mut().set_frozen(true)`.
    pub fn backbone_mut(&mut self) -> &mut Sequential {
        &mut self.backbone
    }

    /// The layers that predict.
    pub fn head(&self) -> &Sequential {
        &self.head
    }

    /// The layers that predict, to be replaced: `*network.head_mut() = …`.
    pub fn head_mut(&mut self) -> &mut Sequential {
        &mut self.head
    }

    /// The same network with a new last layer for another number of classes; all other weights stay.
    ///
    /// # Errors
    /// If the new architecture does not build.
    pub fn with_classes(self, classes: usize) -> Result<Network> {
        let fresh = self.architecture.clone().classes(classes).build()?;
        let old = self.state_dict();
        let mut network = fresh;
        let kept: Vec<(String, Tensor)> = network
            .state_dict()
            .into_iter()
            .map(|(name, tensor)| {
                let same = old.iter().find(|(old, value)| *old == name && value.shape() == tensor.shape());
                (name, same.map_or(tensor, |(_, value)| value.clone()))
            })
            .collect();
        network.load_state_dict(&kept)?;
        Ok(network)
    }
}

impl Network {
    /// How many samples of that shape and dtype are computed at a time: so many that the maps of no layer leave the cache. All of
    /// them where there are more weights than values in the maps of a sample, since those would be read for each part again.
    fn together(&self, sample: &[usize], dtype: DType) -> usize {
        let mut last = self.together.lock().expect("no panic holds what was counted");
        if let Some((shape, of, count)) = &*last
            && (&**shape, *of) == (sample, dtype)
        {
            return *count;
        }
        let one: Vec<usize> = std::iter::once(1).chain(sample.iter().copied()).collect();
        let x = Tensor::shape_only(one, dtype);
        let mut before = x.meta().bytes();
        let (_, events) = observe(|| shape_only_forward(|| self.forward(x)));
        let (mut all, mut largest) = (0, before);
        for event in events {
            // Weights that an operation reshapes for those of bfloat16 are no maps.
            if let Event::Op { output, .. } = event
                && output.dtype == dtype
            {
                all += output.bytes();
                largest = largest.max(before + output.bytes());
                before = output.bytes();
            }
        }
        let weights = size_of::<f32>() * self.parameter_count();
        let count = if weights > all { usize::MAX } else { (CACHE / largest.max(1)).max(1) };
        *last = Some((sample.to_vec(), dtype, count));
        count
    }

    /// Whether what becomes of a sample is independent of those beside it, as in evaluation.
    fn is_of_samples(&self) -> bool {
        let mut independent = true;
        walk(self, |_, item| {
            if let Item::Mode(mode) = item {
                independent &= mode.is_of_samples();
            }
        });
        independent
    }
}

impl Module for Network {
    /// Where maps are large, a few samples at a time; a sample has the same bits with any others.
    fn predict(&self, x: Tensor) -> Result<Tensor> {
        let count = x.shape().first().copied().unwrap_or(0);
        no_grad(|| {
            if count < 2 || is_observed() {
                return self.forward(x);
            }
            let together = self.together(&x.shape()[1..], x.dtype());
            if count <= together || !self.is_of_samples() {
                return self.forward(x);
            }
            let each = count.div_ceil(count.div_ceil(together));
            let mut rows = Vec::with_capacity(count.div_ceil(each));
            for start in (0..count).step_by(each) {
                rows.push(self.forward(x.narrow(0, start, each.min(count - start))?)?);
            }
            Tensor::cat(&rows, 0)
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let _site = scope::enter_container();
        let x = self.backbone.forward(x.to_channels_last())?;
        self.head.forward(self.neck.forward(x)?)
    }
}

impl Visitable for Network {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let [backbone, neck, head] = self.architecture.part_names();
        visitor.field(backbone, &self.backbone);
        visitor.field(neck, &self.neck);
        visitor.field(head, &self.head);
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        let [backbone, neck, head] = self.architecture.part_names();
        visitor.field(backbone, &mut self.backbone);
        visitor.field(neck, &mut self.neck);
        visitor.field(head, &mut self.head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::named;

    #[test]
    fn a_prediction_in_parts_has_the_bits_of_the_whole_batch_and_training_is_not_cut() {
        let mut network = named("mobilenet_v2").unwrap().architecture().build().unwrap();
        let x = Tensor::rand([3, 3, 224, 224]);
        assert_eq!(network.together(&[3, 224, 224], DType::F32), 1);
        // Half of the bytes.
        let small = |dtype| network.together(&[3, 160, 160], dtype);
        assert_eq!([small(DType::F32), small(DType::Bf16)], [1, 3]);
        // The statistics of a batch are those of all of its samples.
        assert!(!network.is_of_samples());
        network.eval();
        assert!(network.is_of_samples());
        let bits = |y: Tensor| y.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let whole = bits(no_grad(|| network.forward(x.clone())).unwrap());
        assert!(bits(network.predict(x).unwrap()) == whole);
    }

    #[test]
    fn a_norm_that_takes_the_batchs_statistics_in_evaluation_too_keeps_the_batch_together() {
        let layers = "input = [1, 8, 8]
            [[layer]]
            type = 'BatchNorm2d'
            track_running_stats = false
            [[layer]]
            type = 'Flatten'
            [[layer]]
            type = 'Linear'";
        let mut network = Architecture::from_toml(layers).unwrap().build().unwrap();
        network.eval();
        assert!(!network.is_of_samples());
    }

    #[test]
    fn a_network_of_many_weights_or_small_maps_is_not_cut() {
        let together = |name: &str| {
            let architecture = named(name).unwrap().architecture();
            architecture.build().unwrap().together(&architecture.input, DType::F32)
        };
        assert_eq!(together("alexnet"), usize::MAX);
        assert_eq!(together("resnet18"), usize::MAX);
        assert!(together("rasgo-small") >= 32);
    }
}
