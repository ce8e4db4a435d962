//! Layers without arithmetic.

use rasgo_core::{Result, Tensor};
use rasgo_derive::Module;

use super::module::Module;
use super::parameter::LayerName;

/// (N, C, H, W) to (N, C * H * W), as `torch.nn.Flatten`.
#[derive(Clone, Debug, Module)]
pub struct Flatten {
    name: LayerName,
}

impl Flatten {
    /// A flattening of everything but the batch.
    pub fn new() -> Self {
        Flatten { name: LayerName::new("Flatten") }
    }
}

impl Default for Flatten {
    fn default() -> Self {
        Flatten::new()
    }
}

impl Module for Flatten {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| x.flatten(1))
    }
}

/// y = x, as `torch.nn.Identity`: holds a place.
#[derive(Clone, Debug, Module)]
pub struct Identity {
    name: LayerName,
}

impl Identity {
    /// A layer that does nothing.
    pub fn new() -> Self {
        Identity { name: LayerName::new("Identity") }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Identity::new()
    }
}

impl Module for Identity {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.name.run(|| Ok(x))
    }
}
