//! The blocks of residual networks (He et al. 2015).

use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::activation::{Activation, ReLU};
use super::batch_norm::BatchNorm2d;
use super::conv::Conv2d;
use super::conv_norm_act::{ConvNormAct, conv_norm_act, conv_norm_add};
use super::fuse::{Block, fold};
use super::module::Module;
use super::parameter::LayerName;

/// What brings the input of a block to the shape of its output: a 1x1 convolution and a normalisation, named 0 and 1.
/// `None` where the shapes are the same.
fn downsample(in_channels: usize, out_channels: usize, stride: usize) -> Option<ConvNormAct<2>> {
    (stride != 1 || in_channels != out_channels).then(|| {
        ConvNormAct::new(in_channels, out_channels, 1)
            .conv(|conv| conv.stride(stride).padding(0))
            .activation(None)
    })
}

fn shortcut(downsample: &Option<ConvNormAct<2>>, x: Tensor) -> Result<Tensor> {
    match downsample {
        Some(downsample) => downsample.forward(x),
        None => Ok(x),
    }
}

/// The block of ResNet-18 and 34, under the names of torchvision's: two 3x3 convolutions beside a shortcut.
///
/// `y = relu(bn2(conv2(relu(bn1(conv1(x))))) + downsample(x))`, of (N, in, H, W) to (N, out, H / stride, W / stride),
/// sizes rounded up. `downsample` is a 1x1 convolution with a normalisation where stride or channels change, and
/// nothing elsewhere.
///
/// ```
/// use rasgo::prelude::*;
/// let block = nn::BasicBlock::new(64, 128, 2);
/// assert_eq!(**block.forward(Tensor::rand([2, 64, 9, 8]))?.shape(), [2, 128, 5, 4]);
/// assert_eq!(block.parameter_count(), 9 * 64 * 128 + 9 * 128 * 128 + 64 * 128 + 3 * 2 * 128);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(block)]
pub struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    relu: Activation,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    downsample: Option<ConvNormAct<2>>,
    name: LayerName,
}

impl BasicBlock {
    /// The first convolution has the stride.
    pub fn new(in_channels: usize, out_channels: usize, stride: usize) -> Self {
        BasicBlock {
            conv1: Conv2d::new(in_channels, out_channels, 3).stride(stride).padding(1).bias(false),
            bn1: BatchNorm2d::new(out_channels),
            relu: ReLU(),
            conv2: Conv2d::new(out_channels, out_channels, 3).padding(1).bias(false),
            bn2: BatchNorm2d::new(out_channels),
            downsample: downsample(in_channels, out_channels, stride),
            name: LayerName::new("BasicBlock"),
        }
    }
}

impl Module for BasicBlock {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            let y = conv_norm_act(&self.conv1, &self.bn1, Some(&self.relu), x.clone())?;
            conv_norm_add(&self.conv2, &self.bn2, Some(&self.relu), y, || shortcut(&self.downsample, x))
        })
    }
}

impl Block for BasicBlock {
    fn fold_norms(&mut self) -> Result<()> {
        fold(&mut self.conv1, &mut self.bn1)?;
        fold(&mut self.conv2, &mut self.bn2)
    }
}

/// The block of ResNet-50 and deeper, under the names of torchvision's: 1x1, 3x3 and 1x1 convolutions beside a shortcut;
/// the first two have a quarter of the output's channels.
///
/// `y = relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))) + downsample(x))`, of (N, in, H, W) to
/// (N, out, H / stride, W / stride), sizes rounded up.
///
/// ```
/// use rasgo::prelude::*;
/// let block = nn::Bottleneck::new(64, 256, 1);
/// assert_eq!(**block.forward(Tensor::rand([2, 64, 5, 4]))?.shape(), [2, 256, 5, 4]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(block)]
pub struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Conv2d,
    bn3: BatchNorm2d,
    relu: Activation,
    downsample: Option<ConvNormAct<2>>,
    name: LayerName,
}

impl Bottleneck {
    /// `out_channels` is four times the width within; the 3x3 convolution has the stride.
    pub fn new(in_channels: usize, out_channels: usize, stride: usize) -> Self {
        let width = out_channels / 4;
        Bottleneck {
            conv1: Conv2d::new(in_channels, width, 1).bias(false),
            bn1: BatchNorm2d::new(width),
            conv2: Conv2d::new(width, width, 3).stride(stride).padding(1).bias(false),
            bn2: BatchNorm2d::new(width),
            conv3: Conv2d::new(width, out_channels, 1).bias(false),
            bn3: BatchNorm2d::new(out_channels),
            relu: ReLU(),
            downsample: downsample(in_channels, out_channels, stride),
            name: LayerName::new("Bottleneck"),
        }
    }
}

impl Module for Bottleneck {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| {
            let y = conv_norm_act(&self.conv1, &self.bn1, Some(&self.relu), x.clone())?;
            let y = conv_norm_act(&self.conv2, &self.bn2, Some(&self.relu), y)?;
            conv_norm_add(&self.conv3, &self.bn3, Some(&self.relu), y, || shortcut(&self.downsample, x))
        })
    }
}

impl Block for Bottleneck {
    fn fold_norms(&mut self) -> Result<()> {
        fold(&mut self.conv1, &mut self.bn1)?;
        fold(&mut self.conv2, &mut self.bn2)?;
        fold(&mut self.conv3, &mut self.bn3)
    }
}
