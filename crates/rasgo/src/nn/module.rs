//! What computes.

use std::fmt::Debug;
use std::path::Path;

use rasgo_core::ops::{Activation, PoolAfter};
use rasgo_core::{Error, Result, Tensor, no_grad};

use super::fuse::{Affine, expect_unfused, fuse};
use super::visit::{Item, ItemMut, Visitable, walk, walk_mut};
use crate::formats::{Disk, first_of, safetensors};

/// A layer or model: `forward`, and fields that can be walked.
///
/// ```
/// use rasgo::prelude::*;
///
/// #[derive(Debug, Module)]
/// struct Block {
///     conv: nn::Conv2d,
///     fc: nn::Linear,
/// }
///
/// impl Module for Block {
///     fn forward(&self, x: Tensor) -> Result<Tensor> {
///         let x = self.conv.forward(x)?.relu()?;
///         self.fc.forward(x.flatten(1)?)
///     }
/// }
///
/// let block = Block { conv: nn::Conv2d::new(1, 2, 3), fc: nn::Linear::new(32, 10) };
/// assert_eq!(**block.forward(Tensor::rand([5, 1, 6, 6]))?.shape(), [5, 10]);
/// assert_eq!(block.parameter_count(), 2 * 9 + 2 + 32 * 10 + 10);
/// # Ok::<(), rasgo::Error>(())
/// ```
pub trait Module: Visitable + Debug + Send + Sync {
    /// Computes the output. An error names the line of the caller.
    #[track_caller]
    fn forward(&self, x: Tensor) -> Result<Tensor>;

    /// The outputs without records for gradients, of a module in evaluation.
    #[track_caller]
    fn predict(&self, x: Tensor) -> Result<Tensor> {
        no_grad(|| self.forward(x))
    }

    /// What `Sequential` may run together with its neighbours.
    fn kind(&self) -> Kind<'_> {
        Kind::Other
    }

    /// What `Sequential` may fold into its neighbours.
    fn kind_mut(&mut self) -> KindMut<'_> {
        KindMut::Other
    }
}

/// The layers that have composites.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// A convolution or a linear layer.
    Sums(&'a dyn Sums),
    /// A batch normalisation.
    Norm(&'a dyn Norm),
    /// An activation that those before it can apply as they store.
    Activation(Activation),
    /// A max pooling of windows side by side, without padding.
    MaxPool(PoolAfter),
    /// The input as it comes: a normalisation that [`fuse`](ModuleExt::fuse) has folded into the layer before it.
    Folded,
    /// Everything else.
    Other,
}

/// The layers that [`fuse`](ModuleExt::fuse) makes one of.
#[derive(Debug)]
pub enum KindMut<'a> {
    /// A convolution or a linear layer.
    Sums(&'a mut dyn Sums),
    /// A batch normalisation.
    Norm(&'a mut dyn Norm),
    /// Everything else.
    Other,
}

/// A layer of weighted sums, which can apply an activation as it stores.
pub trait Sums: Debug {
    /// act(sums(x))
    fn forward_act(&self, x: Tensor, activation: Activation) -> Result<Tensor>;
    /// Takes an affine map of its outputs into weights and bias.
    fn fold(&mut self, affine: &Affine) -> Result<()>;
}

/// A normalisation, which can apply an activation and, after a ReLU or nothing, a max pooling as it stores.
pub trait Norm: Debug {
    /// pool(act(norm(x)))
    fn forward_act_pool(&self, x: Tensor, activation: Activation, pool: Option<PoolAfter>) -> Result<Tensor>;
    /// The affine map that it is in evaluation; `None` without constant statistics, or where it was folded before.
    fn affine(&self) -> Result<Option<Affine>>;
    /// Makes it the identity, without parameters and statistics: the layer before it has taken its affine map.
    fn set_folded(&mut self);
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        (**self).forward(x)
    }

    fn predict(&self, x: Tensor) -> Result<Tensor> {
        (**self).predict(x)
    }

    fn kind(&self) -> Kind<'_> {
        (**self).kind()
    }

    fn kind_mut(&mut self) -> KindMut<'_> {
        (**self).kind_mut()
    }
}

/// What every module can do besides computing: all of it is walks over the fields.
pub trait ModuleExt: Visitable {
    /// How many numbers training changes.
    fn parameter_count(&self) -> usize
    where
        Self: Sized,
    {
        let mut count = 0;
        walk(self, |_, item| {
            if let Item::Parameter(parameter) = item {
                count = usize::saturating_add(count, parameter.shape().elements());
            }
        });
        count
    }

    /// Sets all layers to training.
    fn train(&mut self)
    where
        Self: Sized,
    {
        set_training(self, true);
    }

    /// Sets all layers to evaluation.
    fn eval(&mut self)
    where
        Self: Sized,
    {
        set_training(self, false);
    }

