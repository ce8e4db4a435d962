//! Folding normalisations into the layers before them.

use std::fmt::Debug;

use rasgo_core::{Error, ErrorKind, Result, Tensor};

use super::module::{Norm, Sums};
use super::parameter::Parameter;
use super::visit::{Item, ItemMut, Visitable, walk, walk_mut};
use crate::init::Init;

/// A module that knows which of its normalisations follow which of its layers; [`ModuleExt::fuse`](super::ModuleExt::fuse)
/// finds it through its `visit_mut`, which `#[module(block)]` beside the derive adds it to.
pub trait Block: Debug {
    /// Folds them, those of the modules within left out: the walk finds these too.
    fn fold_norms(&mut self) -> Result<()>;
}

/// What a normalisation with constant statistics is for each channel: `scale * x + shift`.
#[derive(Clone, Debug)]
pub struct Affine {
    /// weight / sqrt(var + eps)
    pub(super) scale: Vec<f64>,
    /// bias - mean * scale
    pub(super) shift: Vec<f64>,
}

/// Makes `norm(layer(x))` the layer alone, where the normalisation has constant statistics.
pub(super) fn fold(layer: &mut dyn Sums, norm: &mut dyn Norm) -> Result<()> {
    if let Some(affine) = norm.affine()? {
        layer.fold(&affine)?;
        norm.set_folded();
    }
    Ok(())
}

/// A layer's weights (out, …) and bias (out) with an affine map of its outputs in them: `weight * scale` and
/// `bias * scale + shift`, computed in f64.
pub(super) fn fold_into(affine: &Affine, weight: &mut Parameter, bias: &mut Option<Parameter>) -> Result<()> {
    let out = affine.scale.len();
    if weight.shape()[0] != out {
        let text = format!("a normalisation of {out} channels after weights {}", weight.shape());
        return Err(
            Error::shape(text).hint("give the normalisation as many features as the layer has outputs")
        );
    }
    let old = match bias {
        Some(bias) => bias.tensor().to_vec::<f32>()?,
        None => vec![0.0; out],
    };
    let moved = old.iter().zip(&affine.scale).zip(&affine.shift);
    let values: Vec<f32> = moved.map(|((b, scale), shift)| (f64::from(*b) * scale + shift) as f32).collect();
    let bias = bias.get_or_insert_with(|| Parameter::new([out], Init::Zeros));
    bias.set(Tensor::from_vec(values, [out])?)?;
    let row = weight.shape().elements() / out.max(1);
    // A copy: who else holds the weights keeps them.
    let mut scaled = weight.tensor().detach().deep_copy();
    scaled.update(|values: &mut [f32]| {
        for (row, scale) in values.chunks_exact_mut(row.max(1)).zip(&affine.scale) {
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
        }
    })?;
    weight.set(scaled)
}

/// Folds all that the blocks of a module know of.
pub(super) fn fuse(module: &mut dyn Visitable) -> Result<()> {
    let mut training = None;
    walk_mut(module, |path, item| {
        if let ItemMut::Mode(mode) = item
            && mode.is_training()
        {
            training.get_or_insert_with(|| path.to_string());
        }
    });
    if let Some(path) = training {
        let layer = path.rsplit_once('.').map_or("", |(layer, _)| layer);
        return Err(Error::new(ErrorKind::State, "fuse() of a model in training")
            .layer(layer)
            .hint("call .eval() first: a fused model is for evaluation"));
    }
    let mut result = Ok(());
    walk_mut(module, |_, item| {
        if let ItemMut::Block(block) = item
            && result.is_ok()
        {
            result = block.fold_norms();
        }
    });
    result
}

