//! Patches as columns (im2col), and columns added up to a map again (col2im).
//!
//! ```text
//! columns[n, (c kh + i) kw + j, p ow + q] = x[n, c, p stride - padding + i dilation, q stride - padding + j dilation]
//! o = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
//! ```
//! Cells in the padding are 0. A convolution is the weight (O, C kh kw) times the columns. `fold` adds every cell of the
//! columns where `unfold` takes it from: each is the other's gradient.

use rasgo_kernels::unfold::{self, UnfoldProblem};

use super::{AXES, expect_float, expect_sizes, expect_window, float};
use crate::error::{Error, Result};
use crate::meta::{Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, apply};
use crate::reach::{Reach, Reaches, Window};
use crate::tensor::Tensor;

/// The attributes of [`Tensor::unfold`] and [`Tensor::fold`]: height and width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfoldOptions {
    /// Cells of the window.
    pub kernel: [usize; 2],
    /// Distance of the window's cells.
    pub dilation: [usize; 2],
    /// Zeros added on both sides.
    pub padding: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
}

impl UnfoldOptions {
    /// A window of that size at every place.
    pub fn new(kernel: [usize; 2]) -> Self {
        UnfoldOptions { kernel, dilation: [1; 2], padding: [0; 2], stride: [1; 2] }
    }

    /// The places of the window along height and width of a map.
    fn places(&self, map: [usize; 2]) -> Result<[usize; 2]> {
        let mut places = [0; 2];
        for axis in 0..2 {
            let (size, kernel, stride) = (map[axis], self.kernel[axis], self.stride[axis]);
            let (padding, dilation, along) = (self.padding[axis], self.dilation[axis], AXES[axis + 1]);
            expect_window(along, kernel, stride, dilation)?;
            expect_sizes(along, &[size, kernel, stride, dilation, padding])?;
            let (span, padded) = (dilation * (kernel - 1) + 1, size + 2 * padding);
            if padded < span {
                return Err(Error::shape(format!(
                    "the window spans {span} = {dilation} * ({kernel} - 1) + 1 along {along}, the padded map {map:?} only {padded} = {size} + 2 * {padding}"
                ))
                .hint("use a smaller window or more padding"));
            }
            places[axis] = (padded - span) / stride + 1;
        }
        Ok(places)
    }

    fn problem(&self, planes: usize, input: [usize; 2]) -> Result<UnfoldProblem> {
        let UnfoldOptions { kernel, dilation, padding, stride } = *self;
        Ok(UnfoldProblem { planes, input, output: self.places(input)?, kernel, dilation, padding, stride })
    }

    /// Cells of a window.
    fn cells(&self) -> usize {
        self.kernel[0].saturating_mul(self.kernel[1])
    }
}

/// (N, C, H, W) to (N, C kh kw, L).
#[derive(Debug, Clone)]
struct Unfold(UnfoldOptions);

/// (N, C kh kw, L) to (N, C, H, W) of that height and width.
#[derive(Debug, Clone)]
struct Fold {
    options: UnfoldOptions,
    output: [usize; 2],
}

