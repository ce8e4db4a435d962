//! The linear layer.

use rasgo_core::ops::Activation;
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::fuse::{Affine, fold_into};
use super::module::{Kind, KindMut, Module, Sums};
use super::parameter::{LayerName, Parameter};
use crate::init::Init;

/// `y = x weight^T + bias` along the last axis: (…, in) to (…, out), as `torch.nn.Linear`.
#[derive(Clone, Debug, Module)]
pub struct Linear {
    /// (out, in)
    pub weight: Parameter,
    /// (out)
    pub bias: Option<Parameter>,
    name: LayerName,
}

impl Linear {
    /// A layer with a bias, initialised as in PyTorch.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Linear {
            weight: Parameter::new([out_features, in_features], Init::TORCH_WEIGHT),
            bias: Some(Parameter::new([out_features], Init::torch_bias(in_features))),
            name: LayerName::new("Linear"),
        }
    }

    /// Whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        let (out, inputs) = (self.weight.shape()[0], self.weight.shape()[1]);
        self.bias = match (bias, self.bias) {
            (false, _) => None,
            (true, Some(bias)) => Some(bias),
            (true, None) => Some(Parameter::new([out], Init::torch_bias(inputs))),
        };
        self
    }
}

impl Linear {
    fn multiply(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Parameter::tensor);
        x.linear_act(&self.weight.tensor(), bias.as_ref(), activation)
    }
}

impl Module for Linear {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| self.multiply(&x, Activation::None))
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Sums(self)
    }

    fn kind_mut(&mut self) -> KindMut<'_> {
        KindMut::Sums(self)
    }
}

impl Sums for Linear {
    fn forward_act(&self, x: Tensor, activation: Activation) -> Result<Tensor> {
        let _scope = self.name.enter();
        self.multiply(&x, activation)
    }

    fn fold(&mut self, affine: &Affine) -> Result<()> {
        fold_into(affine, &mut self.weight, &mut self.bias)
    }
}
