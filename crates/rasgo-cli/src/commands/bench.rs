use std::hint::black_box;
use std::time::Instant;

use clap::{Args, Subcommand};
use rasgo::nn::Module;
use rasgo::optim::Optimizer;
use rasgo::zoo::{Architecture, DEFAULT, Model, Network, Summary, named, summarize};
use rasgo::{Error, Isa, Result, Tensor, no_grad, settings};
use serde_json::{Value, json};

use crate::machine::{ResidentMemory, processor};
use crate::numbers::above_zero;
use crate::terminal::{note, print, table};

/// Measure this machine, and the speed and memory of training on it.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure the arithmetic and memory speed of the machine, and a large matrix product
    Peak {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Time whole training steps: forward, loss, backward, SGD with momentum
    Steps {
        /// The model, as "lenet5" or the whole name of its row; all four by default
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// How long to repeat the step of one model: 5 to 200 times, of which the median counts
        #[arg(long, value_name = "S", default_value_t = 1.0, allow_negative_numbers = true, value_parser = above_zero)]
        seconds: f64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Measure the memory of three training steps: how far the peak rises above what the process held before it
    /// made the model, after two steps of a tiny one
    Memory {
        /// A model of the zoo
        #[arg(long, value_name = "NAME")]
        model: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        match self.what {
            What::Peak { json } => peak(json),
            What::Steps { only, seconds, json } => steps(only.as_deref(), seconds, json),
            What::Memory { model, json } => memory(&model, json),
        }
    }
}

/// The models whose steps are timed.
const TIMED: [&str; 4] = [DEFAULT, "lecture", "lenet5", "alexnet"];

/// Images of one step: fewer where they are large.
fn batch_of(model: &Model) -> usize {
    if model.input.iter().product::<usize>() > 10_000 { 32 } else { 128 }
}

/// The name of a model's row, the same as in `bench/pytorch_bench.py`.
fn row_name(model: &Model) -> String {
    let input: Vec<String> = model.input.iter().map(usize::to_string).collect();
    format!("{} {} b{}", model.name, input.join("x"), batch_of(model))
}

/// A network with all that its steps need.
struct Training {
    network: Network,
    optimizer: Optimizer,
    x: Tensor,
    target: Tensor,
}

impl Training {
    fn new(architecture: &Architecture, batch: usize) -> Result<Training> {
        let network = architecture.build()?;
        let shape: Vec<usize> = [batch].into_iter().chain(architecture.input.iter().copied()).collect();
        let target = Tensor::randint(0, architecture.classes.unwrap_or(10) as i64, [batch])?;
        // The layout is changed once and before the clock runs, as the peer's benchmark does.
        let x = Tensor::randn(shape).to_channels_last();
        // What it was made of is no part of training.
        rasgo::trim_memory();
        Ok(Training { network, optimizer: Optimizer::sgd(0.01).momentum(0.9)?, x, target })
    }

    fn step(&mut self) -> Result<()> {
        let output = self.network.forward(self.x.clone())?;
        let loss = output.cross_entropy(&self.target, Default::default())?;
        self.optimizer.step(&mut self.network, loss.backward()?)
    }
}

/// The median time of `body` in seconds, after two runs that warm it up and one that tells how often to repeat it.
fn median_time(seconds: f64, mut body: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut time = || {
        let start = Instant::now();
        body()?;
        Ok(start.elapsed().as_secs_f64())
    };
    time()?;
    time()?;
    let repeats = ((seconds / time()?.max(1e-6)) as usize).clamp(5, 200);
    let mut times = (0..repeats).map(|_| time()).collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok((times[(repeats - 1) / 2] + times[repeats / 2]) / 2.0)
}

fn measured_peak() -> f64 {
    rasgo::peak::f32_peak(0.3)
}

/// Where and how the rows were measured, and the rows.
fn report(peak: f64, rows: &[Value]) -> String {
    let (threads, cpu, isa) = (settings::threads(), processor(), Isa::current().name());
    json!({ "threads": threads, "cpu": cpu, "isa": isa, "peak": peak, "rows": rows }).to_string()
}

fn print_machine(peak: f64) -> Result<()> {
    let (threads, isa) = (settings::threads(), Isa::current().name());
    let unit = if threads == 1 { "thread" } else { "threads" };
    print(&format!("{}, {isa}, {threads} {unit}, measured f32 peak {peak:.0} GFLOP/s", processor()))
}

fn share(gflops: f64, peak: f64) -> String {
    format!("{:.0} %", 100.0 * gflops / peak)
}

fn peak(json: bool) -> Result<()> {
    const SIDE: usize = 1536;
    let peak = measured_peak();
    let bandwidth = rasgo::peak::read_bandwidth();
    let (a, b) = (Tensor::randn([SIDE, SIDE]), Tensor::randn([SIDE, SIDE]));
    let time = no_grad(|| median_time(0.6, || a.matmul(&b).map(|product| drop(black_box(product)))))?;
    let product = 2.0 * (SIDE as f64).powi(3) / time / 1e9;
    if json {
        let rows = [json!(["matmul", "float32", product]), json!(["read", "float32", bandwidth])];
        print(&report(peak, &rows))?;
        return Ok(());
    }
    print_machine(peak)?;
    print(&format!("reads of memory: {bandwidth:.1} GB/s"))?;
    print(&format!(
        "matrix product of {SIDE} cubed: {product:.0} GFLOP/s, {} of the peak",
        share(product, peak)
    ))?;
    Ok(())
}

/// Multiply-adds of one image's training step. Each layer has three products, but nobody asks for the gradient to the
/// input of the first.
fn step_multiply_adds(summary: &Summary) -> u64 {
    let first = summary.layers.iter().map(|layer| layer.multiply_adds).find(|&count| count > 0);
    3 * summary.multiply_adds - first.unwrap_or(0)
}

/// The models to time: all, or the one that `only` names.
fn chosen(only: Option<&str>) -> Result<Vec<&'static Model>> {
    let models = TIMED.into_iter().map(named).collect::<Result<Vec<_>>>()?;
    let Some(only) = only else { return Ok(models) };
    if let Some(model) = models.iter().find(|model| model.name == only || row_name(model) == only) {
        return Ok(vec![model]);
    }
    let rows: Vec<String> = models.iter().map(|model| row_name(model)).collect();
    let names = TIMED.into_iter().chain(rows.iter().map(String::as_str));
    let error = Error::argument(format!("--only {only:?} is no benchmark"));
    let list = format!("the benchmarks are {}", TIMED.join(", "));
    Err(match rasgo::nearest(only, names) {
        Some(near) => error.hint(format!("is {near:?} meant? {}", list.replacen("the", "The", 1))),
        None => error.hint(list),
    })
}

