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
        let mut values = of.state_dict().into_iter();
        walk_mut(&mut self.network, |_, item| {
            let followed = match item {
                ItemMut::Parameter(parameter) => values.next().map_or(Ok(()), |(_, value)| {
                    let value = value.as_slice::<f32>()?;
                    parameter.update(|mean| optim::ema(decay, mean, value))
                }),
                // A count of batches has no mean.
                ItemMut::State(state) if state.dtype() != DType::F32 => {
                    values.next().map_or(Ok(()), |(_, value)| {
                        state.set(value);
                        Ok(())
                    })
                }
                ItemMut::State(state) => values.next().map_or(Ok(()), |(_, value)| {
                    let value = value.as_slice::<f32>()?;
                    let mut mean = state.get();
                    mean.update(|mean: &mut [f32]| optim::ema(decay, mean, value))?;
                    state.set(mean);
                    Ok(())
                }),
                ItemMut::Mode(_) | ItemMut::Counter(_) => Ok(()),
            };
            if let Err(error) = followed {
                result = Err(error);
            }
        });
        result
    }
}
