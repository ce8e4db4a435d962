//! The networks whose steps and predictions are timed, under the names of `bench/pytorch_bench.py`.

use rasgo::nn::Module;
use rasgo::optim::Optimizer;
use rasgo::train::Precision;
use rasgo::zoo::{Architecture, DEFAULT, Model, Network, named};
use rasgo::{Result, Tensor};

/// A row's name, the model of the zoo, and the images of one step.
const TIMED: [(&str, &str, usize); 7] = [
    ("rasgo-small 1x28x28 b128", DEFAULT, 128),
    ("lecture 1x28x28 b128", "lecture", 128),
    ("lenet5 1x28x28 b128", "lenet5", 128),
    ("resnet18 3x32x32 b64", "resnet18-cifar", 64),
    ("resnet18 3x224x224 b16", "resnet18", 16),
    ("mobilenet_v2 3x224x224 b16", "mobilenet_v2", 16),
    ("alexnet 3x224x224 b32", "alexnet", 32),
];

/// A network and how it is timed.
pub(super) struct Timed {
    pub(super) name: String,
    pub(super) model: &'static Model,
    pub(super) batch: usize,
}

impl Timed {
    /// Those that are timed, or that `only` names.
    pub(super) fn chosen(only: Option<&str>) -> Result<Vec<Timed>> {
        let timed = |(name, model, batch): (&str, &str, usize)| {
            Ok(Timed { name: name.to_string(), model: named(model)?, batch })
        };
        let all = TIMED.into_iter().map(timed).collect::<Result<Vec<Timed>>>()?;
        super::measure::chosen(all, only, |timed| &timed.name, |timed| timed.model.name)
    }

    /// Any model of the zoo; one that is not timed has fewer images in a step where they are large.
    pub(super) fn of(model: &str) -> Result<Timed> {
        let model = named(model)?;
        if let Some((name, _, batch)) = TIMED.into_iter().find(|timed| timed.1 == model.name) {
            return Ok(Timed { name: name.to_string(), model, batch });
        }
        let batch = if model.input.iter().product::<usize>() > 10_000 { 32 } else { 128 };
        let input: Vec<String> = model.input.iter().map(usize::to_string).collect();
        Ok(Timed { name: format!("{} {} b{batch}", model.name, input.join("x")), model, batch })
    }
}

/// So many random images; their layout is changed once and before the clock runs, as the peer's benchmark does.
pub(super) fn images(architecture: &Architecture, batch: usize) -> Tensor {
    Tensor::randn([&[batch], &architecture.input[..]].concat()).to_channels_last()
}

/// A network with all that its steps need.
pub(super) struct Training {
    pub(super) network: Network,
    precision: Precision,
    optimizer: Optimizer,
    x: Tensor,
    target: Tensor,
}

impl Training {
    pub(super) fn new(architecture: &Architecture, batch: usize, precision: Precision) -> Result<Training> {
        let network = architecture.build()?;
        let target = Tensor::randint(0, architecture.classes.unwrap_or(10) as i64, [batch])?;
        let x = images(architecture, batch);
        // What it was made of is no part of training.
        rasgo::trim_memory();
        Ok(Training { network, precision, optimizer: Optimizer::sgd(0.01).momentum(0.9)?, x, target })
    }

    pub(super) fn step(&mut self) -> Result<()> {
        let output = self.precision.run(self.x.clone(), |x| self.network.forward(x))?;
        let loss = output.cross_entropy(&self.target, Default::default())?;
        self.optimizer.step(&mut self.network, loss.backward()?)
    }
}
