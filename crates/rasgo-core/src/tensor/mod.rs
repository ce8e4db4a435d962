//! The tensor: shape, values, and where it came from.

mod create;
mod display;
mod operators;
mod read;

use std::sync::{Arc, OnceLock};

use rasgo_kernels::gemm::PackedWeight;
use rasgo_kernels::{Bf16, Buffer, transpose};

use crate::error::Result;
use crate::meta::{DType, Layout, Meta, Shape};
use crate::op;
use crate::record::Origin;

/// The memory of one or more tensors. It is only written while one tensor holds it.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) buffer: Buffer,
    /// The values arranged for the kernels: made in evaluation, dropped when they change. Most tensors have none.
    pub(crate) packed: OnceLock<Box<PackedWeight>>,
}

impl Storage {
    pub(crate) fn new(buffer: Buffer) -> Storage {
        Storage { buffer, packed: OnceLock::new() }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Data { storage: Arc<Storage>, offset: usize },
    ShapeOnly,
}

/// An array of numbers with runtime shape, dtype and layout, on which operations leave records for gradients.
///
/// A clone costs two reference counts; values are copied only when one of several holders writes. Operations
/// return `Result`: a shape that does not fit is an error with the caller's line, not a panic.
///
/// ```
/// use rasgo_core::Tensor;
/// let x = Tensor::from_vec(vec![7.0f32, 6.0, 8.0, 6.0], [1, 1, 2, 2])?;
/// let y = (&x * 2.0)?.sum()?;
/// assert_eq!(y.item::<f32>()?, 54.0);
/// # Ok::<(), rasgo_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tensor {
    meta: Meta,
    value: Value,
    pub(crate) origin: Option<Origin>,
}

impl Tensor {
    pub(crate) fn from_buffer(meta: Meta, buffer: Buffer) -> Tensor {
        Tensor {
            meta,
            value: Value::Data { storage: Arc::new(Storage::new(buffer)), offset: 0 },
            origin: None,
        }
    }

    /// A tensor that knows its shape and nothing else. Operations on it only infer shapes.
    pub(crate) fn shape_only_from(meta: Meta) -> Tensor {
        Tensor { meta, value: Value::ShapeOnly, origin: None }
    }

    /// A tensor without values: operations on it check and compute shapes, and cost no memory and no arithmetic.
    /// Reading a value of it is an error.
    pub fn shape_only(shape: impl Into<Shape>, dtype: DType) -> Tensor {
        Tensor::shape_only_from(Meta::plain(shape, dtype))
    }

    pub(crate) fn placeholder() -> Tensor {
        Tensor::shape_only([], DType::F32)
    }

    pub(crate) fn into_parts(self) -> (Meta, Value) {
        (self.meta, self.value)
    }

    /// Another view of the same storage, `start` elements further on.
    pub(crate) fn window(self, meta: Meta, start: usize) -> Tensor {
        let value = match self.value {
            Value::Data { storage, offset } => Value::Data { storage, offset: offset + start },
            Value::ShapeOnly => Value::ShapeOnly,
        };
        Tensor { meta, value, origin: None }
    }

    /// Shape, dtype and layout.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The sizes of the axes.
    pub fn shape(&self) -> &Shape {
        &self.meta.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.meta.dtype
    }

    /// The order in memory.
    pub fn layout(&self) -> Layout {
        self.meta.layout
    }

    /// Whether this tensor has no values.
    pub fn is_shape_only(&self) -> bool {
        matches!(self.value, Value::ShapeOnly)
    }

    /// Marks the tensor as a leaf: `backward` computes its gradient.
    #[must_use]
    pub fn requires_grad(mut self) -> Tensor {
        if self.dtype().is_float() {
            self.origin = Some(Origin::leaf());
        }
        self
    }

    /// Whether operations on this tensor leave records.
    pub fn needs_grad(&self) -> bool {
        self.origin.is_some()
    }

    /// Asks `backward` to keep the gradient of this tensor, which is no leaf.
    pub fn retain_grad(&self) {
        op::retain(self);
    }

    /// The same values without a past: no gradient flows through the result.
    #[must_use]
    pub fn detach(&self) -> Tensor {
        Tensor { meta: self.meta.clone(), value: self.value.clone(), origin: None }
    }

    /// Whether nobody else holds these values.
    pub(crate) fn is_unique(&self) -> bool {
        match &self.value {
            Value::Data { storage, offset } => {
                *offset == 0 && Arc::strong_count(storage) == 1 && storage.buffer.bytes() == self.meta.bytes()
            }
            Value::ShapeOnly => true,
        }
    }

    /// The same values in channels-last order; a copy unless the bytes agree.
    pub fn to_channels_last(self) -> Tensor {
        op::to_layout(self, Layout::ChannelsLast)
    }

    /// The same values in plain order; a copy unless the bytes agree.
    pub fn to_plain(self) -> Tensor {
        op::to_layout(self, Layout::Plain)
    }

    /// Changes the values of a tensor that needs no gradient, in the order of its layout. They are copied first if
    /// somebody else holds them.
    pub fn update<T: crate::Element, R>(&mut self, write: impl FnOnce(&mut [T]) -> R) -> Result<R> {
        self.expect_values("update")?;
        self.expect_dtype::<T>("update")?;
        op::make_unique(self);
        let Value::Data { storage, .. } = &mut self.value else { unreachable!("it has values") };
        let storage = Arc::get_mut(storage).expect("made unique above");
        storage.packed.take();
        Ok(write(storage.buffer.as_mut_slice::<T>()))
    }
}

/// A copy of the values in the layout of `wanted`, whose shape and dtype are the tensor's.
pub(crate) fn copy_to_layout(tensor: &Tensor, wanted: Meta) -> Tensor {
    let (n, c, spatial) = tensor.shape().image();
    let pixels = spatial.iter().product();
    let (rows, cols) = match wanted.layout {
        Layout::ChannelsLast => (c, pixels),
        Layout::Plain => (pixels, c),
    };
    let mut buffer = Buffer::new::<u8>(wanted.bytes());
    macro_rules! copy {
        ($t:ty) => {
            transpose::transpose_batch(
                n,
                rows,
                cols,
                tensor.raw::<$t>(),
                &mut buffer.as_mut_slice::<$t>()[..wanted.shape.elements()],
            )
        };
    }
    match wanted.dtype {
        DType::F32 => copy!(f32),
        DType::F64 => copy!(f64),
        DType::Bf16 => copy!(Bf16),
        DType::I64 => copy!(i64),
        DType::U8 => copy!(u8),
    }
    Tensor::from_buffer(wanted, buffer)
}
