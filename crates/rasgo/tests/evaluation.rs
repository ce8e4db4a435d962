//! Evaluation keeps weights as its kernels want them; nobody can tell but by the time it takes.

use rasgo::nn::{Module, ModuleExt};
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