    /// Folds batch normalisations with running statistics into the convolutions and linear layers before them, for
    /// evaluation: with `s = weight / sqrt(running_var + eps)` of the normalisation, for each output channel,
    ///
    /// ```text
    /// norm(conv(x)) = conv'(x),      weight' = s weight,      bias' = s (bias - running_mean) + norm.bias
    /// ```
    ///
    /// The new weights are computed in f64 and rounded once, so outputs differ by a few roundings for each layer. Then a
    /// ReLU or ReLU6, and the shortcut of a residual block, are applied as the convolution stores.
    ///
    /// It finds neighbours in a [`Sequential`](super::Sequential) and within the blocks of [`nn`](crate::nn); what a
    /// `forward` of one's own runs after each other stays as it is. A fused model is for inference: training it is an
    /// error, as is saving it, and its `state_dict` has no normalisations. Load weights before.
    ///
    /// ```
    /// use rasgo::prelude::*;
    /// let mut net = nn::Sequential::new()
    ///     .add(nn::Conv2d::new(3, 8, 3).bias(false))
    ///     .add(nn::BatchNorm2d::new(8))
    ///     .add(nn::ReLU());
    /// let x = Tensor::rand([1, 3, 6, 6]);
    /// net.eval();
    /// let before = net.forward(x.clone())?.to_vec::<f32>()?;
    /// net.fuse()?;
    /// let after = net.forward(x)?.to_vec::<f32>()?;
    /// assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-5));
    /// assert_eq!(net.state_dict().len(), 2);
    /// # Ok::<(), rasgo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::State`](rasgo_core::ErrorKind::State) of a model in training; nothing is changed.
    fn fuse(&mut self) -> Result<()>
    where
        Self: Sized,
    {
        fuse(self)
    }

    /// Excludes all parameters from training, or includes them again.
    fn set_frozen(&mut self, frozen: bool)
    where
        Self: Sized,
    {
        walk_mut(self, |_, item| {
            if let ItemMut::Parameter(parameter) = item {
                parameter.set_frozen(frozen);
            }
        });
    }

    /// Tells every layer its path, so that errors and summaries name it.
    fn name_layers(&self)
    where
        Self: Sized,
    {
        walk(self, |path, item| {
            if let Item::Name(name) = item {
                // The name is a field of its layer: the layer's path is the part before it.
                name.set(path.rsplit_once('.').map_or(name.kind(), |(layer, _)| layer));
            }
        });
    }

    /// Every tensor that is saved, by name: parameters and state, in the order of declaration.
    fn state_dict(&self) -> Vec<(String, Tensor)>
    where
        Self: Sized,
    {
        let mut tensors = Vec::new();
        walk(self, |path, item| match item {
            Item::Parameter(parameter) => tensors.push((path.to_string(), parameter.tensor().detach())),
            Item::State(state) => tensors.push((path.to_string(), state.get())),
            Item::Name(_) | Item::Counter(_) | Item::Mode(_) | Item::Folded => {}
        });
        tensors
    }

    /// Sets every tensor from a `state_dict`, rasgo's or PyTorch's.
    ///
    /// # Errors
    /// If a name is missing or unexpected, or a shape differs: they are listed with their shapes, of the unexpected the
    /// first eight, and nothing is changed.
    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()>
    where
        Self: Sized,
    {
        set_all(self, tensors)
    }

    /// Writes the [`state_dict`](ModuleExt::state_dict) to a `.safetensors` file, whole or not at all. It holds no
    /// architecture: [`load`](ModuleExt::load) takes it into a model that is made the same way, here or in PyTorch.
    ///
    /// ```
    /// use rasgo::prelude::*;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("net.safetensors");
    /// let make = || nn::Sequential::new().add(nn::Conv2d::new(1, 4, 3)).add(nn::BatchNorm2d::new(4));
    /// let net = make();
    /// net.save(&path)?;
    ///
    /// let mut again = make();
    /// again.load(&path)?;
    /// again.eval();
    /// # Ok::<(), rasgo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Io`](rasgo_core::ErrorKind::Io), naming the file; [`ErrorKind::State`](rasgo_core::ErrorKind::State)
    /// of a model that is [fused](ModuleExt::fuse).
    fn save(&self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        expect_unfused(self)?;
        // What other programs look for before they read the names as PyTorch's.
        let metadata = [("format".to_string(), "pt".to_string())].into();
        safetensors::save(&Disk::default(), path, &self.state_dict(), &metadata)
    }

    /// Sets every tensor from a file that [`save`](ModuleExt::save), PyTorch or `rasgo train` wrote. The layers stay in
    /// training or evaluation, as they are.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`load_state_dict`](ModuleExt::load_state_dict), naming the file; nothing is changed.
    fn load(&mut self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        let path = path.as_ref();
        let loaded = safetensors::load(path)?;
        set_all(self, &loaded.tensors).map_err(|error| error.file(path))
    }
}

