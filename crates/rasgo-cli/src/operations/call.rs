//! One call of an operation: its tensors and attributes by name.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use rasgo::{Error, Result, Tensor};

use super::{Operation, Outputs};

/// What an operation reads: tensors by name, attributes by PyTorch's keyword.
pub(crate) struct Call<'a> {
    operation: &'a Operation,
    tensors: BTreeMap<String, Tensor>,
    attributes: BTreeMap<&'static str, String>,
    wants_grad: bool,
    /// The leaves whose gradients are wanted.
    leaves: RefCell<Vec<(String, Tensor)>>,
    /// Whether the inputs came without the batch axis.
    unbatched: Cell<bool>,
}

impl<'a> Call<'a> {
    /// A call; with `wants_grad` the float tensors that it reads become leaves of the gradient.
    pub(crate) fn new(
        operation: &'a Operation,
        tensors: BTreeMap<String, Tensor>,
        attributes: BTreeMap<&'static str, String>,
        wants_grad: bool,
    ) -> Self {
        Call {
            operation,
            tensors,
            attributes,
            wants_grad,
            leaves: RefCell::default(),
            unbatched: Cell::new(false),
        }
    }

    /// The tensors whose gradients are wanted, after the call.
    pub(crate) fn leaves(self) -> Vec<(String, Tensor)> {
        self.leaves.into_inner()
    }

