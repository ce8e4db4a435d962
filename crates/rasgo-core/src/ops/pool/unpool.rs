//! The inverse of a max pooling: each maximum goes back to where it was, all else is 0.

use rasgo_kernels::pool;

use super::plane::{PlaneGather, problem};
use super::{expect_maps, name_of, with_spatial};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Meta, Shape};
use crate::op::{Grads, Input, LayoutRule, Mask, Metas, Op, Output, Saved, Saves, apply};
use crate::ops::{AXES, expect_float, expect_sizes, expect_window, float};
use crate::reach::{self, Reach, Reaches, Window};
use crate::scope;
use crate::tensor::Tensor;

const NAMES: [&str; 3] = ["max_unpool1d", "max_unpool2d", "max_unpool3d"];

/// The attributes of the max pooling that is undone; of fewer than three spatial axes the last are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxUnpoolOptions {
    /// Cells of the window.
    pub kernel: [usize; 3],
    /// Step of the window.
    pub stride: [usize; 3],
    /// Cells that were added on both sides.
    pub padding: [usize; 3],
    /// The size of the pooling's input, where several have the same output; `(in - 1) stride - 2 padding + kernel` by
    /// default. It must differ from that by less than the stride.
    pub output_size: Option<[usize; 3]>,
}

impl MaxUnpoolOptions {
    /// Windows of that size side by side.
    pub fn new(kernel: [usize; 3]) -> Self {
        MaxUnpoolOptions { kernel, stride: kernel, padding: [0; 3], output_size: None }
    }

    fn output_shape(&self, x: &Shape) -> Result<Shape> {
        expect_maps(x)?;
        let (_, _, input) = x.image();
        let mut output = [1; 3];
        for axis in 5 - x.len()..3 {
            let (size, kernel, stride) = (input[axis], self.kernel[axis], self.stride[axis]);
            let (padding, along) = (self.padding[axis], AXES[axis]);
            expect_window(along, kernel, stride, 1)?;
            expect_sizes(along, &[size, kernel, stride, padding])?;
            let filled = (size - 1) * stride + kernel;
            let arithmetic =
                format!("({size} - 1) * {stride} + {kernel} - 2 * {padding} along {along}, of input {x}");
            let wanted = match self.output_size {
                None => filled.checked_sub(2 * padding),
                Some(sizes) => {
                    let wanted = sizes[axis];
                    expect_sizes(along, &[wanted])?;
                    if (wanted + 2 * padding).abs_diff(filled) >= stride {
                        return Err(Error::argument(format!(
                            "output_size {wanted} is not within {stride} of {} = {arithmetic}",
                            filled as i128 - 2 * padding as i128
                        ))
                        .hint("give the size of the input of the pooling that made the indices"));
                    }
                    Some(wanted)
                }
            };
            output[axis] = wanted.ok_or_else(|| {
                Error::argument(format!("the output would have {arithmetic}, which is less than 0"))
                    .hint("give the padding of the pooling that made the indices")
            })?;
        }
        Ok(with_spatial(x, output))
    }
}

/// y from x and indices.
#[derive(Debug)]
struct MaxUnpool {
    options: MaxUnpoolOptions,
    name: &'static str,
}

impl Op for MaxUnpool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let dtype = expect_float(&inputs[..1])?;
        let (x, indices) = (&inputs[0].shape, &inputs[1]);
        if indices.dtype != DType::I64 {
            return Err(Error::new(ErrorKind::DType, format!("indices of {}", indices.dtype))
                .hint("give those of max_pool_with_indices, or convert them with .to_dtype(DType::I64)"));
        }
        if indices.shape != *x {
            return Err(Error::shape(format!("indices {} for input {x}", indices.shape))
                .hint("each value needs one index, so the shapes must be the same"));
        }
        Ok(Metas::from_iter([Meta::channels_last(self.options.output_shape(x)?, dtype)]))
    }

    fn layout(&self) -> LayoutRule {
        LayoutRule::ChannelsLast(Mask::of(&[0, 1]))
    }

    fn eval(&self, inputs: &[Input], outputs: &mut [Output]) {
        let p = problem(&outputs[0].meta().shape, &inputs[0].meta().shape);
        float!(inputs[0].meta().dtype, T => {
            let (x, indices) = (inputs[0].values::<T>(), inputs[1].values::<i64>());
            pool::scatter_last(&p, x, indices, outputs[0].values::<T>());
        });
    }

    fn reach(&self, which: usize, inputs: &[Shape], _output: &Shape) -> Reaches {
        let MaxUnpoolOptions { kernel, stride, padding, .. } = self.options;
        reach::of_axes(&inputs[which], |axis| {
            let (kernel, stride, padding) = (kernel[axis], stride[axis], padding[axis] as isize);
            Reach::Transposed(Window { kernel, stride, padding, dilation: 1 })
        })
    }

    fn saves(&self) -> Saves {
        Saves { inputs: Mask::of(&[1]), outputs: Mask::NONE }
    }

    fn grad(&self, mut saved: Saved, mut dy: Grads, _needs: Mask) -> Result<Grads> {
        let dy = dy[0].take().expect("one output");
        let dx = apply(PlaneGather { name: self.name }, [dy, saved.input(1)])?;
        Ok(Grads::from_iter([Some(dx), None]))
    }
}

impl Tensor {
    /// Puts each value at its index in an otherwise zero plane: `max_unpool1d`, `2d`, `3d` by the number of spatial
    /// axes. `indices` are those of [`max_pool_with_indices`](Self::max_pool_with_indices), in the shape of this tensor.
    ///
    /// Where several values have the same index, as after overlapping windows, the last of them stays. Each value's
    /// gradient is the one at its index, also where it did not stay, as in PyTorch.
    ///
    /// ```
    /// # use rasgo_core::{Tensor, ops::{MaxPoolOptions, MaxUnpoolOptions}};
    /// let x = Tensor::from_vec(vec![1.0f32, 5.0, 2.0, 7.0], [1, 1, 4])?;
    /// let (y, indices) = x.max_pool_with_indices(&MaxPoolOptions::new([1, 1, 2]))?;
    /// let back = y.max_unpool(&indices, &MaxUnpoolOptions::new([1, 1, 2]))?;
    /// assert_eq!(back.to_vec::<f32>()?, [0.0, 5.0, 0.0, 7.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside the output's planes is named.
    #[track_caller]
    pub fn max_unpool(&self, indices: &Tensor, options: &MaxUnpoolOptions) -> Result<Tensor> {
        let name = name_of(NAMES, self.shape());
        // Where the shapes are wrong, infer says so.
        if indices.dtype() == DType::I64
            && !indices.is_shape_only()
            && let Ok(output) = options.output_shape(self.shape())
            && let Some(pixels) = Shape::from(&output[2..]).checked_elements()
            && let Some(index) = indices.raw::<i64>().iter().find(|&&i| i < 0 || i as u64 >= pixels as u64)
        {
            let text = format!(
                "index {index} in planes of {pixels} pixels, {}, of output {output}",
                Shape::from(&output[2..])
            );
            let error = Error::new(ErrorKind::Index, text)
                .op(name)
                .hint("give the output_size of the pooling that made the indices");
            return Err(scope::annotate(error).at(std::panic::Location::caller()));
        }
        apply(MaxUnpool { options: options.clone(), name }, [self.clone(), indices.clone()])
    }
}