impl Op for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let x = &inputs[0].shape;
        let [n, c, h, w] = x[..] else {
            return Err(Error::shape(format!("input {x} has {} axes", x.len())).hint("give (N, C, H, W)"));
        };
        if c == 0 || h == 0 || w == 0 {
            return Err(Error::shape(format!("input {x} has an empty axis"))
                .hint("only the batch, axis 0, may be empty"));
        }
        let [p, q] = self.0.places([h, w])?;
        let shape = [n, c.saturating_mul(self.0.cells()), p.saturating_mul(q)];
        Ok(Metas::from_iter([Meta::plain(shape, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let [n, c, h, w] = inputs[0].meta().shape[..] else { unreachable!("checked by infer") };
        let p = self.0.problem(n * c, [h, w]).expect("checked by infer");
        float!(inputs[0].meta().dtype, T => {
            unfold::unfold(&p, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn reach(&self, _which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        let x = &inputs[0];
        let places = self.0.places([x[2], x[3]]).expect("checked by infer");
        let axis = |axis: usize| {
            let window = Window {
                kernel: self.0.kernel[axis],
                stride: self.0.stride[axis],
                padding: self.0.padding[axis] as isize,
                dilation: self.0.dilation[axis],
            };
            Reach::Window(window).of_all(places[axis], x[axis + 2])
        };
        [0, 1].map(axis).into_iter().collect()
    }

    fn grad(&self, saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let x = saved.input_shape(0);
        let op = Fold { options: self.0.clone(), output: [x[2], x[3]] };
        Ok(Grads::from_iter([Some(apply(op, [dy[0].take().expect("one output")])?)]))
    }
}

impl Op for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(inputs)?;
        let (columns, [h, w]) = (&inputs[0].shape, self.output);
        let [n, rows, length] = columns[..] else {
            return Err(Error::shape(format!("input {columns} has {} axes", columns.len()))
                .hint("give (N, C * kernel height * kernel width, L), as unfold makes it"));
        };
        if rows == 0 || length == 0 || h == 0 || w == 0 {
            return Err(Error::shape(format!("input {columns}, output_size [{h}, {w}]: an axis is empty"))
                .hint("only the batch, axis 0, may be empty"));
        }
        let [p, q] = self.options.places([h, w])?;
        let (cells, [kh, kw]) = (self.options.cells(), self.options.kernel);
        if !rows.is_multiple_of(cells) {
            return Err(Error::shape(format!(
                "axis 1 of input {columns} is {rows}, which is not divisible by {cells} = {kh} * {kw} cells of the window"
            ))
            .hint("give the kernel that the columns were made with"));
        }
        let places = p.saturating_mul(q);
        if places != length {
            return Err(Error::shape(format!(
                "the window has {places} = {p} * {q} places in [{h}, {w}], input {columns} has {length} columns"
            ))
            .hint("give the output_size, dilation, padding and stride that the columns were made with"));
        }
        Ok(Metas::from_iter([Meta::plain(Shape::from([n, rows / cells, h, w]), dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::Plain
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let planes = outputs[0].meta().shape[0] * outputs[0].meta().shape[1];
        let p = self.options.problem(planes, self.output).expect("checked by infer");
        float!(inputs[0].meta().dtype, T => {
            unfold::fold(&p, inputs[0].values::<T>(), outputs[0].values::<T>());
        });
    }

    fn grad(&self, _saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        Ok(Grads::from_iter([Some(apply(Unfold(self.options.clone()), [dy])?)]))
    }
}

impl Tensor {
    /// The patches of (N, C, H, W) as the columns of (N, C kh kw, L), row by row of the map; im2col. As
    /// `torch.nn.functional.unfold`.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::UnfoldOptions};
    /// let x = Tensor::arange(0.0, 6.0, 1.0)?.reshape([1, 1, 2, 3])?;
    /// let columns = x.unfold(&UnfoldOptions::new([2, 2]))?;
    /// assert_eq!(**columns.shape(), [1, 4, 2]);
    /// assert_eq!(columns.to_vec::<f32>()?, [0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0, 5.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn unfold(&self, options: &UnfoldOptions) -> Result<Tensor> {
        apply(Unfold(options.clone()), [self.clone()])
    }

    /// Adds the cells of the columns (N, C kh kw, L) up to (N, C, H, W), each where [`unfold`](Self::unfold) takes it
    /// from; col2im. As `torch.nn.functional.fold`. Where windows overlap it is no inverse, but the gradient.
    ///
    /// ```
    /// # use rasgo_core::{DType, Tensor, ops::UnfoldOptions};
    /// let columns = Tensor::ones([1, 4, 2], DType::F32)?;
    /// let x = columns.fold([2, 3], &UnfoldOptions::new([2, 2]))?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn fold(&self, output_size: [usize; 2], options: &UnfoldOptions) -> Result<Tensor> {
        apply(Fold { options: options.clone(), output: output_size }, [self.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::grad_check::{check, check_twice, normal};
    use super::*;
    use crate::DType;
    use crate::ops::ConvOptions;

    /// (37 i mod 23) - 11.
    fn numbers(shape: impl Into<Shape>) -> Tensor {
        Tensor::from_fn(shape, |x: &mut [f64]| {
            x.iter_mut().enumerate().for_each(|(i, x)| *x = (i * 37 % 23) as f64 - 11.0);
        })
    }

    fn options() -> UnfoldOptions {
        UnfoldOptions { padding: [0, 1], stride: [1, 2], ..UnfoldOptions::new([2, 3]) }
    }

    #[test]
    fn the_lectures_image_has_the_lectures_columns() {
        #[rustfmt::skip]
        let x = vec![
            7., 6., 8., 5., 1., 3.,
            8., 6., 5., 3., 5., 5.,
            9., 1., 1., 5., 3., 5.,
            4., 5., 5., 9., 2., 6.,
            9., 5., 3., 1., 2., 2.,
            4., 4., 8., 8., 9., 8.0f32,
        ];
        #[rustfmt::skip]
        let x_col = [
            7., 6., 8., 5., 8., 6., 5., 3., 9., 1., 1., 5., 4., 5., 5., 9.,
            6., 8., 5., 1., 6., 5., 3., 5., 1., 1., 5., 3., 5., 5., 9., 2.,
            8., 5., 1., 3., 5., 3., 5., 5., 1., 5., 3., 5., 5., 9., 2., 6.,
            8., 6., 5., 3., 9., 1., 1., 5., 4., 5., 5., 9., 9., 5., 3., 1.,
            6., 5., 3., 5., 1., 1., 5., 3., 5., 5., 9., 2., 5., 3., 1., 2.,
            5., 3., 5., 5., 1., 5., 3., 5., 5., 9., 2., 6., 3., 1., 2., 2.,
            9., 1., 1., 5., 4., 5., 5., 9., 9., 5., 3., 1., 4., 4., 8., 8.,
            1., 1., 5., 3., 5., 5., 9., 2., 5., 3., 1., 2., 4., 8., 8., 9.,
            1., 5., 3., 5., 5., 9., 2., 6., 3., 1., 2., 2., 8., 8., 9., 8.0f32,
        ];
        let x = Tensor::from_vec(x, [1, 1, 6, 6]).unwrap();
        let columns = x.unfold(&UnfoldOptions::new([3, 3])).unwrap();
        assert_eq!(**columns.shape(), [1, 9, 16]);
        assert_eq!(columns.to_vec::<f32>().unwrap(), x_col);
        // The pooling of the lecture's two feature maps takes the columns of both channels at once.
        let h = [
            5., 5., -1., -4., -4., -7., -1., -6., -1., -10., 6., -8., -9., -8., -6., -6., -3., 5., 3., -6.,
            -3., -7., 3., -13., -5., -12., 4., -7., -9., -4., -6., -5.0f32,
        ];
        let h_col = [
            5., -1., -1., 6., 5., -4., -10., -8., -4., -1., -9., -6., -7., -6., -8., -6., -3., 3., -5., 4.,
            5., -6., -12., -7., -3., 3., -9., -6., -7., -13., -4., -5.0f32,
        ];
        let h = Tensor::from_vec(h.to_vec(), [1, 2, 4, 4]).unwrap().to_channels_last();
        let pool = UnfoldOptions { stride: [2, 2], ..UnfoldOptions::new([2, 2]) };
        assert_eq!(h.unfold(&pool).unwrap().to_vec::<f32>().unwrap(), h_col);
    }

    #[test]
    fn columns_and_their_sums_are_pytorchs() {
        let columns = numbers([1, 2, 3, 4]).unfold(&options()).unwrap();
        #[rustfmt::skip]
        let want = [
            0., 3., 0., -10., -11., -6., -1., 4., 3., 8., -10., -5., 0., -10., 0., 0., -1., 4., 9., -9., -10., -5., 0.,
            5., 0., 10., 0., -3., -4., 1., 6., 11., 10., -8., -3., 2., 0., -3., 0., 7., 6., 11., -7., -2., -3., 2., 7.,
            -11.,
        ];
        assert_eq!(columns.to_vec::<f64>().unwrap(), want);
        let wide =
            UnfoldOptions { dilation: [2, 3], padding: [1, 0], stride: [3, 1], ..UnfoldOptions::new([2, 2]) };
        let columns = numbers([1, 1, 4, 5]).unfold(&wide).unwrap();
        let want = [0., 0., -9., 5., 0., 0., 10., 1., -10., 4., 0., 0., 9., 0., 0., 0.];
        assert_eq!(columns.to_vec::<f64>().unwrap(), want);
        let map = numbers([1, 12, 4]).fold([3, 4], &options()).unwrap();
        let want = [
            -1., 12., -10., 0., 10., 2., -8., 12., 11., -10., 2., -11., -10., -6., 4., -9., -8., 12., 20.,
            -6., 2., -5., -7., 3.,
        ];
        assert_eq!(map.to_vec::<f64>().unwrap(), want);
    }

    #[test]
    fn each_is_the_others_gradient() {
        let wide = UnfoldOptions { dilation: [2, 1], padding: [2, 3], stride: [3, 2], kernel: [2, 3] };
        for options in [options(), wide] {
            let x = normal([2, 3, 5, 6], 1);
            let columns = x.unfold(&options).unwrap();
            check(std::slice::from_ref(&x), |x| x[0].unfold(&options));
            check_twice(std::slice::from_ref(&x), |x| x[0].unfold(&options));
            check(std::slice::from_ref(&columns), |x| x[0].fold([5, 6], &options));
            check_twice(std::slice::from_ref(&columns), |x| x[0].fold([5, 6], &options));
        }
    }

    #[test]
    fn a_convolution_is_its_weight_times_the_columns() {
        let (x, w) = (normal([2, 3, 5, 6], 1), normal([4, 3, 2, 3], 2));
        let conv =
            ConvOptions { stride: [1, 1, 2], padding: [(0, 0), (0, 0), (1, 1)], ..ConvOptions::default() };
        let y = x.conv(&w, None, &conv).unwrap().to_f64_vec().unwrap();
        let rows = w.reshape([4, 18]).unwrap().to_f64_vec().unwrap();
        let columns = x.unfold(&options()).unwrap();
        let (places, columns) = (columns.shape()[2], columns.to_f64_vec().unwrap());
        for (at, y) in y.into_iter().enumerate() {
            let (n, o, p) = (at / (4 * places), at / places % 4, at % places);
            let sum: f64 = (0..18).map(|k| rows[o * 18 + k] * columns[(n * 18 + k) * places + p]).sum();
            assert!((sum - y).abs() < 1e-12, "{at}");
        }
    }

    #[test]
    fn layouts_and_narrowed_maps_unfold_alike() {
        for c in 1..10 {
            let x = numbers([3, c, 5, 6]);
            let same = x.unfold(&options()).unwrap().to_vec::<f64>().unwrap();
            let last = x.clone().to_channels_last().unfold(&options()).unwrap();
            assert_eq!(last.to_vec::<f64>().unwrap(), same);
            let part = x.narrow(0, 1, 2).unwrap().unfold(&options()).unwrap();
            assert_eq!(part.to_vec::<f64>().unwrap(), same[same.len() / 3..]);
        }
    }

    #[test]
    fn an_empty_batch_unfolds_and_what_pytorch_refuses_is_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
        let columns = zeros(&[0, 3, 5, 6]).unfold(&options()).unwrap();
        assert_eq!(**columns.shape(), [0, 18, 12]);
        assert_eq!(**columns.fold([5, 6], &options()).unwrap().shape(), [0, 3, 5, 6]);
        let unfold =
            |shape: &[usize], options: &UnfoldOptions| zeros(shape).unfold(options).unwrap_err().to_string();
        for shape in [[2, 0, 5, 6], [2, 3, 0, 6], [2, 3, 5, 0]] {
            assert!(unfold(&shape, &options()).contains("empty axis"));
        }
        assert!(unfold(&[2, 3, 5], &options()).contains("unfold: input [2, 3, 5] has 3 axes"));
        let text = unfold(&[2, 3, 5, 6], &UnfoldOptions::new([2, 7]));
        assert!(
            text.contains("spans 7 = 1 * (7 - 1) + 1 along width") && text.contains("unfold.rs"),
            "{text}"
        );
        for zero in [
            UnfoldOptions::new([0, 2]),
            UnfoldOptions { stride: [1, 0], ..options() },
            UnfoldOptions { dilation: [0, 1], ..options() },
        ] {
            assert!(unfold(&[2, 3, 5, 6], &zero).contains("must be 1 or more"));
        }
        let fold = |shape: &[usize], size, options: &UnfoldOptions| {
            zeros(shape).fold(size, options).unwrap_err().to_string()
        };
        assert!(fold(&[2, 17, 12], [5, 6], &options()).contains("17, which is not divisible by 6 = 2 * 3"));
        assert!(fold(&[2, 18, 12], [5, 8], &options()).contains("16 = 4 * 4 places in [5, 8]"));
        assert!(fold(&[2, 18, 12], [0, 6], &options()).contains("an axis is empty"));
        assert!(fold(&[2, 0, 12], [5, 6], &options()).contains("an axis is empty"));
        assert!(fold(&[2, 18, 12], [1, 6], &options()).contains("spans 2"));
        assert!(fold(&[18, 12], [5, 6], &options()).contains("has 2 axes"));
        let huge = UnfoldOptions { padding: [1 << 40, 0], ..options() };
        assert!(unfold(&[2, 3, 5, 6], &huge).contains("is the most"));
    }
}
