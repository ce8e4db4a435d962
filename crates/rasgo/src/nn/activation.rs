//! Activations: elementwise functions as layers.

use rasgo_core::{Result, Tensor, ops};
use rasgo_derive::Module;

use super::module::{Kind, Module};
use super::parameter::{LayerName, Parameter};
use crate::init::Init;

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
    /// x, or alpha * (e^x - 1) below zero
    ELU(f64),
    /// 1.0507 times ELU(1.6733)
    SELU,
    /// x, or alpha * (e^(x / alpha) - 1) below zero
    CELU(f64),
    /// x * Phi(x)
    GELU,
    /// GELU by a hyperbolic tangent, as `GELU(approximate="tanh")`
    GELUTanh,
    /// x * sigmoid(x)
    SiLU,
    /// x * relu6(x + 3) / 6
    Hardswish,
    /// relu6(x + 3) / 6
    Hardsigmoid,
    /// min(max(x, low), high)
    Hardtanh(f64, f64),
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// ln(sigmoid(x))
    LogSigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// ln(1 + e^(beta x)) / beta, and x where beta x is above the threshold
    Softplus {
        /// Steepness.
        beta: f64,
        /// Where it is taken to be linear.
        threshold: f64,
    },
    /// x / (1 + |x|)
    Softsign,
    /// x * tanh(softplus(x))
    Mish,
    /// e^x / sum e^x along an axis; a negative one counts from the end
    Softmax(isize),
    /// x - ln(sum e^x) along an axis
    LogSoftmax(isize),
}

impl Function {
    /// y = f(x)
    pub fn apply(self, x: Tensor) -> Result<Tensor> {
        match self {
            Function::ReLU => x.relu(),
            Function::ReLU6 => x.relu6(),
            Function::LeakyReLU(slope) => x.leaky_relu(slope),
            Function::ELU(alpha) => x.elu(alpha),
            Function::SELU => x.selu(),
            Function::CELU(alpha) => x.celu(alpha),
            Function::GELU => x.gelu(),
            Function::GELUTanh => x.gelu_tanh(),
            Function::SiLU => x.silu(),
            Function::Hardswish => x.hardswish(),
            Function::Hardsigmoid => x.hardsigmoid(),
            Function::Hardtanh(low, high) => x.hardtanh(low, high),
            Function::Sigmoid => x.sigmoid(),
            Function::LogSigmoid => x.logsigmoid(),
            Function::Tanh => x.tanh(),
            Function::Softplus { beta, threshold } => x.softplus(beta, threshold),
            Function::Softsign => x.softsign(),
            Function::Mish => x.mish(),
            Function::Softmax(dim) => x.softmax(dim),
            Function::LogSoftmax(dim) => x.log_softmax(dim),
        }
    }

    /// The same as what other layers apply as they store, where they can.
    pub(super) fn stored(self) -> Option<ops::Activation> {
        match self {
            Function::ReLU => Some(ops::Activation::Relu),
            Function::ReLU6 => Some(ops::Activation::Relu6),
            _ => None,
        }
    }

    /// PyTorch's name of the layer.
    fn kind(self) -> &'static str {
        match self {
            Function::ReLU => "ReLU",
            Function::ReLU6 => "ReLU6",
            Function::LeakyReLU(_) => "LeakyReLU",
            Function::ELU(_) => "ELU",
            Function::SELU => "SELU",
            Function::CELU(_) => "CELU",
            Function::GELU | Function::GELUTanh => "GELU",
            Function::SiLU => "SiLU",
            Function::Hardswish => "Hardswish",
            Function::Hardsigmoid => "Hardsigmoid",
            Function::Hardtanh(..) => "Hardtanh",
            Function::Sigmoid => "Sigmoid",
            Function::LogSigmoid => "LogSigmoid",
            Function::Tanh => "Tanh",
            Function::Softplus { .. } => "Softplus",
            Function::Softsign => "Softsign",
            Function::Mish => "Mish",
            Function::Softmax(_) => "Softmax",
            Function::LogSoftmax(_) => "LogSoftmax",
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
        Activation { name: LayerName::new(function.kind()), function }
    }

    /// The function.
    pub fn function(&self) -> Function {
        self.function
    }
}

