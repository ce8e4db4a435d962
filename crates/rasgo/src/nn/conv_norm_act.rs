//! The block of which most networks are made.

use rasgo_core::op::is_observed;
use rasgo_core::{Result, Tensor, scope};

use super::activation::{Activation, Function};
use super::batch_norm::BatchNorm;
use super::conv::{Conv, Padding};
use super::module::{Module, NormReluPool};
use super::size::Size;

/// Convolution without bias, batch normalisation and an activation, as `torchvision.ops.Conv2dNormActivation`: its
/// parts are named 0, 1 and 2.
#[derive(Clone, Debug)]
pub struct ConvNormAct<const D: usize> {
    conv: Conv<D>,
    norm: BatchNorm<D>,
    act: Option<(Activation, Function)>,
}

impl<const D: usize> ConvNormAct<D> {
    /// Stride 1, and padding that keeps the size.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Size<D>>) -> Self {
        let conv = Conv::new(in_channels, out_channels, kernel_size).bias(false).padding(Padding::Same);
        let act = Some((Activation::new(Function::ReLU), Function::ReLU));
        ConvNormAct { conv, norm: BatchNorm::new(out_channels), act }
    }

    /// Changes the convolution.
    pub fn conv(mut self, change: impl FnOnce(Conv<D>) -> Conv<D>) -> Self {
        self.conv = change(self.conv);
        self
    }

    /// Another activation, or none.
    pub fn activation(mut self, function: impl Into<Option<Function>>) -> Self {
        self.act = function.into().map(|function| (Activation::new(function), function));
        self
    }
}

impl<const D: usize> Module for ConvNormAct<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let _site = scope::enter_container();
        let x = self.conv.forward(x)?;
        match &self.act {
            Some((_, Function::ReLU)) if !is_observed() => self.norm.forward_relu_pool(x, true, None),
            Some((act, _)) => act.forward(self.norm.forward(x)?),
            None => self.norm.forward(x),
        }
    }
}

impl<const D: usize> super::Visitable for ConvNormAct<D> {
    fn visit(&self, visitor: &mut dyn super::Visitor) {
        visitor.field("0", &self.conv);
        visitor.field("1", &self.norm);
        if let Some((act, _)) = &self.act {
            visitor.field("2", act);
        }
    }

    fn visit_mut(&mut self, visitor: &mut dyn super::VisitorMut) {
        visitor.field("0", &mut self.conv);
        visitor.field("1", &mut self.norm);
        if let Some((act, _)) = &mut self.act {
            visitor.field("2", act);
        }
    }
}
