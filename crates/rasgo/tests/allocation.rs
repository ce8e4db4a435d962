//! A step of the same shapes asks the system for no memory and copies nothing that it need not. The counters are the
//! process's, so this file has one test.

use rasgo::prelude::*;
use rasgo::{Counters, counters};

/// (model, batch, layout copies of a step). A copy of layout is needed where a map larger than 1x1 of more than one
/// channel is flattened, in forward and again for its gradient: PyTorch's order of features is the plain one. An input
/// of several channels that is plain costs one more; loaders deliver channels-last.
///
/// Flattening a map of 1x1 costs nothing. Photos are smaller here than the models are made for.
const MODELS: [(&str, usize, u64); 12] = [
    ("rasgo-small", 16, 0),
    ("rasgo-small-1d", 16, 0),
    ("rasgo-small-3d", 4, 0),
    ("mlp", 16, 0),
    ("lecture", 8, 0),
    ("lecun1990", 16, 2),
    ("lenet5", 16, 2),
    ("alexnet", 2, 2),
    ("vgg16", 2, 2),
    ("resnet18", 2, 0),
    ("resnet18-cifar", 2, 0),
    ("mobilenet_v2", 2, 0),
];

#[test]
fn from_the_second_step_nothing_is_allocated_or_copied() {
    assert!(
        zoo::models().iter().map(|model| model.name).eq(MODELS.map(|model| model.0)),
        "every model is listed"
    );
    let mut failures = Vec::new();
    for (name, batch, layout_copies) in MODELS {
        let architecture = zoo::named(name).unwrap().architecture();
        let classes = architecture.classes.expect("a zoo model has classes") as i64;
        let mut model = architecture.clone().build().unwrap();
        model.train();
        let mut optimizer = Optimizer::sgd(0.01).momentum(0.9).unwrap();
        let input: &[usize] = match architecture.input[..] {
            [3, 224, 224] => &[3, 64, 64],
            _ => &architecture.input,
        };
        let x = Tensor::rand([&[batch], input].concat()).to_channels_last();
        let target = Tensor::randint(0, classes, [batch]).unwrap();
        let mut step = || {
            let before = counters();
            let loss = model.forward(x.clone()).unwrap().cross_entropy(&target, Default::default()).unwrap();
            optimizer.step(&mut model, loss.backward().unwrap()).unwrap();
            let after = counters();
            Counters {
                pool_hits: after.pool_hits - before.pool_hits,
                pool_misses: after.pool_misses - before.pool_misses,
                copies: after.copies - before.copies,
                layout_copies: after.layout_copies - before.layout_copies,
            }
        };
        let steps: Vec<Counters> = (0..5).map(|_| step()).collect();
        for later in &steps[1..] {
            if (later.pool_misses, later.copies, later.layout_copies) != (0, 0, layout_copies) {
                failures.push(format!("{name}: {later:?}"));
            }
        }
        assert!(steps[0].pool_misses > 0, "the counters count");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