impl Module for Activation {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| self.function.apply(x))
    }

    fn kind(&self) -> Kind<'_> {
        self.function.stored().map_or(Kind::Other, Kind::Activation)
    }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident($($option:ident: $t:ty),*) => $function:expr;)*) => {$(
        $(#[$doc])*
        #[allow(non_snake_case, reason = "the layer is named as in PyTorch, where the name is a type")]
        pub fn $name($($option: $t),*) -> Activation {
            Activation::new($function)
        }
    )*};
}

layers! {
    /// max(x, 0)
    ReLU() => Function::ReLU;
    /// min(max(x, 0), 6)
    ReLU6() => Function::ReLU6;
    /// x, or slope * x below zero; PyTorch's default slope is 0.01.
    LeakyReLU(negative_slope: f64) => Function::LeakyReLU(negative_slope);
    /// x, or alpha * (e^x - 1) below zero; PyTorch's default alpha is 1.
    ELU(alpha: f64) => Function::ELU(alpha);
    /// 1.0507 times ELU(1.6733)
    SELU() => Function::SELU;
    /// x, or alpha * (e^(x / alpha) - 1) below zero; PyTorch's default alpha is 1.
    CELU(alpha: f64) => Function::CELU(alpha);
    /// x * Phi(x), Phi the normal distribution function
    GELU() => Function::GELU;
    /// `GELU(approximate="tanh")`
    GELUTanh() => Function::GELUTanh;
    /// x * sigmoid(x)
    SiLU() => Function::SiLU;
    /// x * relu6(x + 3) / 6
    Hardswish() => Function::Hardswish;
    /// relu6(x + 3) / 6
    Hardsigmoid() => Function::Hardsigmoid;
    /// min(max(x, min_val), max_val); PyTorch's defaults are -1 and 1.
    Hardtanh(min_val: f64, max_val: f64) => Function::Hardtanh(min_val, max_val);
    /// 1 / (1 + e^-x)
    Sigmoid() => Function::Sigmoid;
    /// ln(sigmoid(x))
    LogSigmoid() => Function::LogSigmoid;
    /// Hyperbolic tangent.
    Tanh() => Function::Tanh;
    /// ln(1 + e^x); for another beta and threshold see [`Function::Softplus`].
    Softplus() => Function::Softplus { beta: 1.0, threshold: 20.0 };
    /// x / (1 + |x|)
    Softsign() => Function::Softsign;
    /// x * tanh(softplus(x))
    Mish() => Function::Mish;
    /// e^x / sum e^x along an axis; a negative one counts from the end.
    Softmax(dim: isize) => Function::Softmax(dim);
    /// x - ln(sum e^x) along an axis; a negative one counts from the end.
    LogSoftmax(dim: isize) => Function::LogSoftmax(dim);
}

/// x, or weight * x below zero, with one learned slope or one for each channel, as `torch.nn.PReLU`.
#[derive(Clone, Debug, Module)]
pub struct PReLU {
    /// (num_parameters)
    pub weight: Parameter,
    name: LayerName,
}

impl PReLU {
    /// 1, or as many slopes as channels; they begin at 0.25.
    pub fn new(num_parameters: usize) -> Self {
        PReLU {
            weight: Parameter::new([num_parameters], Init::Constant(0.25)),
            name: LayerName::new("PReLU"),
        }
    }
}

impl Module for PReLU {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| x.prelu(&self.weight.tensor()))
    }
}

#[cfg(test)]
mod tests {
    use rasgo_core::Tensor;

    use super::*;
    use crate::nn::ModuleExt;

    #[test]
    fn layers_are_their_functions_and_prelu_has_pytorchs_parameter() {
        let x = || Tensor::from_vec(vec![-4.0f32, 2.0], [1, 2]).unwrap();
        let run = |layer: &dyn Module| layer.forward(x()).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(run(&PReLU::new(1)), [-1.0, 2.0]);
        assert_eq!(PReLU::new(2).state_dict()[0].0, "weight");
        assert_eq!(run(&Hardtanh(-1.0, 1.0)), [-1.0, 1.0]);
        assert_eq!(run(&Softmax(0)), [1.0, 1.0]);
        assert_eq!(run(&LeakyReLU(0.5)), [-2.0, 2.0]);
        assert_eq!(run(&Hardsigmoid())[0], 0.0);
    }
}
