use std::path::Path;

use clap::Args;
use rasgo::train::SavedModel;
use rasgo::zoo::{Architecture, default_for, named, summarize};
use rasgo::{Error, Result};

use crate::terminal::{print, table, whole};

/// A row for each layer: output shape, parameters, multiply-adds, receptive field, coverage.
///
/// The receptive field is given with its effective stride and padding: pixels from one output's field to the next one's, and
/// how far the first begins before the image. Coverage is the share of the input that at least one output of the layer depends
/// on; what strides and paddings drop is named below the table.
#[derive(Debug, Args)]
pub(crate) struct Summary {
    /// A model of the zoo, a model file, a run folder, or a model.safetensors
    model: String,
    /// The shape of one input, as 1x28x28
    #[arg(long, value_name = "CxHxW, CxL or CxDxHxW")]
    input: Option<String>,
    /// The number of classes
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// The batch size for the memory line
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print the model as a model file, to be changed and trained: rasgo summary lenet5 --toml > my.toml
    #[arg(long, conflicts_with_all = ["json", "batch_size"])]
    toml: bool,
}

/// The layers of whatever the name is of; a trained model has its own input and classes.
fn architecture(model: &str) -> Result<Architecture> {
    let of_zoo = named(model).map(|model| model.architecture());
    if of_zoo.is_ok() || !(Path::new(model).is_dir() || model.ends_with(".safetensors")) {
        return if model.ends_with(".toml") { Architecture::read(model) } else { of_zoo };
    }
    let trained = SavedModel::load(model)?;
    Ok(trained.network.architecture().clone())
}

fn sizes(text: &str) -> Result<Vec<usize>> {
    let sizes: Option<Vec<usize>> = text.split(['x', 'X']).map(|part| part.trim().parse().ok()).collect();
    sizes.filter(|sizes| (2..=4).contains(&sizes.len()) && !sizes.contains(&0)).ok_or_else(|| {
        Error::argument(format!("--input {text:?}")).hint("give channels and sizes, as 1x28x28 or 3x224x224")
    })
}

fn shown(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// Numbers that some axes may not have: then there is nothing to show.
fn shown_where_known<T: Copy + ToString>(numbers: &[Option<T>]) -> String {
    let known: Option<Vec<String>> = numbers.iter().map(|number| Some((*number)?.to_string())).collect();
    known.map_or("-".to_string(), |known| known.join("x"))
}

/// Bytes in the unit that leaves a number below 1024.
fn memory(bytes: u64) -> String {
    let mib = bytes as f64 / (1 << 20) as f64;
    match mib {
        ..1024.0 => format!("{mib:.1} MiB"),
        ..1_048_576.0 => format!("{:.1} GiB", mib / 1024.0),
        _ => format!("{:.1} TiB", mib / 1_048_576.0),
    }
}

/// What the model sees of its input, and where layers begin to miss something.
fn coverage(summary: &rasgo::zoo::Summary) -> String {
    let mut text = format!("coverage: {} of the input", summary.seen.share());
    let mut before = String::new();
    for row in &summary.layers {
        let unseen = row.seen.unseen_text();
        if unseen != before {
            let unseen = if unseen.is_empty() { "nothing" } else { &unseen };
            text.push_str(&format!("\n  from {} on, no output sees: {unseen}", row.path));
        }
        before = row.seen.unseen_text();
    }
    text
}

impl Summary {
    pub(crate) fn run(self) -> Result<()> {
        let mut architecture = architecture(&self.model)?;
        let input = self.input.as_deref().map_or(Ok(architecture.input.clone()), sizes)?;
        let classes = self.classes.or(architecture.classes);
        let network = architecture.build_for(&input, classes.unwrap_or(10)).map_err(|error| {
            match input.len() == architecture.input.len() {
                true => error,
                false => error.hint(format!("{} takes such an input", default_for(&input))),
            }
        })?;
        architecture = Architecture { classes, ..network.architecture().clone() };
        if self.toml {
            return print(architecture.to_toml().trim_end());
        }
        let summary = summarize(&self.model, &network, &architecture.input)?;
        if self.json {
            print(&serde_json::to_string(&summary).expect("a summary has a text"))?;
            return Ok(());
        }
        let head = [
            "layer",
            "type",
            "output",
            "parameters",
            "multiply-adds",
            "receptive field",
            "stride",
            "padding",
            "coverage",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        for row in &summary.layers {
            rows.push(vec![
                row.path.clone(),
                row.kind.clone(),
                shown(&row.output),
                whole(row.parameters as u64),
                whole(row.multiply_adds),
                shown(&row.receptive_field),
                shown_where_known(&row.effective_stride),
                shown_where_known(&row.effective_padding),
                row.seen.share(),
            ]);
        }
        print(&table(&rows))?;
        let parameters = summary.parameters as u64;
        print(&format!(
            "\n{} parameters, {} multiply-adds an input",
            whole(parameters),
            whole(summary.multiply_adds)
        ))?;
        print(&coverage(&summary))?;
        let activations = summary.activation_bytes() as u64 * self.batch_size as u64;
        print(&format!(
            "memory at batch size {}: weights {}, all layers' outputs {}",
            self.batch_size,
            memory(4 * parameters),
            memory(activations)
        ))?;
        Ok(())
    }
}
