//! What an operation leaves behind when one of its inputs needs a gradient.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use smallvec::SmallVec;

use crate::meta::Shape;
use crate::op::Op;
use crate::tensor::Tensor;

/// Where a tensor came from: an output of a record.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) record: Arc<Record>,
    pub(crate) output: usize,
}

impl Origin {
    /// A new leaf: a tensor that the user wants gradients for.
    pub(crate) fn leaf() -> Origin {
        Origin {
            record: Arc::new(Record::new(None, SmallVec::new(), SmallVec::new(), Location::caller(), None)),
            output: 0,
        }
    }

    pub(crate) fn key(&self) -> (u64, usize) {
        (self.record.id, self.output)
    }
}

/// The values that the gradient rule reads, by the op's own masks; `None` where it reads nothing.
#[derive(Debug, Default)]
pub(crate) struct SavedValues {
    pub(crate) inputs: SmallVec<[Option<Tensor>; 4]>,
    pub(crate) outputs: SmallVec<[Option<Tensor>; 4]>,
}

/// One operation that was run, or a leaf (`op` is `None`).
///
/// Edges hold no values: only what the op's `saves` names is kept, and `backward` takes it away.
#[derive(Debug)]
pub(crate) struct Record {
    /// Rises with time, so a record's inputs have smaller numbers: descending numbers are a backward order.
    pub(crate) id: u64,
    pub(crate) op: Option<Arc<dyn Op>>,
    /// Where each input came from; `None` for an input that needs no gradient.
    pub(crate) edges: SmallVec<[Option<Origin>; 4]>,
    /// The shapes of the inputs.
    pub(crate) shapes: SmallVec<[Shape; 4]>,
    pub(crate) saved: Mutex<Option<SavedValues>>,
    pub(crate) retain: AtomicBool,
    pub(crate) at: &'static Location<'static>,
    pub(crate) layer: Option<Arc<str>>,
}

impl Record {
    pub(crate) fn new(
        op: Option<Arc<dyn Op>>,
        edges: SmallVec<[Option<Origin>; 4]>,
        shapes: SmallVec<[Shape; 4]>,
        at: &'static Location<'static>,
        layer: Option<Arc<str>>,
    ) -> Record {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Record {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            op,
            edges,
            shapes,
            saved: Mutex::new(None),
            retain: AtomicBool::new(false),
            at,
            layer,
        }
    }
}

impl Drop for Record {
    /// A long chain is taken apart in a loop: dropped by recursion, 100,000 records overflow the stack.
    fn drop(&mut self) {
        let mut stack: Vec<Origin> = self.edges.drain(..).flatten().collect();
        while let Some(origin) = stack.pop() {
            if let Some(mut record) = Arc::into_inner(origin.record) {
                stack.extend(record.edges.drain(..).flatten());
            }
        }
    }
}
