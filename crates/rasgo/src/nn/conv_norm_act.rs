//! The block of which most networks are made.

use rasgo_core::op::is_observed;
use rasgo_core::{Result, Tensor, ops, scope};

use super::activation::{Activation, Function};
use super::batch_norm::BatchNorm;
use super::conv::{Conv, Padding};
use super::fuse::{Block, fold};
use super::module::{Module, Norm, Sums};
use super::size::Size;

/// Convolution without bias, batch normalisation and an activation, as `torchvision.ops.Conv2dNormActivation`: its
/// parts are named 0, 1 and 2.
///
/// `y = act(norm(conv(x)))`, with ReLU unless another activation is given. Normalisation and ReLU are one pass.
///
/// ```
/// use rasgo::prelude::*;
/// let first = nn::ConvNormAct::<2>::new(3, 32, 3)
///     .conv(|conv| conv.stride(2).padding(1))
///     .activation(nn::Function::ReLU6);
/// assert_eq!(**first.forward(Tensor::rand([2, 3, 8, 8]))?.shape(), [2, 32, 4, 4]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvNormAct<const D: usize> {
    conv: Conv<D>,
    norm: BatchNorm<D>,
    act: Option<Activation>,
}

impl<const D: usize> ConvNormAct<D> {
    /// Stride 1, and padding that keeps the size.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Size<D>>) -> Self {
        let conv = Conv::new(in_channels, out_channels, kernel_size).bias(false).padding(Padding::Same);
        let act = Some(Activation::new(Function::ReLU));
        ConvNormAct { conv, norm: BatchNorm::new(out_channels), act }
    }

    /// Changes the convolution.
    pub fn conv(mut self, change: impl FnOnce(Conv<D>) -> Conv<D>) -> Self {
        self.conv = change(self.conv);
        self
    }

    /// Another activation, or none.
    pub fn activation(mut self, function: impl Into<Option<Function>>) -> Self {
        self.act = function.into().map(Activation::new);
        self
    }
}

/// What a layer applies as it stores, and what is left to do after it. Whoever observes sees each layer.
fn split(act: Option<&Activation>) -> (ops::Activation, Option<&Activation>) {
    match act.map(|act| act.function().stored()) {
        Some(Some(stored)) if !is_observed() => (stored, None),
        _ => (ops::Activation::None, act),
    }
}

/// act(norm(conv(x))): here and in [`conv_norm_add`] is the one place that knows which activations convolution and
/// normalisation can apply as they store.
pub(super) fn conv_norm_act<const D: usize>(
    conv: &Conv<D>,
    norm: &BatchNorm<D>,
    act: Option<&Activation>,
    x: Tensor,
) -> Result<Tensor> {
    let (stored, rest) = split(act);
    let y = if is_observed() {
        norm.forward(conv.forward(x)?)?
    } else if norm.is_folded() {
        conv.forward_act(x, stored)?
    } else {
        norm.forward_act_pool(conv.forward(x)?, stored, None)?
    };
    match rest {
        Some(act) => act.forward(y),
        None => Ok(y),
    }
}

/// act(norm(conv(x)) + shortcut): how a residual block ends. The shortcut is made when it is needed.
///
/// Normalisation, sum and activation are one pass, or none where they are folded into the convolution's.
pub(super) fn conv_norm_add<const D: usize>(
    conv: &Conv<D>,
    norm: &BatchNorm<D>,
    act: Option<&Activation>,
    x: Tensor,
    shortcut: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    let (stored, rest) = split(act);
    let y = if is_observed() {
        (norm.forward(conv.forward(x)?)? + shortcut()?)?
    } else if norm.is_folded() {
        conv.forward_add(x, Some(&shortcut()?), stored)?
    } else {
        let x = conv.forward(x)?;
        norm.forward_add(&x, &shortcut()?, stored)?
    };
    match rest {
        Some(act) => act.function().apply(y),
        None => Ok(y),
    }
}

impl<const D: usize> Module for ConvNormAct<D> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let _site = scope::enter_container();
        conv_norm_act(&self.conv, &self.norm, self.act.as_ref(), x)
    }
}

impl<const D: usize> Block for ConvNormAct<D> {
    fn fold_norms(&mut self) -> Result<()> {
        fold(&mut self.conv, &mut self.norm)
    }
}

impl<const D: usize> super::Visitable for ConvNormAct<D> {
    fn visit(&self, visitor: &mut dyn super::Visitor) {
        visitor.field("0", &self.conv);
        visitor.field("1", &self.norm);
        if let Some(act) = &self.act {
            visitor.field("2", act);
        }
    }

    fn visit_mut(&mut self, visitor: &mut dyn super::VisitorMut) {
        visitor.item(super::ItemMut::Block(self));
        visitor.field("0", &mut self.conv);
        visitor.field("1", &mut self.norm);
        if let Some(act) = &mut self.act {
            visitor.field("2", act);
        }
    }
}