/// Refuses a model that [`fuse`] has changed: its weights are no longer those of its architecture.
pub(crate) fn expect_unfused(module: &dyn Visitable) -> Result<()> {
    let mut folded = None;
    walk(module, |path, item| {
        if let Item::Folded = item {
            folded.get_or_insert_with(|| path.to_string());
        }
    });
    match folded {
        Some(path) => {
            let layer = path.rsplit_once('.').map_or("", |(layer, _)| layer);
            Err(Error::new(
                ErrorKind::State,
                "a fused model is not saved: its normalisations are folded away",
            )
            .layer(layer)
            .hint("save before .fuse(), which is for inference"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rasgo_core::{DType, no_grad};

    use super::*;
    use crate::nn::{
        BasicBlock, BatchNorm1d, BatchNorm2d, Bottleneck, Conv2d, ConvNormAct, Function, InvertedResidual,
        Linear, Module, ModuleExt, ReLU, ReLU6, Sequential, SiLU,
    };

    /// Statistics and parameters that are no identity: those after a step, with random weights.
    fn trained(mut model: Sequential, x: &Tensor) -> Sequential {
        for _ in 0..3 {
            model.forward(x.clone()).unwrap();
        }
        walk_mut(&mut model, |path, item| {
            if let ItemMut::Parameter(parameter) = item
                && parameter.shape().len() == 1
            {
                let bound = if path.ends_with("bias") { (-1.0, 1.0) } else { (0.5, 2.0) };
                parameter.init(Init::Uniform(bound.0, bound.1));
            }
        });
        model.eval();
        model
    }

    fn largest(values: &[f32]) -> f32 {
        values.iter().fold(0.0, |most, x| x.abs().max(most))
    }

    /// Fuses, and checks what `fuse` states of outputs: each layer adds a few roundings.
    #[track_caller]
    fn check(model: Sequential, x: Tensor) -> Sequential {
        let mut model = trained(model, &x);
        let run = |model: &Sequential| no_grad(|| model.forward(x.clone())).unwrap().to_vec::<f32>().unwrap();
        let before = run(&model);
        model.fuse().unwrap();
        let after = run(&model);
        let error = before.iter().zip(&after).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(error > 0.0, "something was folded");
        assert!(error <= 2e-5 * largest(&before), "{error} of {}", largest(&before));
        let names: Vec<String> = model.state_dict().into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| !name.contains("running")), "{names:?}");
        // Again it changes nothing.
        model.fuse().unwrap();
        assert_eq!(run(&model), after);
        model
    }

    fn map() -> Tensor {
        Tensor::randn([3, 16, 9, 8])
    }

    #[test]
    fn a_sequence_folds_norms_after_convolutions_and_linear_layers() {
        let convs = Sequential::new()
            .add(Conv2d::new(16, 24, 3).padding(1))
            .add(BatchNorm2d::new(24))
            .add(ReLU())
            .add(Conv2d::new(24, 24, 3).groups(24).bias(false))
            .add(BatchNorm2d::new(24).affine(false))
            .add(ReLU6())
            .add(Conv2d::new(24, 8, 1))
            .add(BatchNorm2d::new(8))
            .add(SiLU());
        check(convs, map());
        let linear = Sequential::new().add(Linear::new(5, 7)).add(BatchNorm1d::new(7)).add(ReLU());
        check(linear, Tensor::randn([6, 5]));
    }

    #[test]
    fn blocks_fold_theirs_wherever_they_stand() {
        check(Sequential::new().add(BasicBlock::new(16, 16, 1)), map());
        check(Sequential::new().add(BasicBlock::new(16, 24, 2)), map());
        check(Sequential::new().add(Bottleneck::new(16, 32, 2)), map());
        check(Sequential::new().add(InvertedResidual::new(16, 16, 1, 6)), map());
        check(Sequential::new().add(InvertedResidual::new(16, 24, 2, 1)), map());
        let block = || ConvNormAct::<2>::new(16, 16, 3);
        let inner = Sequential::new().add(block()).add(block().activation(Function::SiLU));
        check(Sequential::new().add(inner).add(block().activation(None)), map());
    }

    #[test]
    fn a_norm_without_constant_statistics_or_without_a_layer_before_it_stays() {
        let model = Sequential::new()
            .add(BatchNorm2d::new(16))
            .add(Conv2d::new(16, 16, 1))
            .add(ReLU())
            .add(BatchNorm2d::new(16))
            .add(Conv2d::new(16, 16, 1))
            .add(BatchNorm2d::new(16).track_running_stats(false));
        let mut model = trained(model, &map());
        let before = model.state_dict().len();
        model.fuse().unwrap();
        assert_eq!(model.state_dict().len(), before);
    }

    #[test]
    fn a_model_in_training_is_not_fused_and_a_fused_one_neither_trains_nor_is_saved() {
        let make = || Sequential::new().add(Conv2d::new(16, 8, 3)).add(BatchNorm2d::new(8));
        let mut model = make();
        let error = model.fuse().unwrap_err();
        assert!(error.to_string().contains("layer 1: fuse() of a model in training"), "{error}");
        model.eval();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        model.save(&path).unwrap();
        model.fuse().unwrap();
        model.name_layers();
        let error = model.save(&path).unwrap_err();
        assert!(error.to_string().contains("layer 1: a fused model is not saved"), "{error}");
        model.train();
        let error = model.forward(map()).unwrap_err();
        assert!(error.to_string().contains("layer 1") && error.to_string().contains("folded"), "{error}");
        // What was saved before is a model as ever.
        let mut again = make();
        again.load(&path).unwrap();
        again.forward(map()).unwrap();
    }

    #[test]
    fn weights_that_others_hold_stay_as_they_are() {
        let mut model =
            trained(Sequential::new().add(Conv2d::new(16, 8, 3)).add(BatchNorm2d::new(8)), &map());
        let held = model.state_dict()[0].1.clone();
        let before = held.to_vec::<f32>().unwrap();
        model.fuse().unwrap();
        assert_eq!(held.to_vec::<f32>().unwrap(), before);
        assert_ne!(model.state_dict()[0].1.to_vec::<f32>().unwrap(), before);
        assert_eq!(model.state_dict()[1].1.dtype(), DType::F32);
    }
}
