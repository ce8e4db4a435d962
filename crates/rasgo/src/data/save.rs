//! Any data set as a file of arrays.

use std::collections::BTreeMap;
use std::path::Path;

use rasgo_core::{DType, Error, ErrorKind, Result, Tensor};

use super::dataset::Dataset;
use super::find::Splits;
use crate::formats::{Disk, safetensors};

impl Splits {
    /// Writes both parts as `x`, `y`, `x_test` and `y_test` into a `.safetensors` file that [`open`](super::open) reads,
    /// with the names of the classes.
    ///
    /// # Errors
    /// A sample that cannot be read, or has another shape or type than the first; [`ErrorKind::Io`].
    pub fn save(&self, disk: &Disk, path: impl AsRef<Path>) -> Result<()> {
        let mut tensors = Vec::new();
        let parts = [Some((&self.train, "")), self.test.as_ref().map(|test| (test, "_test"))];
        for (data, end) in parts.into_iter().flatten() {
            let labels = data.labels()?;
            let count = labels.len();
            tensors.push((format!("x{end}"), samples(&**data)?));
            tensors.push((format!("y{end}"), Tensor::from_vec(labels, [count])?));
        }
        let classes = serde_json::to_string(self.train.classes()).expect("a list has a text");
        safetensors::save(disk, path, &tensors, &BTreeMap::from([("classes".to_string(), classes)]))
    }
}

/// All samples as one tensor (N, …).
fn samples(data: &dyn Dataset) -> Result<Tensor> {
    let bytes = !data.is_empty() && data.get(0)?.input.dtype() == DType::U8;
    let (mut of_bytes, mut of_floats) = (Vec::<u8>::new(), Vec::<f32>::new());
    for index in 0..data.len() {
        let input = data.get(index)?.input;
        if input.shape() != data.shape() || (input.dtype() == DType::U8) != bytes {
            let text = format!(
                "{} is {} of shape {}, and the first sample {} of {}",
                data.name(index),
                input.dtype(),
                input.shape(),
                if bytes { DType::U8 } else { DType::F32 },
                data.shape()
            );
            return Err(Error::new(ErrorKind::Data, text).hint("all samples have one shape and type"));
        }
        match bytes {
            true => of_bytes.extend(input.to_vec::<u8>()?),
            false => of_floats.extend(input.to_vec::<f32>()?),
        }
    }
    let shape: Vec<usize> = [&[data.len()], &data.shape()[..]].concat();
    if bytes { Tensor::from_vec(of_bytes, shape) } else { Tensor::from_vec(of_floats, shape) }
}
