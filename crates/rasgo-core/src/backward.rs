//! Reverse-mode gradients over the records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, ErrorKind, Result};
use crate::op::{Grads, run_grad};
use crate::record::{Origin, Record};
use crate::tensor::Tensor;

/// The gradients of one `backward`, by tensor.
#[derive(Debug, Default)]
pub struct Gradients {
    by_origin: HashMap<(u64, usize), Tensor>,
}

impl Gradients {
    /// The gradient for a tensor: a leaf, or one that [`Tensor::retain_grad`] was called on.
    /// `None` if the loss does not depend on it.
    pub fn get(&self, tensor: &Tensor) -> Option<&Tensor> {
        self.by_origin.get(&tensor.origin.as_ref()?.key())
    }

    /// Takes the gradient out.
    pub fn remove(&mut self, tensor: &Tensor) -> Option<Tensor> {
        self.by_origin.remove(&tensor.origin.as_ref()?.key())
    }

    /// Puts a gradient in the place of the tensor's own.
    pub fn insert(&mut self, tensor: &Tensor, grad: Tensor) {
        if let Some(origin) = &tensor.origin {
            self.by_origin.insert(origin.key(), grad);
        }
    }

    /// Adds the gradients of another backward, for accumulation over several batches.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        // By key, so that errors and sums do not depend on the order of a hash map.
        let sorted: BTreeMap<_, _> = other.by_origin.into_iter().collect();
        for (key, grad) in sorted {
            let sum = match self.by_origin.remove(&key) {
                Some(before) => before.accumulate(grad)?,
                None => grad,
            };
            self.by_origin.insert(key, sum);
        }
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_origin.len()
    }
}

impl Tensor {
    /// Computes the gradients of this scalar for every leaf that it depends on.
    ///
    /// The values that the records kept are freed on the way, so a second `backward` through the same records is
    /// an error.
    ///
    /// ```
    /// use rasgo_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?.requires_grad();
    /// let loss = (&x * &x)?.sum()?;
    /// let grads = loss.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0]);
    /// # Ok::<(), rasgo_core::Error>(())
    /// ```
    #[track_caller]
    pub fn backward(&self) -> Result<Gradients> {
        let seed = self.scalar_seed()?;
        run(self, seed, &[], false)
    }

    /// As [`backward`](Self::backward) for a tensor of any shape, given the gradient of the loss with respect to it.
    #[track_caller]
    pub fn backward_with(&self, grad: Tensor) -> Result<Gradients> {
        if grad.shape() != self.shape() || grad.dtype() != self.dtype() {
            return Err(Error::shape(format!(
                "a gradient of shape {} and dtype {} for a tensor of shape {} and dtype {}",
                grad.shape(),
                grad.dtype(),
                self.shape(),
                self.dtype()
            ))
            .op("backward")
            .at(std::panic::Location::caller()));
        }
        run(self, grad, &[], false)
    }

    #[track_caller]
    fn scalar_seed(&self) -> Result<Tensor> {
        if self.shape().elements() != 1 {
            return Err(Error::shape(format!(
                "the gradient of a tensor of shape {}, not of one number",
                self.shape()
            ))
            .op("backward")
            .hint("reduce it with .mean() or .sum(), or give the gradient with backward_with")
            .at(std::panic::Location::caller()));
        }
        Tensor::full(self.shape().clone(), 1.0, self.dtype())
    }
}

/// The gradients of the scalar `y` for each of `wanted` (any tensors, leaves or not).
///
/// Unlike [`Tensor::backward`] it keeps the saved values. With `create_graph` the gradients leave records of their
/// own, so that they can be differentiated again.
#[track_caller]
pub fn grad(y: &Tensor, wanted: &[&Tensor], create_graph: bool) -> Result<Vec<Tensor>> {
    let seed = y.scalar_seed()?;
    let at = std::panic::Location::caller();
    for tensor in wanted {
        if tensor.origin.is_none() {
            return Err(Error::new(ErrorKind::State, "a gradient for a tensor that needs none")
                .op("grad")
                .hint("call .requires_grad() on it before it is used")
                .at(at));
        }
    }
    let found = run(y, seed, wanted, create_graph)?;
    let mut grads = Vec::with_capacity(wanted.len());
    for tensor in wanted {
        let key = tensor.origin.as_ref().expect("checked above").key();
        grads.push(match found.by_origin.get(&key) {
            Some(grad) => grad.clone(),
            None => Tensor::zeros(tensor.shape().clone(), tensor.dtype())?,
        });
    }
    Ok(grads)
}

/// Walks the records from the youngest to the oldest. With `wanted`, saved values are kept.
#[track_caller]
fn run(root: &Tensor, seed: Tensor, wanted: &[&Tensor], create_graph: bool) -> Result<Gradients> {
    let keep = !wanted.is_empty();
    let Some(origin) = &root.origin else {
        return Err(Error::new(ErrorKind::State, "the tensor depends on nothing that needs a gradient")
            .op("backward")
            .hint("call .requires_grad() on an input, and do not run the forward inside no_grad")
            .at(std::panic::Location::caller()));
    };
    if root.is_shape_only() {
        return Err(Error::new(ErrorKind::State, "a tensor without values has no gradient")
            .op("backward")
            .hint("run the forward on a tensor with values")
            .at(std::panic::Location::caller()));
    }
    let wanted: std::collections::HashSet<(u64, usize)> =
        wanted.iter().filter_map(|tensor| Some(tensor.origin.as_ref()?.key())).collect();
    let mut result = Gradients::default();
    let mut queue: BTreeMap<u64, (Arc<Record>, Grads)> = BTreeMap::new();
    enqueue(&mut queue, origin, seed)?;
    while let Some((_, (record, dy))) = queue.pop_last() {
        let retain = record.retain.load(Ordering::Relaxed);
        for (output, grad) in dy.iter().enumerate() {
            let key = (record.id, output);
            if let Some(grad) = grad
                && (record.op.is_none() && !keep || retain || wanted.contains(&key))
            {
                result.by_origin.insert(key, grad.clone());
            }
        }
        if record.op.is_none() {
            continue;
        }
        let grads = run_grad(&record, dy, create_graph, keep)?;
        for (edge, grad) in record.edges.iter().zip(grads) {
            if let (Some(edge), Some(grad)) = (edge, grad) {
                enqueue(&mut queue, edge, grad)?;
            }
        }
    }
    Ok(result)
}

/// Adds a gradient to what waits for a record. The first is moved in, not added to zeros.
fn enqueue(queue: &mut BTreeMap<u64, (Arc<Record>, Grads)>, origin: &Origin, grad: Tensor) -> Result<()> {
    let (_, waiting) =
        queue.entry(origin.record.id).or_insert_with(|| (Arc::clone(&origin.record), Grads::new()));
    if waiting.len() <= origin.output {
        waiting.resize(origin.output + 1, None);
    }
    let slot = &mut waiting[origin.output];
    *slot = Some(match slot.take() {
        Some(before) => before.accumulate(grad)?,
        None => grad,
    });
    Ok(())
}
