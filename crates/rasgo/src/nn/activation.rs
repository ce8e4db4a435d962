//! Activations: elementwise functions as layers.

use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::{Kind, Module};
use super::parameter::LayerName;

/// The function of an activation layer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// max(x, 0)
    ReLU,
    /// min(max(x, 0), 6)
    ReLU6,
    /// x, or slope * x below zero
    LeakyReLU(f64),
    /// x * Phi(x)
    GELU,
    /// x * sigmoid(x)
    SiLU,
    /// x * relu6(x + 3) / 6
    Hardswish,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// ln(1 + e^x)
    Softplus,
}

impl Function {
    /// y = f(x)
    pub fn apply(self, x: Tensor) -> Result<Tensor> {
        match self {
            Function::ReLU => x.relu(),
            Function::ReLU6 => x.relu6(),
            Function::LeakyReLU(slope) => x.leaky_relu(slope),
            Function::GELU => x.gelu(),
            Function::SiLU => x.silu(),
            Function::Hardswish => x.hardswish(),
            Function::Sigmoid => x.sigmoid(),
            Function::Tanh => x.tanh(),
            Function::Softplus => x.softplus(1.0, 20.0),
        }
    }
}

/// An activation layer of any [`Function`].
#[derive(Clone, Debug, Module)]
pub struct Activation {
    name: LayerName,
    #[module(skip)]
    function: Function,
}

impl Activation {
    /// A layer of that function.
    pub fn new(function: Function) -> Self {
        let kind = match function {
            Function::ReLU => "ReLU",
            Function::ReLU6 => "ReLU6",
            Function::LeakyReLU(_) => "LeakyReLU",
            Function::GELU => "GELU",
            Function::SiLU => "SiLU",
            Function::Hardswish => "Hardswish",
            Function::Sigmoid => "Sigmoid",
            Function::Tanh => "Tanh",
            Function::Softplus => "Softplus",
        };
        Activation { name: LayerName::new(kind), function }
    }
}

impl Module for Activation {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(None, || self.function.apply(x))
    }

    fn kind(&self) -> Kind<'_> {
        if self.function == Function::ReLU { Kind::Relu } else { Kind::Other }
    }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[allow(non_snake_case, reason = "the layer is named as in PyTorch, where the name is a type")]
        pub fn $name() -> Activation {
            Activation::new(Function::$name)
        }
    )*};
}

layers! {
    /// max(x, 0)
    ReLU;
    /// min(max(x, 0), 6)
    ReLU6;
    /// x * Phi(x), Phi the normal distribution function
    GELU;
    /// x * sigmoid(x)
    SiLU;
    /// x * relu6(x + 3) / 6
    Hardswish;
    /// 1 / (1 + e^-x)
    Sigmoid;
    /// Hyperbolic tangent.
    Tanh;
    /// ln(1 + e^x)
    Softplus;
}

/// x, or slope * x below zero; PyTorch's default slope is 0.01.
#[allow(non_snake_case, reason = "the layer is named as in PyTorch, where the name is a type")]
pub fn LeakyReLU(negative_slope: f64) -> Activation {
    Activation::new(Function::LeakyReLU(negative_slope))
}
