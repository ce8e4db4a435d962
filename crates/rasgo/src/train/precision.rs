//! The type of the values between layers.

use rasgo_core::{DType, Error, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The type of the values between layers. Parameters, statistics, gradients of parameters, the optimiser and the loss are
/// float32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32
    #[default]
    F32,
    /// bfloat16: half the memory, and three significant digits. Sums are of float32 and rounded when they are stored.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 2] = [Precision::F32, Precision::Bf16];

    /// Its name in configurations and model files.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// The precision of that name.
    pub fn from_name(name: &str) -> Result<Precision> {
        Precision::ALL.into_iter().find(|precision| precision.name() == name).ok_or_else(|| {
            Error::argument(format!("no precision is called {name:?}"))
                .hint("the precisions are f32 and bf16")
        })
    }

    /// What a network makes of a batch in this precision, as float32: the batch is converted before `forward` and the
    /// output after it.
    ///
    /// ```
    /// use rasgo::prelude::*;
    /// use rasgo::train::Precision;
    /// let net = nn::Linear::new(8, 3);
    /// let scores = Precision::Bf16.run(Tensor::rand([4, 8]), |x| net.forward(x))?;
    /// assert_eq!(scores.dtype(), DType::F32);
    /// # Ok::<(), rasgo::Error>(())
    /// ```
    #[track_caller]
    pub fn run(self, mut batch: Tensor, forward: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let dtype = match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
        };
        // In its place: the batch as it was is not kept beside it.
        batch = batch.to_dtype(dtype)?;
        forward(batch)?.to_dtype(DType::F32)
    }
}
