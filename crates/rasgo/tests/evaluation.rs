//! Evaluation keeps weights as its kernels want them; nobody can tell but by the time it takes.

use rasgo::init::Init;
use rasgo::nn::{ItemMut, Module, ModuleExt, walk_mut};
use rasgo::optim::Optimizer;
use rasgo::zoo::{self, Network};
use rasgo::{Tensor, no_grad};

fn bits(y: Tensor) -> Vec<u32> {
    y.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// The outputs in evaluation: with weights that are kept, which must equal those with weights that are not.
fn evaluated(network: &mut Network, x: &Tensor) -> Vec<u32> {
    network.eval();
    let kept = bits(no_grad(|| network.forward(x.clone())).unwrap());
    assert_eq!(kept, bits(no_grad(|| network.forward(x.clone())).unwrap()));
    assert_eq!(kept, bits(network.forward(x.clone()).unwrap()));
    network.train();
    kept
}

#[test]
fn an_evaluated_model_follows_its_weights_through_steps_and_loads() {
    for model in zoo::models().iter().filter(|model| model.input != [3, 224, 224]) {
        let name = model.name;
        let mut network = model.architecture().build().unwrap();
        let shape: Vec<usize> = [4].into_iter().chain(model.input.iter().copied()).collect();
        let x = Tensor::rand(shape);
        let target = Tensor::from_vec(vec![0i64, 1, 2, 3], [4]).unwrap();
        let mut opt = Optimizer::sgd(0.05);
        let first = evaluated(&mut network, &x);
        let saved: Vec<(String, Tensor)> =
            network.state_dict().into_iter().map(|(name, tensor)| (name, tensor.deep_copy())).collect();
        let mut seen = vec![first.clone()];
        for _ in 0..3 {
            let loss =
                network.forward(x.clone()).unwrap().cross_entropy(&target, Default::default()).unwrap();
            opt.step(&mut network, loss.backward().unwrap()).unwrap();
            let now = evaluated(&mut network, &x);
            assert!(!seen.contains(&now), "{name}: a step changes the outputs");
            seen.push(now);
        }
        network.load_state_dict(&saved).unwrap();
        assert_eq!(evaluated(&mut network, &x), first, "{name}");
    }
}

/// Norms and weights as after some training: nothing of them is an identity.
fn trained(network: &mut Network, x: &Tensor) {
    for _ in 0..3 {
        network.forward(x.clone()).unwrap();
    }
    walk_mut(network, |path, item| {
        if let ItemMut::Parameter(parameter) = item
            && parameter.shape().len() == 1
        {
            let (low, high) = if path.ends_with("bias") { (-0.2, 0.2) } else { (0.7, 1.3) };
            parameter.init(Init::Uniform(low, high));
        }
    });
}

#[test]
fn every_fused_model_agrees_with_the_model_whose_weights_it_loaded() {
    for model in zoo::models() {
        // Smaller images than the models are for, so that the test is quick; AlexNet's linear layers want theirs.
        let large = model.input == [3, 224, 224] && !["alexnet", "vgg16"].contains(&model.name);
        if model.input == [3, 224, 224] && !large {
            continue;
        }
        let input: Vec<usize> = if large { vec![3, 64, 64] } else { model.input.to_vec() };
        let shape: Vec<usize> = [3].into_iter().chain(input.iter().copied()).collect();
        let x = Tensor::rand(shape);
        let build = || model.architecture().input(&input).build().unwrap();
        let (mut plain, mut fused) = (build(), build());
        trained(&mut plain, &x);
        fused.load_state_dict(&plain.state_dict()).unwrap();
        plain.eval();
        fused.eval();
        fused.fuse().unwrap();
        let norms = |network: &Network| {
            network.state_dict().iter().filter(|(name, _)| name.ends_with("running_mean")).count()
        };
        assert_eq!(norms(&fused), 0, "{}: every norm is folded", model.name);
        let values = |network: &Network| network.predict(x.clone()).unwrap().to_vec::<f32>().unwrap();
        let (wanted, found) = (values(&plain), values(&fused));
        let largest = wanted.iter().fold(0.0f32, |most, y| most.max(y.abs()));
        let error = wanted.iter().zip(&found).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        // A few roundings for each layer, and Winograd's.
        assert!(error <= 1e-4 * largest, "{}: {error} of {largest}", model.name);
    }
}
