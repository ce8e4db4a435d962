//! The block of MobileNetV2 (Sandler et al. 2018).

use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::activation::Function;
use super::batch_norm::BatchNorm2d;
use super::conv::Conv2d;
use super::conv_norm_act::{ConvNormAct, conv_norm_act, conv_norm_add};
use super::fuse::{Block, fold};
use super::module::Module;
use super::parameter::LayerName;
use super::visit::{ItemMut, Visitable, Visitor, VisitorMut};

/// The block of MobileNetV2, under the names of torchvision's: a 1x1 convolution to `expand_ratio` times the channels, a
/// depthwise 3x3 convolution with the stride, and a 1x1 convolution back to few channels, without an activation.
///
/// `y = norm(project(relu6(norm(depthwise(relu6(norm(expand(x))))))))`, plus x where stride is 1 and the channels stay;
/// of (N, in, H, W) to (N, out, H / stride, W / stride), sizes rounded up. With `expand_ratio` 1 nothing is expanded.
///
/// ```
/// use rasgo::prelude::*;
/// let block = nn::InvertedResidual::new(16, 24, 2, 6);
/// assert_eq!(**block.forward(Tensor::rand([2, 16, 9, 8]))?.shape(), [2, 24, 5, 4]);
/// assert_eq!(block.state_dict()[0].0, "conv.0.0.weight");
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct InvertedResidual {
    conv: Layers,
    name: LayerName,
    #[module(skip)]
    shortcut: bool,
}

/// The layers by their numbers, which begin with 0 whether the first is there or not.
#[derive(Clone, Debug)]
struct Layers {
    expand: Option<ConvNormAct<2>>,
    depthwise: ConvNormAct<2>,
    project: Conv2d,
    norm: BatchNorm2d,
}

impl InvertedResidual {
    /// The depthwise convolution has the stride.
    pub fn new(in_channels: usize, out_channels: usize, stride: usize, expand_ratio: usize) -> Self {
        let hidden = in_channels.saturating_mul(expand_ratio);
        let conv = Layers {
            expand: (expand_ratio != 1)
                .then(|| ConvNormAct::new(in_channels, hidden, 1).activation(Function::ReLU6)),
            depthwise: ConvNormAct::new(hidden, hidden, 3)
                .conv(|conv| conv.stride(stride).padding(1).groups(hidden))
                .activation(Function::ReLU6),
            project: Conv2d::new(hidden, out_channels, 1).bias(false),
            norm: BatchNorm2d::new(out_channels),
        };
        InvertedResidual {
            conv,
            name: LayerName::new("InvertedResidual"),
            shortcut: stride == 1 && in_channels == out_channels,
        }
    }
}

impl Module for InvertedResidual {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            let Layers { expand, depthwise, project, norm } = &self.conv;
            let shortcut = self.shortcut.then(|| x.clone());
            let y = match expand {
                Some(expand) => expand.forward(x)?,
                None => x,
            };
            let y = depthwise.forward(y)?;
            match shortcut {
                Some(shortcut) => conv_norm_add(project, norm, None, y, || Ok(shortcut)),
                None => conv_norm_act(project, norm, None, y),
            }
        })
    }
}

impl Block for Layers {
    fn fold_norms(&mut self) -> Result<()> {
        fold(&mut self.project, &mut self.norm)
    }
}

impl Visitable for Layers {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let first = usize::from(self.expand.is_some());
        if let Some(expand) = &self.expand {
            visitor.field("0", expand);
        }
        visitor.field(&first.to_string(), &self.depthwise);
        visitor.field(&(first + 1).to_string(), &self.project);
        visitor.field(&(first + 2).to_string(), &self.norm);
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.item(ItemMut::Block(self));
        let first = usize::from(self.expand.is_some());
        if let Some(expand) = &mut self.expand {
            visitor.field("0", expand);
        }
        visitor.field(&first.to_string(), &mut self.depthwise);
        visitor.field(&(first + 1).to_string(), &mut self.project);
        visitor.field(&(first + 2).to_string(), &mut self.norm);
    }
}
