//! Layers of the first convolutional networks that today's have replaced.
//!
//! LeCun, Boser, Denker, Henderson, Howard, Hubbard, Jackel: *Handwritten digit recognition with a back-propagation
//! network*, NIPS 1989 (printed 1990).

use rasgo_core::ops::{AvgPoolOptions, ConvOptions};
use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::{LayerName, Parameter};
use crate::init::Init;

/// 1.7159 tanh(2 x / 3): the squashing function of 1990, with f(1) = 1 and its steepest parts inside ±1.
#[derive(Clone, Debug, Module)]
pub struct ScaledTanh {
    name: LayerName,
}

impl ScaledTanh {
    /// The layer.
    pub fn new() -> Self {
        ScaledTanh { name: LayerName::new("ScaledTanh") }
    }
}

impl Default for ScaledTanh {
    fn default() -> Self {
        ScaledTanh::new()
    }
}

impl Module for ScaledTanh {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| x.scale(2.0 / 3.0)?.tanh()?.scale(1.7159))
    }
}

/// The mean of 2x2 windows side by side, times a trained coefficient and plus a trained bias for each map: what max
/// pooling has replaced.
#[derive(Clone, Debug, Module)]
pub struct Subsample2d {
    /// (C)
    pub weight: Parameter,
    /// (C)
    pub bias: Parameter,
    name: LayerName,
}

impl Subsample2d {
    /// For that many maps.
    pub fn new(channels: usize) -> Self {
        let name = LayerName::new("Subsample2d");
        Subsample2d {
            weight: Parameter::new([channels], Init::Ones),
            bias: Parameter::new([channels], Init::Zeros),
            name,
        }
    }
}

impl Module for Subsample2d {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            let channels = [1, self.weight.shape()[0], 1, 1];
            let mean = x.avg_pool(&AvgPoolOptions::new([1, 2, 2]))?;
            let (weight, bias) =
                (self.weight.tensor().reshape(channels)?, self.bias.tensor().reshape(channels)?);
            mean * &weight + &bias
        })
    }
}

/// A convolution in which each output map sees only some input maps, by a table: one kernel for each connection.
#[derive(Clone, Debug, Module)]
pub struct ConnectedConv2d {
    /// (connections, kernel, kernel)
    pub weight: Parameter,
    /// (out)
    pub bias: Parameter,
    name: LayerName,
    #[module(skip)]
    in_channels: usize,
    #[module(skip)]
    kernel: usize,
    /// The place of each connection's kernel among all out * in kernels.
    #[module(skip)]
    places: Vec<i64>,
}

impl ConnectedConv2d {
    /// `connections[o]` lists the input maps that output map `o` sees.
    pub fn new(in_channels: usize, connections: &[Vec<usize>], kernel: usize) -> Self {
        let places: Vec<i64> = connections
            .iter()
            .enumerate()
            .flat_map(|(o, inputs)| inputs.iter().map(move |i| (o * in_channels + i) as i64))
            .collect();
        // The mean number of inputs of a unit, as the paper's initialiser takes it.
        let fan_in = places.len() * kernel * kernel / connections.len().max(1);
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        ConnectedConv2d {
            weight: Parameter::new([places.len(), kernel, kernel], Init::Uniform(-bound, bound)),
            bias: Parameter::new([connections.len()], Init::Uniform(-bound, bound)),
            name: LayerName::new("ConnectedConv2d"),
            in_channels,
            kernel,
            places,
        }
    }
}

impl Module for ConnectedConv2d {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            let (out, k) = (self.bias.shape()[0], self.kernel);
            let weight = self.weight.tensor();
            let places = Tensor::from_slice(&self.places, [self.places.len()])?;
            let all = [out * self.in_channels, k, k];
            // A summary must not take the memory of the weights.
            let all = match weight.is_shape_only() {
                true => Tensor::shape_only(all, weight.dtype()),
                false => Tensor::zeros(all, weight.dtype())?,
            };
            let weight = all.index_add(0, &places, &weight)?;
            let weight = weight.reshape([out, self.in_channels, k, k])?;
            x.conv(&weight, Some(&self.bias.tensor()), &ConvOptions::default())
        })
    }
}