fn steps(only: Option<&str>, seconds: f64, json: bool) -> Result<()> {
    let models = chosen(only)?;
    let peak = measured_peak();
    let mut rows = Vec::new();
    let head = ["training step", "precision", "images/s", "ms a step", "GFLOP/s", "of the peak"];
    let mut lines = vec![head.map(String::from).to_vec()];
    for model in models {
        let name = row_name(model);
        note(&format!("{name} …"));
        let mut training = Training::new(&model.architecture(), batch_of(model))?;
        let time = median_time(seconds, || training.step())?;
        let images = batch_of(model) as f64;
        rows.push(json!(["step", name, "f32", images / time]));
        let counts = step_multiply_adds(&summarize(model.name, &training.network, model.input)?);
        let gflops = 2.0 * counts as f64 * images / time / 1e9;
        let numbers = [format!("{:.0}", images / time), format!("{:.2}", 1e3 * time), format!("{gflops:.0}")];
        lines.push(
            [name, "f32".to_string()].into_iter().chain(numbers).chain([share(gflops, peak)]).collect(),
        );
        drop(training);
        // The next model is measured as if it were the only one.
        rasgo::trim_memory();
    }
    if json {
        print(&report(peak, &rows))?;
    } else {
        print_machine(peak)?;
        print(&format!("\n{}", table(&lines)))?;
    }
    Ok(())
}

/// A network that touches the code and starts the threads that others use too; the peer's benchmark has the same.
const TINY: &str = r#"
    input = [1, 8, 8]
    classes = 10
    layer = [
        { type = "Conv2d", out_channels = 4, kernel_size = 3 }, { type = "BatchNorm2d" }, { type = "ReLU" },
        { type = "MaxPool2d", kernel_size = 2 }, { type = "Flatten" }, { type = "Linear" },
    ]
"#;

fn memory(model: &str, json: bool) -> Result<()> {
    let model = named(model)?;
    let mut tiny = Training::new(&Architecture::from_toml(TINY)?, 8)?;
    tiny.step()?;
    tiny.step()?;
    drop(tiny);
    rasgo::trim_memory();
    let resident = ResidentMemory::watch()?;
    let mut training = Training::new(&model.architecture(), batch_of(model))?;
    for _ in 0..3 {
        training.step()?;
    }
    let megabytes = resident.growth()? as f64 / 1e6;
    let name = row_name(model);
    // The peak comes after: it must not leave memory that the model then finds.
    let peak = measured_peak();
    if json {
        print(&report(peak, &[json!(["memory", name, "f32", megabytes])]))?;
    } else {
        print_machine(peak)?;
        print(&format!("{name}: three training steps take {megabytes:.1} MB"))?;
    }
    Ok(())
}
