//! How a model's first weights are made, where not by each layer's own default.

use rasgo_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::init::{FanMode, Init, Nonlinearity};
use crate::nn::{ItemMut, Visitable, walk_mut};

/// How the first weights of a model are made, where not as PyTorch's layers make theirs. With either option the biases
/// of the same layers are 0.
///
/// ```toml
/// [init]
/// conv = "kaiming_normal"
/// linear_std = 0.01
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initialisation {
    /// The weights of convolutions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub conv: Option<ConvInit>,
    /// The weights of linear layers: normal around 0, with this standard deviation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub linear_std: Option<f64>,
}

/// The weights of convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConvInit {
    /// Normal around 0 with variance 2 / fan-out (He et al. 2015): `kaiming_normal_(mode="fan_out",
    /// nonlinearity="relu")`.
    KaimingNormal,
}

impl Initialisation {
    /// Sets the initialisers of all layers that this is about. No values are made.
    ///
    /// # Errors
    /// If the deviation is none.
    pub(super) fn apply(&self, model: &mut dyn Visitable) -> Result<()> {
        if let Some(std) = self.linear_std.filter(|std| !(0.0..=f64::from(f32::MAX)).contains(std)) {
            return Err(Error::config(format!("linear_std {std}")).hint("give 0 or more, as 0.01"));
        }
        let conv = self.conv.map(|ConvInit::KaimingNormal| Init::KaimingNormal {
            nonlinearity: Nonlinearity::Relu,
            mode: FanMode::FanOut,
        });
        let linear = self.linear_std.map(|std| Init::Normal(0.0, std));
        // A bias belongs to the weight before it; what has a weight of one axis is a normalisation.
        let mut of_bias: Option<(String, Init)> = None;
        walk_mut(model, |path, item| {
            let ItemMut::Parameter(parameter) = item else { return };
            let (layer, field) = path.rsplit_once('.').unwrap_or(("", path));
            let init = match (field, parameter.shape().len()) {
                ("weight", 2) => linear,
                ("weight", 3..) => conv,
                ("bias", _) => of_bias.take().filter(|(of, _)| of == layer).map(|(_, init)| init),
                _ => None,
            };
            if let Some(init) = init {
                parameter.init(init);
                of_bias = (field == "weight").then(|| (layer.to_string(), Init::Zeros));
            }
        });
        Ok(())
    }
}
