//! The mean of the weights over the last steps.

use rasgo_core::{DType, Result, optim};

use crate::nn::{ItemMut, ModuleExt, walk_mut};
use crate::zoo::Network;

/// A second network whose weights and running statistics follow those in training:
/// mean = d mean + (1 - d) w with d = min(decay, (1 + step) / (10 + step)), so that the first, random weights are soon
/// forgotten. It often predicts better than the weights of the last step (Polyak and Juditsky 1992).
#[derive(Debug)]
pub(super) struct WeightMean {
    decay: f64,
    pub(super) network: Network,
}

impl WeightMean {
    pub(super) fn new(decay: f64, of: &Network) -> Result<WeightMean> {
        let mut network = of.architecture().build()?;
        network.load_state_dict(&of.state_dict())?;
        network.eval();
        Ok(WeightMean { decay, network })
    }

    /// Follows one step.
    pub(super) fn update(&mut self, of: &Network, step: u64) -> Result<()> {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        let mut result = Ok(());
        // Both networks have one architecture, so their walks meet the same tensors in the same order.
        let mut values = of.state_dict().into_iter().map(|(_, value)| value);
        let mut follow = |item: ItemMut<'_>| -> Result<()> {
            let mut value = || values.next().expect("the other network has this tensor too");
            match item {
                ItemMut::Parameter(parameter) => {
                    let value = value();
                    let value = value.as_slice::<f32>()?;
                    parameter.update(|mean| optim::ema(decay, mean, value))?;
                }
                ItemMut::State(state) if state.dtype() == DType::F32 => {
                    let (mut mean, value) = (state.get(), value());
                    let value = value.as_slice::<f32>()?;
                    mean.update(|mean: &mut [f32]| optim::ema(decay, mean, value))?;
                    state.set(mean);
                }
                // A count of batches has no mean.
                ItemMut::State(state) => state.set(value()),
                ItemMut::Mode(_) | ItemMut::Counter(_) | ItemMut::Block(_) => {}
            }
            Ok(())
        };
        walk_mut(&mut self.network, |_, item| {
            if let Err(error) = follow(item) {
                result = Err(error);
            }
        });
        result
    }
}
