//! Layers, and what all of them share: parameters, buffers, names, modes.
//!
//! A layer is a plain struct; `#[derive(Module)]` lets visitors walk its fields, and its field names are those of
//! PyTorch's `state_dict`. What computes implements [`Module`].
//!
//! Losses hold nothing, so they are no layers: they are methods of the output, as
//! [`cross_entropy`](crate::Tensor::cross_entropy), [`mse_loss`](crate::Tensor::mse_loss) and
//! [`binary_cross_entropy_with_logits`](crate::Tensor::binary_cross_entropy_with_logits), with the options of PyTorch's
//! `nn.CrossEntropyLoss` and the like.
//!
//! What layers make has the type of what they are given. So training in bfloat16 is a batch of it; parameters and their
//! gradients are float32 all the same, and so should the loss be:
//!
//! ```
//! use rasgo::prelude::*;
//! # let mut net = nn::Sequential::new().add(nn::Conv2d::new(1, 8, 3)).add(nn::Flatten::new()).add(nn::Linear::new(288, 10));
//! # let mut opt = Optimizer::sgd(0.1);
//! # let (x, target) = (Tensor::rand([16, 1, 8, 8]), Tensor::randint(0, 10, [16])?);
//! let scores = net.forward(x.to_dtype(DType::Bf16)?)?.to_dtype(DType::F32)?;
//! let loss = scores.cross_entropy(&target, Default::default())?;
//! opt.step(&mut net, loss.backward()?)?;
//! # Ok::<(), rasgo::Error>(())
//! ```
//!
//! [`train::Precision`](crate::train::Precision) is the choice as a value, and [`TrainConfig`](crate::train::TrainConfig) has one.

mod activation;
mod batch_norm;
mod conv;
mod conv_norm_act;
mod conv_transpose;
mod dropout;
mod embedding;
mod flatten;
mod fuse;
mod group_norm;
pub mod historic;
mod inverted_residual;
mod linear;
mod module;
mod pad;
mod parameter;
mod pool;
mod residual;
mod sequential;
mod size;
mod unfold;
mod unpool;
mod upsample;
mod visit;

pub use activation::{
    Activation, CELU, ELU, Function, GELU, GELUTanh, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid,
    LogSoftmax, Mish, PReLU, ReLU, ReLU6, SELU, SiLU, Sigmoid, Softmax, Softplus, Softsign, Tanh,
};
pub use batch_norm::{BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d};
pub use conv::{Conv, Conv1d, Conv2d, Conv3d, Padding};
pub use conv_norm_act::ConvNormAct;
pub use conv_transpose::{ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub use dropout::{ChannelDropout, Dropout, Dropout1d, Dropout2d, Dropout3d};
pub use embedding::Embedding;
pub use flatten::{Flatten, Identity};
pub(crate) use fuse::expect_unfused;
pub use fuse::{Affine, Block};
pub use group_norm::{GroupNorm, InstanceNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm};
pub use inverted_residual::InvertedResidual;
pub use linear::Linear;
pub use module::{Kind, KindMut, Module, ModuleExt, Norm, Sums};
pub use pad::{
    CircularPad, CircularPad1d, CircularPad2d, CircularPad3d, ConstantPad, ConstantPad1d, ConstantPad2d,
    ConstantPad3d, ReflectionPad, ReflectionPad1d, ReflectionPad2d, ReflectionPad3d, ReplicationPad,
    ReplicationPad1d, ReplicationPad2d, ReplicationPad3d, Sides, ZeroPad, ZeroPad1d, ZeroPad2d, ZeroPad3d,
};
pub use parameter::{Counter, LayerName, Mode, Parameter, State, shape_only_forward};
pub use pool::{
    AdaptiveAvgPool, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool,
    AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d, AvgPool, AvgPool1d, AvgPool2d, AvgPool3d,
    MaxPool, MaxPool1d, MaxPool2d, MaxPool3d,
};
pub use rasgo_derive::Module;
pub use residual::{BasicBlock, Bottleneck};
pub use sequential::Sequential;
pub use size::{AdaptiveSize, Size};
pub use unfold::{Fold, Unfold};
pub use unpool::{MaxUnpool, MaxUnpool1d, MaxUnpool2d, MaxUnpool3d};
pub use upsample::{PixelShuffle, PixelUnshuffle, Upsample, Upsample1d, Upsample2d, Upsample3d};
pub use visit::{Item, ItemMut, Visitable, Visitor, VisitorMut, walk, walk_mut};
