//! Reading values.

use rasgo_kernels::Bf16;

use super::{Tensor, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{DType, Element, Layout};
use crate::scope;

impl Tensor {
    /// The values in row-major order of the shape, whatever the layout.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.expect_values("to_vec")?;
        self.expect_dtype::<T>("to_vec")?;
        match self.layout() {
            Layout::Plain => Ok(self.raw::<T>().to_vec()),
            Layout::ChannelsLast => {
                let plain =
                    super::copy_to_layout(self, crate::Meta::plain(self.shape().clone(), self.dtype()));
                Ok(plain.raw::<T>().to_vec())
            }
        }
    }

    /// The values in the order of the layout, without a copy.
    #[track_caller]
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        self.expect_values("as_slice")?;
        self.expect_dtype::<T>("as_slice")?;
        Ok(self.raw())
    }

    /// The value of a tensor with one element.
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        let at = std::panic::Location::caller();
        let values = self.as_slice::<T>()?;
        match values {
            [value] => Ok(*value),
            _ => Err(Error::shape(format!("one number of a tensor of shape {}", self.shape()))
                .op("item")
                .at(at)),
        }
    }

    /// The values as f64, in row-major order, whatever the dtype.
    #[track_caller]
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype() {
            DType::F32 => self.to_vec::<f32>()?.into_iter().map(f64::from).collect(),
            DType::F64 => self.to_vec::<f64>()?,
            DType::Bf16 => self.to_vec::<Bf16>()?.into_iter().map(|x| f64::from(x.to_f32())).collect(),
            DType::I64 => self.to_vec::<i64>()?.into_iter().map(|x| x as f64).collect(),
            DType::U8 => self.to_vec::<u8>()?.into_iter().map(f64::from).collect(),
        })
    }

    /// The bytes in row-major order, as files hold them (little endian).
    #[track_caller]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        fn bytes<T: Element, const N: usize>(
            tensor: &Tensor,
            encode: impl Fn(T) -> [u8; N],
        ) -> Result<Vec<u8>> {
            Ok(tensor.to_vec::<T>()?.into_iter().flat_map(encode).collect())
        }
        match self.dtype() {
            DType::F32 => bytes(self, f32::to_le_bytes),
            DType::F64 => bytes(self, f64::to_le_bytes),
            DType::Bf16 => bytes(self, Bf16::to_le_bytes),
            DType::I64 => bytes(self, i64::to_le_bytes),
            DType::U8 => self.to_vec::<u8>(),
        }
    }

    /// A copy that shares nothing, with the same layout.
    pub fn deep_copy(&self) -> Tensor {
        match &self.value {
            Value::ShapeOnly => self.clone(),
            Value::Data { storage, offset } => {
                let size = self.dtype().size();
                let bytes =
                    &storage.buffer.as_slice::<u8>()[offset * size..offset * size + self.meta.bytes()];
                Tensor::from_buffer(self.meta.clone(), rasgo_kernels::Buffer::from_slice(bytes))
            }
        }
    }

    /// The values of a tensor that is known to have them, in the order of the layout.
    pub(crate) fn raw<T: Element>(&self) -> &[T] {
        let Value::Data { storage, offset } = &self.value else { panic!("a shape-only tensor was read") };
        &storage.buffer.as_slice::<T>()[*offset..*offset + self.meta.shape.elements()]
    }

    #[track_caller]
    pub(super) fn expect_values(&self, op: &'static str) -> Result<()> {
        if !self.is_shape_only() {
            return Ok(());
        }
        let error = Error::new(
            ErrorKind::State,
            format!("a tensor of shape {} that has no values was read", self.shape()),
        )
        .op(op)
        .hint("a model whose shapes depend on values is summarised with a real input");
        Err(scope::annotate(error).at(std::panic::Location::caller()))
    }

    #[track_caller]
    pub(super) fn expect_dtype<T: Element>(&self, op: &'static str) -> Result<()> {
        if self.dtype() == T::DTYPE {
            return Ok(());
        }
        let error =
            Error::new(ErrorKind::DType, format!("a tensor of {} was read as {}", self.dtype(), T::DTYPE))
                .op(op);
        Err(scope::annotate(error).at(std::panic::Location::caller()))
    }
}
