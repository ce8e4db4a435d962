//! Layers one after the other.

use rasgo_core::op::is_observed;
use rasgo_core::ops::Activation;
use rasgo_core::{Result, Tensor, scope};

use super::fuse::{Block, fold};
use super::module::{Kind, KindMut, Module};
use super::visit::{ItemMut, Visitable, Visitor, VisitorMut};

/// Layers one after the other, as `torch.nn.Sequential`; their names are 0, 1, …, or those that they are given.
///
/// Neighbours that have a composite run as one: convolution or linear layer and ReLU or ReLU6; normalisation and ReLU or
/// ReLU6; normalisation, ReLU and max pooling. While somebody observes the layers, each runs alone.
///
/// ```
/// use rasgo::prelude::*;
/// let block = nn::Sequential::new()
///     .add(nn::Conv2d::new(1, 8, 3).padding(1))
///     .add(nn::BatchNorm2d::new(8))
///     .add(nn::ReLU())
///     .add(nn::MaxPool2d::new(2));
/// assert_eq!(**block.forward(Tensor::rand([4, 1, 6, 6]))?.shape(), [4, 8, 3, 3]);
/// # Ok::<(), rasgo::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Sequential {
    layers: Vec<Box<dyn Module>>,
    /// Of each layer, its name where that is not its number.
    names: Vec<Option<String>>,
}

impl Sequential {
    /// An empty sequence, which is the identity.
    pub fn new() -> Self {
        Sequential::default()
    }

    /// Adds a layer at the end.
    #[allow(clippy::should_implement_trait, reason = "it adds a layer; no one adds two sequences with +")]
    pub fn add(mut self, layer: impl Module + 'static) -> Self {
        self.push(layer);
        self
    }

    /// Adds a layer at the end.
    pub fn push(&mut self, layer: impl Module + 'static) {
        self.layers.push(Box::new(layer));
        self.names.push(None);
    }

    /// Adds a layer at the end under a name, which may be a dotted path.
    ///
    /// ```
    /// use rasgo::prelude::*;
    /// let stem = nn::Sequential::new()
    ///     .add_named("conv1", nn::Conv2d::new(3, 64, 7).stride(2).padding(3).bias(false))
    ///     .add_named("bn1", nn::BatchNorm2d::new(64));
    /// assert_eq!(stem.state_dict()[0].0, "conv1.weight");
    /// ```
    pub fn add_named(mut self, name: &str, layer: impl Module + 'static) -> Self {
        self.push_named(name, layer);
        self
    }

    /// Adds a layer at the end under a name, which may be a dotted path.
    pub fn push_named(&mut self, name: &str, layer: impl Module + 'static) {
        self.layers.push(Box::new(layer));
        self.names.push(Some(name.to_string()));
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The layers.
    pub fn layers(&self) -> &[Box<dyn Module>] {
        &self.layers
    }

    fn kind(&self, i: usize) -> Kind<'_> {
        self.layers.get(i).map_or(Kind::Other, |layer| layer.kind())
    }

    /// Runs the composite that begins at layer `i`; gives back how many layers that was.
    fn step(&self, i: usize, x: Tensor) -> Result<(Tensor, usize)> {
        match (self.kind(i), self.kind(i + 1), self.kind(i + 2)) {
            _ if is_observed() => {}
            (Kind::Sums(layer), Kind::Folded, Kind::Activation(act)) => {
                return Ok((layer.forward_act(x, act)?, 3));
            }
            (Kind::Sums(layer), Kind::Activation(act), _) => return Ok((layer.forward_act(x, act)?, 2)),
            (Kind::Norm(norm), Kind::Activation(act @ Activation::Relu), Kind::MaxPool(pool)) => {
                return Ok((norm.forward_act_pool(x, act, Some(pool))?, 3));
            }
            (Kind::Norm(norm), Kind::Activation(act), _) => {
                return Ok((norm.forward_act_pool(x, act, None)?, 2));
            }
            (Kind::Norm(norm), Kind::MaxPool(pool), _) => {
                return Ok((norm.forward_act_pool(x, Activation::None, Some(pool))?, 2));
            }
            _ => {}
        }
        Ok((self.layers[i].forward(x)?, 1))
    }
}

impl Module for Sequential {
    fn forward(&self, mut x: Tensor) -> Result<Tensor> {
        let _site = scope::enter_container();
        let mut i = 0;
        while i < self.layers.len() {
            let (y, layers) = self.step(i, x)?;
            x = y;
            i += layers;
        }
        Ok(x)
    }
}

impl Block for Sequential {
    fn fold_norms(&mut self) -> Result<()> {
        for i in 1..self.layers.len() {
            let (before, from) = self.layers.split_at_mut(i);
            if let (KindMut::Sums(layer), KindMut::Norm(norm)) =
                (before[i - 1].kind_mut(), from[0].kind_mut())
            {
                fold(layer, norm)?;
            }
        }
        Ok(())
    }
}

impl Visitable for Sequential {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (i, (name, layer)) in self.names.iter().zip(&self.layers).enumerate() {
            match name {
                Some(name) => visitor.field(name, layer),
                None => visitor.field(&i.to_string(), layer),
            }
        }
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.item(ItemMut::Block(self));
        for (i, (name, layer)) in self.names.iter().zip(&mut self.layers).enumerate() {
            match name {
                Some(name) => visitor.field(name, layer),
                None => visitor.field(&i.to_string(), layer),
            }
        }
    }
}
