//! What an architecture builds.

use rasgo_core::{Result, Tensor, scope};

use super::Architecture;
use crate::nn::{Module, ModuleExt, Sequential, Visitable, Visitor, VisitorMut};

/// A network of a backbone, which finds features, and a head, which predicts from them.
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    backbone: Sequential,
    neck: Sequential,
    head: Sequential,
}

impl Network {
    pub(super) fn new(
        architecture: Architecture,
        backbone: Sequential,
        neck: Sequential,
        head: Sequential,
    ) -> Network {
        let network = Network { architecture, backbone, neck, head };
        network.name_layers();
        network
    }

    /// The layers as a model file lists them.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.architecture.class_count()
    }

    /// The layers that find features.
    pub fn backbone(&self) -> &Sequential {
        &self.backbone
    }

    /// The layers that find features, to be frozen: `network.backbone_mut().set_frozen(true)`.
    pub fn backbone_mut(&mut self) -> &mut Sequential {
        &mut self.backbone
    }

    /// The layers that predict.
    pub fn head(&self) -> &Sequential {
        &self.head
    }

    /// The layers that predict, to be replaced: `*network.head_mut() = …`.
    pub fn head_mut(&mut self) -> &mut Sequential {
        &mut self.head
    }

    /// The same network with a new last layer for another number of classes; all other weights stay.
    ///
    /// # Errors
    /// If the new architecture does not build.
    pub fn with_classes(self, classes: usize) -> Result<Network> {
        let fresh = self.architecture.clone().classes(classes).build()?;
        let old = self.state_dict();
        let mut network = fresh;
        let kept: Vec<(String, Tensor)> = network
            .state_dict()
            .into_iter()
            .map(|(name, tensor)| {
                let same = old.iter().find(|(old, value)| *old == name && value.shape() == tensor.shape());
                (name, same.map_or(tensor, |(_, value)| value.clone()))
            })
            .collect();
        network.load_state_dict(&kept)?;
        Ok(network)
    }
}

impl Module for Network {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let _site = scope::enter_container();
        let x = self.backbone.forward(x.to_channels_last())?;
        self.head.forward(self.neck.forward(x)?)
    }
}

impl Visitable for Network {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let [backbone, neck, head] = self.architecture.part_names();
        visitor.field(backbone, &self.backbone);
        visitor.field(neck, &self.neck);
        visitor.field(head, &self.head);
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        let [backbone, neck, head] = self.architecture.part_names();
        visitor.field(backbone, &mut self.backbone);
        visitor.field(neck, &mut self.neck);
        visitor.field(head, &mut self.head);
    }
}