impl<M: Visitable> ModuleExt for M {}

fn set_training(module: &mut dyn Visitable, training: bool) {
    walk_mut(module, |_, item| {
        if let ItemMut::Mode(mode) = item {
            mode.set_training(training);
        }
    });
}

fn set_all(module: &mut dyn Visitable, tensors: &[(String, Tensor)]) -> Result<()> {
    let given: std::collections::BTreeMap<&str, &Tensor> =
        tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let mut wanted = std::collections::BTreeSet::new();
    let (mut missing, mut mismatched) = (Vec::new(), Vec::new());
    walk(module, |path, item| {
        let shape = match item {
            Item::Parameter(parameter) => parameter.shape().clone(),
            Item::State(state) => state.shape().clone(),
            Item::Name(_) | Item::Counter(_) | Item::Mode(_) | Item::Folded => return,
        };
        match given.get(path) {
            None => missing.push(format!("{path} {shape}")),
            Some(tensor) if *tensor.shape() != shape => {
                mismatched.push(format!("{path} is {} in the file and {shape} in the model", tensor.shape()));
            }
            Some(_) => {}
        }
        wanted.insert(path.to_string());
    });
    let unexpected: Vec<String> = (given.iter().filter(|(name, _)| !wanted.contains(**name)))
        .map(|(name, tensor)| format!("{name} {}", tensor.shape()))
        .collect();
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!("missing: {}", missing.join(", ")));
    }
    if !unexpected.is_empty() {
        // As many as the file has, which may be no model's.
        problems.push(format!("unexpected: {}", first_of(8, unexpected.iter().map(String::as_str))));
    }
    if !mismatched.is_empty() {
        problems.push(format!("of another shape: {}", mismatched.join(", ")));
    }
    if !problems.is_empty() {
        return Err(Error::config(format!("the weights are not this model's: {}", problems.join("; ")))
            .hint("use the architecture that the weights were saved from"));
    }
    let mut result = Ok(());
    walk_mut(module, |path, item| {
        let set = |value: &Tensor| value.deep_copy();
        match item {
            ItemMut::Parameter(parameter) => {
                if let Err(error) = parameter.set(set(given[path])) {
                    result = Err(error);
                }
            }
            ItemMut::State(state) => match given[path].to_dtype(state.dtype()) {
                Ok(value) => state.set(set(&value)),
                Err(error) => result = Err(error),
            },
            ItemMut::Mode(_) | ItemMut::Counter(_) | ItemMut::Block(_) => {}
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{BatchNorm2d, Conv2d, Linear, Sequential};

    fn net(channels: usize) -> Sequential {
        Sequential::new().add(Conv2d::new(1, channels, 3)).add(BatchNorm2d::new(channels))
    }

    #[test]
    fn a_model_of_ones_own_is_saved_and_loaded_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let x = Tensor::rand([2, 1, 5, 5]);
        let mut first = net(4);
        // The statistics are saved with the weights.
        first.forward(x.clone()).unwrap();
        first.save(&path).unwrap();
        let mut second = net(4);
        second.load(&path).unwrap();
        first.eval();
        second.eval();
        let values = |net: &Sequential| net.forward(x.clone()).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(values(&first), values(&second));
    }

    #[test]
    fn a_file_of_another_model_is_refused_by_name_and_shape_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        net(4).save(&path).unwrap();
        let mut other = net(5).add(Linear::new(3, 2));
        let before = crate::formats::weights_hash(&other.state_dict()).unwrap();
        let error = other.load(&path).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("0.weight is [4, 1, 3, 3] in the file and [5, 1, 3, 3] in the model"),
            "{text}"
        );
        assert!(text.contains("missing: 2.weight [2, 3], 2.bias [2]"), "{text}");
        assert_eq!(error.path(), Some(&*path));
        let error = Linear::new(3, 2).load(&path).unwrap_err();
        assert!(error.to_string().contains("unexpected: 0.bias [4], 0.weight"), "{error}");
        let error = other.load(folder.path().join("none.safetensors")).unwrap_err();
        assert!(error.to_string().contains("none.safetensors"), "{error}");
        assert_eq!(crate::formats::weights_hash(&other.state_dict()).unwrap(), before);
    }

    #[test]
    fn the_error_of_a_file_with_very_many_names_is_short() {
        let many: Vec<(String, Tensor)> =
            (0..9_999).map(|i| (format!("t{i}"), Tensor::scalar(0u8))).collect();
        let error = Linear::new(3, 2).load_state_dict(&many).unwrap_err().to_string();
        assert!(error.contains("and 9991 more") && error.len() < 500, "{error}");
    }
}