    /// The operation's name.
    pub(crate) fn name(&self) -> &'static str {
        self.operation.name
    }

    /// The spatial axes that the name ends with: 1, 2 or 3.
    pub(crate) fn dims(&self) -> usize {
        match self.name().as_bytes() {
            [.., dims @ b'1'..=b'3', b'd'] => usize::from(dims - b'0'),
            _ => unreachable!("only operations named 1d, 2d or 3d ask"),
        }
    }

    /// A tensor that must be there.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        self.optional(name)?.ok_or_else(|| self.missing(name))
    }

    /// A tensor that may be there.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<Tensor>> {
        debug_assert!(self.operation.reads(name), "{} does not declare {name}", self.name());
        Ok(self.tensors.get(name).map(|tensor| self.leaf(name, tensor)))
    }

    /// A tensor that has no gradient; it may be missing.
    pub(crate) fn constant(&self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.tensors.get(name).cloned())
    }

    /// `name.0`, `name.1`, …: at least one, and none left out.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Tensor>> {
        let numbered: Vec<String> = (0..).map(|i| format!("{name}.{i}")).take(self.tensors.len()).collect();
        let found: Vec<Tensor> = numbered
            .iter()
            .map_while(|name| self.tensors.get(name).map(|tensor| self.leaf(name, tensor)))
            .collect();
        let all = self.tensors.keys().filter(|key| key.starts_with(&format!("{name}."))).count();
        match found.len() == all && all > 0 {
            true => Ok(found),
            false => Err(self.missing(&format!("{name}.{}", found.len()))),
        }
    }

    /// As [`tensor`](Self::tensor), of (N, C) and as many spatial axes as the name says; without the batch axis, as PyTorch
    /// allows, it is a batch of one.
    pub(crate) fn spatial(&self, name: &str) -> Result<Tensor> {
        self.batched(name, ["(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)"][self.dims() - 1])
    }

    /// As [`tensor`](Self::tensor), of the axes of `shape`, which begins with N; N may be left out.
    pub(crate) fn batched(&self, name: &str, shape: &str) -> Result<Tensor> {
        let tensor = self.tensor(name)?;
        let (rank, wanted) = (tensor.shape().len(), shape.split(',').count());
        // What comes after the first input has a batch axis if that has one.
        let first = self.operation.inputs[0] == name;
        if rank + 1 == wanted && (first || self.unbatched.get()) {
            self.unbatched.set(true);
            return tensor.unsqueeze(0);
        }
        if rank != wanted || self.unbatched.get() {
            let text = format!("{name} {} has {rank} axes, not {wanted}", tensor.shape());
            let one = shape.replacen("N, ", "", 1);
            return Err(Error::shape(text).op(self.name()).hint(format!("give {shape}, or {one}")));
        }
        Ok(tensor)
    }

    /// The outputs as they are given out: without the batch axis that the inputs did not have.
    pub(crate) fn shaped(&self, outputs: Outputs) -> Result<Outputs> {
        if !self.unbatched.get() {
            return Ok(outputs);
        }
        let mut shaped = Outputs::new();
        for (name, tensor) in outputs {
            shaped.push((name, tensor.squeeze(&[0])?));
        }
        Ok(shaped)
    }

    fn leaf(&self, name: &str, tensor: &Tensor) -> Tensor {
        if !self.wants_grad || !tensor.dtype().is_float() {
            return tensor.clone();
        }
        let mut leaves = self.leaves.borrow_mut();
        if let Some((_, leaf)) = leaves.iter().find(|(known, _)| known == name) {
            return leaf.clone();
        }
        let leaf = tensor.detach().requires_grad();
        leaves.push((name.to_string(), leaf.clone()));
        leaf
    }

    fn missing(&self, name: &str) -> Error {
        let there: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        Error::argument(format!("the tensor {name:?} is missing; there are {}", there.join(", ")))
            .op(self.name())
    }

    /// Whether the attribute is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.text_of(name).is_some()
    }

    fn text_of(&self, name: &str) -> Option<&str> {
        let declared = self.operation.attributes.iter().any(|attribute| attribute.name == name);
        debug_assert!(declared, "{} does not declare the attribute {name}", self.name());
        self.attributes.get(name).map(String::as_str)
    }

    fn refuse(&self, name: &str, text: &str, wanted: &str) -> Error {
        Error::argument(format!("--{} {text}: it must be {wanted}", name.replace('_', "-"))).op(self.name())
    }

    /// The error of an attribute that must be given.
    pub(crate) fn needs(&self, name: &str) -> Error {
        Error::argument(format!("--{} is missing", name.replace('_', "-"))).op(self.name())
    }

    /// A flag.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.text_of(name) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(self.refuse(name, text, "true or false")),
        }
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str, default: i64) -> Result<i64> {
        let Some(text) = self.text_of(name) else { return Ok(default) };
        text.trim().parse().map_err(|_| self.refuse(name, text, "a whole number"))
    }

    /// A whole number of 0 or more.
    pub(crate) fn size(&self, name: &str, default: usize) -> Result<usize> {
        let Some(text) = self.text_of(name) else { return Ok(default) };
        text.trim().parse().map_err(|_| self.refuse(name, text, "a whole number of 0 or more"))
    }

    /// A number.
    pub(crate) fn number(&self, name: &str, default: f64) -> Result<f64> {
        let Some(text) = self.text_of(name) else { return Ok(default) };
        text.trim().parse().map_err(|_| self.refuse(name, text, "a number"))
    }

    /// Numbers.
    pub(crate) fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>> {
        self.parsed(name, "numbers with commas between", |part| part.parse().ok())
    }

    /// Whole numbers.
    pub(crate) fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        self.parsed(name, "whole numbers with commas between", |part| part.parse().ok())
    }

    /// Whole numbers of 0 or more, or `none`.
    pub(crate) fn sizes_or_none(&self, name: &str) -> Result<Option<Vec<Option<usize>>>> {
        self.parsed(name, "whole numbers of 0 or more, or none, with commas between", |part| match part {
            "none" | "None" => Some(None),
            number => number.parse().ok().map(Some),
        })
    }

    /// Whole numbers of 0 or more.
    pub(crate) fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>> {
        self.parsed(name, "whole numbers of 0 or more with commas between", |part| part.parse().ok())
    }

    fn parsed<T>(
        &self,
        name: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(text) = self.text_of(name) else { return Ok(None) };
        if text.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let values: Option<Vec<T>> = text.split(',').map(|part| parse(part.trim())).collect();
        values.map(Some).ok_or_else(|| self.refuse(name, text, wanted))
    }

    /// One size for all spatial axes or one for each, at the end of three axes; the others are `fill`.
    pub(crate) fn axes(&self, name: &str, fill: usize) -> Result<Option<[usize; 3]>> {
        let Some(values) = self.sizes(name)? else { return Ok(None) };
        let dims = self.dims();
        let mut axes = [fill; 3];
        match values.len() {
            1 => axes[3 - dims..].fill(values[0]),
            n if n == dims => axes[3 - dims..].copy_from_slice(&values),
            n => return Err(self.wrong_count(name, n)),
        }
        Ok(Some(axes))
    }

    /// The error of an attribute whose values are neither one nor one for each axis.
    pub(crate) fn wrong_count(&self, name: &str, count: usize) -> Error {
        Error::argument(format!("--{} has {count} values", name.replace('_', "-")))
            .op(self.name())
            .hint("give one, or one for each axis")
    }

    /// A word.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.text_of(name)
    }

    /// One of the words.
    pub(crate) fn choice<'w>(&self, name: &str, words: &[&'w str], default: &'w str) -> Result<&'w str> {
        let Some(text) = self.text_of(name) else { return Ok(default) };
        words
            .iter()
            .find(|word| **word == text)
            .copied()
            .ok_or_else(|| self.refuse(name, text, &format!("one of {}", words.join(", "))))
    }
}
