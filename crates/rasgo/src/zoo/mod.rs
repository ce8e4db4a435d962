//! Models: those of the zoo by name, and one's own as a TOML file.
//!
//! Every model is an [`Architecture`], a list of layers, from which [`Architecture::build`] makes a [`Network`] with a
//! backbone and a head. The architecture is written into the model's file, so that this one file is enough to predict.

mod architecture;
mod initialisation;
mod layer;
mod layer_entry;
mod model_file;
mod models;
mod network;
mod seen;
mod summary;

pub use architecture::Architecture;
pub use initialisation::{ConvInit, Initialisation};
pub use layer::LayerSpec;
pub use layer_entry::LayerEntry;
pub use models::{DEFAULT, Model, default_for, models, named};
pub use network::Network;
pub use seen::Seen;
pub use summary::{LayerRow, Summary, summarize};
