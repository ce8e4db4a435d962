//! The table of the operations that `rasgo op` runs: for each its formula, tensors and attributes under PyTorch's
//! names, and the call of the library.

mod activation;
mod algebra;
mod attribute;
mod call;
mod conv;
mod linear;
mod loss;
mod norm;
mod pool;
mod resize;
mod unfold;

pub(crate) use attribute::{Attribute, Given};
pub(crate) use call::Call;

use rasgo::{Result, Tensor};

/// What an operation gives, by name.
pub(crate) type Outputs = Vec<(&'static str, Tensor)>;

/// One operation.
pub(crate) struct Operation {
    /// PyTorch's functional name.
    pub(crate) name: &'static str,
    /// What is computed.
    pub(crate) formula: &'static str,
    /// The shapes of tensors in and out.
    pub(crate) shapes: &'static str,
    /// The tensors that it reads, in the order of PyTorch's arguments; `bias?` may be missing, `tensors*` are
    /// `tensors.0`, `tensors.1`, ….
    pub(crate) inputs: &'static [&'static str],
    /// Its attributes.
    pub(crate) attributes: Vec<Attribute>,
    /// The call.
    pub(crate) run: fn(&Call) -> Result<Outputs>,
}

impl Operation {
    /// Whether a tensor of that name is read.
    pub(crate) fn reads(&self, tensor: &str) -> bool {
        self.inputs.iter().any(|input| match input.strip_suffix('*') {
            Some(list) => {
                let number = tensor.strip_prefix(list).and_then(|rest| rest.strip_prefix('.'));
                number.is_some_and(|number| number.parse::<usize>().is_ok())
            }
            None => input.trim_end_matches('?') == tensor,
        })
    }
}

/// Every operation, sorted by name.
pub(crate) fn all() -> Vec<Operation> {
    let families = [
        activation::operations(),
        conv::operations(),
        linear::operations(),
        loss::operations(),
        pool::operations(),
        unfold::operations(),
        resize::operations(),
        algebra::operations(),
        norm::operations(),
    ];
    let mut all: Vec<Operation> = families.into_iter().flatten().collect();
    all.sort_by_key(|operation| operation.name);
    all
}

/// What an operation with one result gives.
fn output(tensor: Tensor) -> Result<Outputs> {
    Ok(vec![("output", tensor)])
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn every_operation_is_named_once_and_says_what_it_does() {
        let all = all();
        assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name), "a name stands twice");
        for operation in all {
            assert!(!operation.formula.is_empty() && !operation.shapes.is_empty(), "{}", operation.name);
        }
    }
}
