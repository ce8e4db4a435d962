use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use rasgo::formats::{Disk, safetensors};
use rasgo::{Error, Result, Tensor};

use crate::operations::{Call, Given, Operation, all};
use crate::terminal::{print, table};

/// Run one operation, and its gradients, on the tensors of a file.
///
/// IN names tensors as PyTorch's functional form names its arguments (input, weight, bias, …). Where it also holds
/// grad_output, OUT also holds grad_input, grad_weight, ….
#[derive(Debug, Args)]
#[command(
    override_usage = "rasgo op NAME IN.safetensors [--attribute value …] OUT.safetensors\n       rasgo op --list\n       rasgo op NAME --help",
    disable_help_flag = true
)]
pub(crate) struct Op {
    /// Name all operations
    #[arg(long)]
    list: bool,
    /// Show this, or the formula, shapes and attributes of the operation that is named
    #[arg(long, short)]
    help: bool,
    /// The operation, by PyTorch's functional name
    name: Option<String>,
    /// The file to read, attributes under PyTorch's keywords, and the file to write
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "IN ATTRIBUTES OUT")]
    rest: Vec<String>,
}

impl Op {
    pub(crate) fn run(self, cli: &mut clap::Command) -> Result<()> {
        if self.list {
            return list();
        }
        let Some(name) = &self.name else {
            let command = cli.find_subcommand_mut("op").expect("this command is known");
            return print(command.render_long_help().to_string().trim_end());
        };
        let operations = all();
        let operation = find(&operations, name)?;
        if self.help || self.rest.iter().any(|argument| argument == "--help" || argument == "-h") {
            return help(operation);
        }
        let given = Given::parse(operation, &self.rest)?;
        match &given.files[..] {
            [input, output] => run(operation, input, output, given.values),
            files => {
                let text = match files.len() {
                    1 => "1 file is named".to_string(),
                    count => format!("{count} files are named"),
                };
                let error = Error::argument(text).op(operation.name);
                Err(match given.stray {
                    Some(flag) => error.hint(format!("is {flag} meant? A flag has its value after =")),
                    None => error.hint(format!(
                        "rasgo op {name} IN.safetensors [--attribute value …] OUT.safetensors"
                    )),
                })
            }
        }
    }
}

fn find<'a>(operations: &'a [Operation], name: &str) -> Result<&'a Operation> {
    operations.iter().find(|operation| operation.name == name).ok_or_else(|| {
        let names: Vec<&str> = operations.iter().map(|operation| operation.name).collect();
        let error = Error::argument(format!("there is no operation {name:?}"));
        match rasgo::nearest(name, names) {
            Some(near) => error.hint(format!("did you mean {near}? rasgo op --list names all")),
            None => error.hint("rasgo op --list names all"),
        }
    })
}

fn list() -> Result<()> {
    let rows: Vec<Vec<String>> = all()
        .into_iter()
        .map(|operation| vec![operation.name.to_string(), operation.formula.to_string()])
        .collect();
    print(&table(&rows))
}

fn help(operation: &Operation) -> Result<()> {
    print(&format!(
        "{}\n\n  {}\n\ntensors: {}",
        operation.name,
        operation.formula,
        operation.inputs.join(" ")
    ))?;
    print(&format!("shapes:  {}", operation.shapes))?;
    if !operation.attributes.is_empty() {
        let rows: Vec<Vec<String>> = operation
            .attributes
            .iter()
            .map(|attribute| vec![format!("  {}", attribute.option()), attribute.default.to_string()])
            .collect();
        print(&format!("\nattributes, and their defaults:\n{}", table(&rows)))?;
    }
    print(&format!(
        "\nrasgo op {} IN.safetensors [--attribute value …] OUT.safetensors\nA ? may be missing, a * is a list (NAME.0, NAME.1, …). With grad_output in IN, OUT has the gradients.",
        operation.name
    ))
}

fn run(
    operation: &Operation,
    input: &str,
    output: &str,
    attributes: BTreeMap<&'static str, String>,
) -> Result<()> {
    let mut tensors: BTreeMap<String, Tensor> = safetensors::load(input)?.tensors.into_iter().collect();
    let grad_output = tensors.remove("grad_output");
    if let Some(name) = tensors.keys().find(|name| !operation.reads(name)) {
        return Err(Error::argument(format!("the tensor {name:?} is not one of its inputs"))
            .op(operation.name)
            .file(input)
            .hint(format!("it reads {}", operation.inputs.join(" "))));
    }
    let results = computed(operation, tensors, attributes, grad_output)
        // An operation may be made of others; the one that was called is named.
        .map_err(|error| error.renamed(operation.name))?;
    safetensors::save(&Disk::default(), Path::new(output), &results, &BTreeMap::new())
}

/// The outputs of an operation and, where `grad_output` is given, its gradients.
fn computed(
    operation: &Operation,
    tensors: BTreeMap<String, Tensor>,
    attributes: BTreeMap<&'static str, String>,
    grad_output: Option<Tensor>,
) -> Result<Vec<(String, Tensor)>> {
    let call = Call::new(operation, tensors, attributes, grad_output.is_some());
    let outputs = call.shaped((operation.run)(&call)?)?;
    let mut results: Vec<(String, Tensor)> =
        outputs.iter().map(|(name, tensor)| (name.to_string(), tensor.detach())).collect();
    if let Some(grad_output) = grad_output {
        let (_, y) =
            outputs.iter().find(|(name, _)| *name == "output").expect("every operation has an output");
        if !y.needs_grad() {
            return Err(
                Error::argument("grad_output is given, but no input has a gradient").op(operation.name)
            );
        }
        if (grad_output.shape(), grad_output.dtype()) != (y.shape(), y.dtype()) {
            let shown = |tensor: &Tensor| format!("{} of shape {}", tensor.dtype(), tensor.shape());
            let text = format!("grad_output is {}, and the output {}", shown(&grad_output), shown(y));
            return Err(Error::shape(text).op(operation.name).hint("it has the output's shape and dtype"));
        }
        let grads = y.backward_with(grad_output)?;
        for (name, leaf) in call.leaves() {
            // An input that the output does not depend on has a gradient of zeros.
            let grad = match grads.get(&leaf) {
                Some(grad) => grad.clone(),
                None => Tensor::zeros(leaf.shape(), leaf.dtype())?,
            };
            results.push((format!("grad_{name}"), grad));
        }
    }
    Ok(results)
}
