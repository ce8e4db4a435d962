//! Constructors.

use rasgo_kernels::{Bf16, Buffer};

use super::Tensor;
use crate::error::{Error, Result};
use crate::meta::{DType, Element, Meta, Shape};
use crate::random::next_key;

/// Memory for a tensor whose shape nobody has checked.
fn allocate(shape: Shape, dtype: DType) -> Result<(Meta, Buffer)> {
    if shape.checked_elements().is_none() {
        return Err(Error::shape(format!("shape {shape} is too large for any memory")));
    }
    let meta = Meta::plain(shape, dtype);
    match Buffer::of_bytes(meta.bytes()) {
        Some(buffer) => Ok((meta, buffer)),
        None => Err(Error::memory(&meta.shape, meta.bytes())),
    }
}

impl Tensor {
    /// A tensor of the given values in row-major order.
    #[track_caller]
    pub fn from_vec<T: Element>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::from_slice(&values, shape)
    }

    /// A tensor with a copy of the given values in row-major order.
    #[track_caller]
    pub fn from_slice<T: Element>(values: &[T], shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if values.len() != shape.elements() {
            return Err(Error::shape(format!(
                "{} values for shape {shape}, which has {} elements",
                values.len(),
                shape.elements()
            ))
            .op("from_vec")
            .at(std::panic::Location::caller()));
        }
        Ok(Tensor::from_buffer(Meta::plain(shape, T::DTYPE), Buffer::from_slice(values)))
    }

    /// A tensor whose values `write` puts in place, in row-major order.
    pub fn from_fn<T: Element>(shape: impl Into<Shape>, write: impl FnOnce(&mut [T])) -> Tensor {
        let meta = Meta::plain(shape, T::DTYPE);
        let mut buffer = Buffer::new::<T>(meta.shape.elements());
        write(buffer.as_mut_slice::<T>());
        Tensor::from_buffer(meta, buffer)
    }

    /// As [`from_fn`](Self::from_fn), for a shape that somebody else names: more than the system gives memory for is an
    /// error.
    pub fn try_from_fn<T: Element>(shape: impl Into<Shape>, write: impl FnOnce(&mut [T])) -> Result<Tensor> {
        let (meta, mut buffer) = allocate(shape.into(), T::DTYPE)?;
        write(buffer.as_mut_slice::<T>());
        Ok(Tensor::from_buffer(meta, buffer))
    }

    /// A tensor of (N, C, …) whose values `write` puts in place in channels-last order: N, spatial axes, C.
    pub fn from_fn_channels_last<T: Element>(
        shape: impl Into<Shape>,
        write: impl FnOnce(&mut [T]),
    ) -> Tensor {
        let meta = Meta::channels_last(shape, T::DTYPE);
        let mut buffer = Buffer::new::<T>(meta.shape.elements());
        write(buffer.as_mut_slice::<T>());
        Tensor::from_buffer(meta, buffer)
    }

    /// One number.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_buffer(Meta::plain([], T::DTYPE), Buffer::from_slice(&[value]))
    }

    /// All elements have the same value, which is rounded to the dtype.
    pub fn full(shape: impl Into<Shape>, value: f64, dtype: DType) -> Result<Tensor> {
        let (meta, mut buffer) = allocate(shape.into(), dtype).map_err(|error| error.op("full"))?;
        match dtype {
            DType::F32 => buffer.as_mut_slice::<f32>().fill(value as f32),
            DType::F64 => buffer.as_mut_slice::<f64>().fill(value),
            DType::Bf16 => buffer.as_mut_slice::<Bf16>().fill(Bf16::from_f32(value as f32)),
            DType::I64 => buffer.as_mut_slice::<i64>().fill(value as i64),
            DType::U8 => buffer.as_mut_slice::<u8>().fill(value as u8),
        }
        Ok(Tensor::from_buffer(meta, buffer))
    }

    /// Zeros.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        Tensor::full(shape, 0.0, dtype)
    }

    /// Zeros of f32 in memory of their own, for what lives as long as a model, as an optimiser's means: so they do not lie in
    /// the midst of what every step needs again.
    pub fn lasting_zeros(shape: impl Into<Shape>) -> Tensor {
        let meta = Meta::plain(shape, DType::F32);
        let buffer = Buffer::lasting::<f32>(meta.shape.elements());
        Tensor::from_buffer(meta, buffer)
    }

    /// A copy of a plain tensor of f32 in such memory, as parameters have.
    ///
    /// # Errors
    /// Another dtype; a tensor without values.
    pub fn to_lasting(&self) -> Result<Tensor> {
        let mut copy = Tensor::lasting_zeros(self.shape().clone());
        let values = self.as_slice::<f32>()?;
        copy.update(|copy: &mut [f32]| copy.copy_from_slice(values))?;
        Ok(copy)
    }

    /// Ones.
    pub fn ones(shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        Tensor::full(shape, 1.0, dtype)
    }

    /// `start`, `start + step`, … below `end` (above it, for a negative step), as f32.
    #[track_caller]
    pub fn arange(start: f64, end: f64, step: f64) -> Result<Tensor> {
        let length = (end - start) / step;
        if !length.is_finite() || length < 0.0 {
            return Err(Error::argument(format!(
                "no sequence goes from {start} to {end} in steps of {step}"
            ))
            .op("arange")
            .at(std::panic::Location::caller()));
        }
        Ok(Tensor::from_fn([length.ceil() as usize], |x: &mut [f32]| {
            for (i, x) in x.iter_mut().enumerate() {
                *x = (start + i as f64 * step) as f32;
            }
        }))
    }

    /// The unit matrix, as f32.
    pub fn eye(n: usize) -> Tensor {
        Tensor::from_fn([n, n], |x: &mut [f32]| {
            x.fill(0.0);
            x.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
        })
    }

    /// Uniform in 0..1, as f32; the numbers follow from [`manual_seed`](crate::random::manual_seed).
    pub fn rand(shape: impl Into<Shape>) -> Tensor {
        let key = next_key();
        Tensor::from_fn(shape, |x: &mut [f32]| {
            x.iter_mut().enumerate().for_each(|(i, x)| *x = key.uniform(i as u64));
        })
    }

    /// Standard normal, as f32.
    pub fn randn(shape: impl Into<Shape>) -> Tensor {
        let key = next_key();
        Tensor::from_fn(shape, |x: &mut [f32]| {
            x.iter_mut().enumerate().for_each(|(i, x)| *x = key.normal(i as u64) as f32);
        })
    }

    /// Whole numbers in `low..high`, as i64.
    #[track_caller]
    pub fn randint(low: i64, high: i64, shape: impl Into<Shape>) -> Result<Tensor> {
        if low >= high {
            return Err(Error::argument(format!("no whole number is in {low}..{high}"))
                .op("randint")
                .at(std::panic::Location::caller()));
        }
        let key = next_key();
        let range = high.abs_diff(low);
        Ok(Tensor::from_fn(shape, |x: &mut [i64]| {
            for (i, x) in x.iter_mut().enumerate() {
                *x = low.wrapping_add(key.below(i as u64, range) as i64);
            }
        }))
    }
}
