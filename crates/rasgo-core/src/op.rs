//! The one mechanism: an operation is validated, run, and recorded if a gradient is wanted.

mod packed;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rasgo_kernels::Buffer;
use smallvec::SmallVec;

use crate::counters::{count_copy, count_layout_copy};
use crate::error::{Error, Result};
use crate::meta::{DType, Element, Layout, Meta, Shape};
use crate::ops::Cast;
use crate::reach::{self, Reaches};
use crate::record::{Origin, Record, SavedValues};
use crate::scope;
use crate::tensor::{Storage, Tensor, Value};

/// The metas of an op's outputs.
pub type Metas = SmallVec<[Meta; 4]>;
/// One gradient for each input, `None` where none is needed or none exists.
pub type Grads = SmallVec<[Option<Tensor>; 4]>;

/// The inputs of an op, or its outputs.
pub type Tensors = SmallVec<[Tensor; 4]>;

/// A set of inputs or outputs, by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    /// The positions that it has: an operation cannot have more inputs.
    pub const MOST: usize = u32::BITS as usize;

    /// The empty set.
    pub const NONE: Mask = Mask(0);

    /// A set of positions.
    pub const fn of(positions: &[usize]) -> Mask {
        let (mut bits, mut i) = (0, 0);
        while i < positions.len() {
            bits |= 1 << positions[i];
            i += 1;
        }
        Mask(bits)
    }

    /// Whether the position is in the set.
    pub const fn has(self, position: usize) -> bool {
        self.0 >> position & 1 == 1
    }
}

/// What the gradient rule of an op reads; everything else is dropped after `eval`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Saves {
    /// Inputs by position.
    pub inputs: Mask,
    /// Outputs by position.
    pub outputs: Mask,
}

/// The layout that an op's kernels read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutRule {
    /// Any, as long as all inputs of the first one's rank agree (on channels-last, if one is); the outputs are the same.
    Same,
    /// The inputs at these positions are channels-last; the others are plain.
    ChannelsLast(Mask),
    /// All inputs are plain.
    Plain,
    /// Each input as it is: the op looks for itself.
    AsIs,
}

/// What an op does with inputs of bfloat16. Nothing computes in it: what is read is widened to float32, and what is
/// stored is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bf16Rule {
    /// Inputs are widened before it, and its outputs rounded after it, if the first input of floats was bfloat16.
    Around,
    /// Inputs are widened before it, and its outputs stay float32: losses.
    Widened,
    /// Its kernels read and write bfloat16: the inputs at these positions are maps, the others (weights, statistics)
    /// float32. `infer` says which outputs are bfloat16. It holds where the first input is bfloat16.
    Inside(Mask),
    /// It only moves values, of any dtype.
    Moves,
}

/// An operation on tensors: the only place of its validation, arithmetic and gradient.
pub trait Op: Debug + Send + Sync + 'static {
    /// PyTorch's functional name.
    fn name(&self) -> &'static str;
    /// Checks the inputs and says what comes out. Nothing else validates.
    fn infer(&self, inputs: &[Meta]) -> Result<Metas>;
    /// The layout the kernels want.
    fn layout(&self) -> LayoutRule {
        LayoutRule::Same
    }
    /// How it computes with bfloat16.
    fn bf16(&self) -> Bf16Rule {
        Bf16Rule::Around
    }
    /// The input that may become output 0 in place, where nobody else holds it.
    fn in_place(&self) -> Option<usize> {
        None
    }
    /// For an op that only renames or cuts: where, in elements, output 0 begins in input 0, whose storage it then
    /// shares. `eval` is not called.
    fn view(&self, _inputs: &[Meta]) -> Option<usize> {
        None
    }
    /// Computes the outputs. It cannot fail after `infer`. Outputs hold garbage before.
    fn eval(&self, inputs: &[Input], outputs: &mut [Output]);
    /// What `grad` reads.
    fn saves(&self) -> Saves {
        Saves::default()
    }
    /// The gradients of the inputs that `needs` names, as calls of ops, so that gradients have gradients.
    fn grad(&self, saved: Saved, dy: Grads, needs: Mask) -> Result<Grads>;
    /// Which cells of input `which` a cell of the output reads, for each of that input's spatial axes: for coverage and
    /// receptive fields.
    fn reach(&self, which: usize, inputs: &[Shape], output: &Shape) -> Reaches {
        reach::by_shape(&inputs[which], output)
    }
    /// Multiply-adds, for reports.
    fn multiply_adds(&self, _inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        0
    }
}

/// An input of `eval`.
#[derive(Debug)]
pub struct Input {
    meta: Meta,
    storage: Option<Arc<Storage>>,
    offset: usize,
}

impl Input {
    /// Shape, dtype and layout.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Whether this input's values are in output 0, to be overwritten there.
    pub fn is_donated(&self) -> bool {
        self.storage.is_none()
    }

    /// The values, in the order of the layout.
    ///
    /// # Panics
    /// If the input was donated, or `T` is another dtype: mistakes of the op, not of its user.
    pub fn values<T: Element>(&self) -> &[T] {
        assert_eq!(self.meta.dtype, T::DTYPE, "an op reads its input as the dtype that infer saw");
        let storage = self.storage.as_ref().expect("a donated input is read from output 0");
        &storage.buffer.as_slice::<T>()[self.offset..self.offset + self.meta.shape.elements()]
    }
}

/// An output of `eval`.
#[derive(Debug)]
pub struct Output {
    meta: Meta,
    buffer: Buffer,
}

impl Output {
    /// Shape, dtype and layout.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The place for the values, in the order of the layout.
    ///
    /// # Panics
    /// If `T` is another dtype: a mistake of the op, not of its user.
    pub fn values<T: Element>(&mut self) -> &mut [T] {
        assert_eq!(self.meta.dtype, T::DTYPE, "an op writes its output as the dtype that infer gave");
        let elements = self.meta.shape.elements();
        &mut self.buffer.as_mut_slice::<T>()[..elements]
    }
}

/// What the record kept, for `grad`.
#[derive(Debug)]
pub struct Saved {
    values: SavedValues,
    shapes: SmallVec<[Shape; 4]>,
    op: &'static str,
}

impl Saved {
    /// Takes input `i`; its memory is freed as soon as the rule drops it.
    ///
    /// # Panics
    /// If `saves` does not name it: a mistake of the op.
    pub fn input(&mut self, i: usize) -> Tensor {
        let op = self.op;
        self.values.inputs[i].take().unwrap_or_else(|| panic!("{op} does not save its input {i}"))
    }

    /// How many inputs there were.
    pub fn inputs(&self) -> usize {
        self.shapes.len()
    }

    /// The shape of input `i`, which every record keeps.
    pub fn input_shape(&self, i: usize) -> Shape {
        self.shapes[i].clone()
    }

    /// Takes output `i`.
    ///
    /// # Panics
    /// If `saves` does not name it: a mistake of the op.
    pub fn output(&mut self, i: usize) -> Tensor {
        let op = self.op;
        self.values.outputs[i].take().unwrap_or_else(|| panic!("{op} does not save its output {i}"))
    }
}

/// What an observer sees.
#[derive(Clone, Debug)]
pub enum Event {
    /// An op was called.
    Op {
        /// Its name.
        name: &'static str,
        /// The path of the layer that called it.
        layer: Option<Arc<str>>,
        /// Its first output.
        output: Meta,
        /// Its multiply-adds.
        multiply_adds: u64,
    },
    /// A layer is done.
    Layer {
        /// The layer's path.
        path: Arc<str>,
        /// The layer's type.
        kind: &'static str,
        /// What came out.
        output: Tensor,
    },
}

type Observer = Rc<RefCell<dyn FnMut(Event)>>;

thread_local! {
    static GRAD: Cell<bool> = const { Cell::new(true) };
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Runs `body` without leaving records: for evaluation.
pub fn no_grad<R>(body: impl FnOnce() -> R) -> R {
    with_grad(false, body)
}

/// Whether operations leave records on this thread.
pub fn grad_enabled() -> bool {
    GRAD.get()
}

pub(crate) fn with_grad<R>(on: bool, body: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            GRAD.set(self.0);
        }
    }
    let _restore = Restore(GRAD.replace(on));
    body()
}

/// Runs `body` and collects what it calls on this thread, in order: ops, and layers as they end.
pub fn observe<R>(body: impl FnOnce() -> R) -> (R, Vec<Event>) {
    struct Restore(Option<Observer>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            OBSERVER.with(|slot| *slot.borrow_mut() = before);
        }
    }
    let events = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&events);
    let observer: Observer = Rc::new(RefCell::new(move |event| sink.borrow_mut().push(event)));
    let restore = Restore(OBSERVER.with(|slot| slot.borrow_mut().replace(observer)));
    let result = body();
    drop(restore);
    let events = events.take();
    (result, events)
}

/// Whether somebody observes this thread: then layers run one by one, not as composites.
pub fn is_observed() -> bool {
    OBSERVER.with(|slot| slot.borrow().is_some())
}

/// Tells the observer, if there is one.
pub fn notify(event: impl FnOnce() -> Event) {
    if let Some(observer) = OBSERVER.with(|slot| slot.borrow().clone()) {
        observer.borrow_mut()(event());
    }
}

/// Runs an op and returns its first output.
#[track_caller]
pub fn apply(op: impl Op, inputs: impl IntoIterator<Item = Tensor>) -> Result<Tensor> {
    let mut outputs = apply_all(op, inputs)?;
    Ok(outputs.swap_remove(0))
}

/// Runs an op and returns all of its outputs.
#[track_caller]
pub fn apply_all(op: impl Op, inputs: impl IntoIterator<Item = Tensor>) -> Result<Tensors> {
    let (inputs, at) = (inputs.into_iter().collect::<Tensors>(), Location::caller());
    match inputs.iter().any(|input| input.dtype() == DType::Bf16) {
        true => apply_to_bf16(op, inputs, at),
        false => apply_to(op, inputs, at),
    }
}

fn apply_to(op: impl Op, inputs: Tensors, at: &'static Location<'static>) -> Result<Tensors> {
    match run(&op, inputs, at)? {
        (values, None) => Ok(values),
        (values, Some(past)) => Ok(past.record(Arc::new(op), values, at)),
    }
}

/// As [`apply_to`] where an input is of bfloat16.
fn apply_to_bf16(op: impl Op, inputs: Tensors, at: &'static Location<'static>) -> Result<Tensors> {
    let convert = |tensor: Tensor, to: DType| match tensor.dtype() {
        DType::F32 | DType::Bf16 if tensor.dtype() != to => {
            let mut outputs = apply_to(Cast { from: tensor.dtype(), to }, Tensors::from_iter([tensor]), at)?;
            Ok(outputs.swap_remove(0))
        }
        _ => Ok(tensor),
    };
    let rule = op.bf16();
    let bf16_first = inputs.iter().map(Tensor::dtype).find(|dtype| dtype.is_float()) == Some(DType::Bf16);
    match rule {
        Bf16Rule::Moves => return apply_to(op, inputs, at),
        Bf16Rule::Inside(maps) if inputs[0].dtype() == DType::Bf16 => {
            let wanted = |position| if maps.has(position) { DType::Bf16 } else { DType::F32 };
            let inputs = inputs.into_iter().enumerate().map(|(i, input)| convert(input, wanted(i)));
            return apply_to(op, inputs.collect::<Result<_>>()?, at);
        }
        _ => {}
    }
    let wide = inputs.into_iter().map(|input| convert(input, DType::F32)).collect::<Result<_>>()?;
    let outputs = apply_to(op, wide, at)?;
    match rule {
        Bf16Rule::Widened => Ok(outputs),
        _ if !bf16_first => Ok(outputs),
        _ => outputs.into_iter().map(|output| convert(output, DType::Bf16)).collect(),
    }
}

/// What a record keeps of a run.
struct Past {
    edges: SmallVec<[Option<Origin>; 4]>,
    saved: SavedValues,
    shapes: SmallVec<[Shape; 4]>,
}

/// Runs an op; what came of it, and what a gradient needs if one may be asked for.
fn run(
    op: &dyn Op,
    mut inputs: Tensors,
    at: &'static Location<'static>,
) -> Result<(Tensors, Option<Box<Past>>)> {
    let fail = |error: Error| scope::annotate(error.op(op.name())).at(at);
    if inputs.len() > Mask::MOST {
        let text = format!("{} inputs, and an operation takes {} at most", inputs.len(), Mask::MOST);
        return Err(fail(Error::argument(text)));
    }
    let rule = op.layout();
    let shape_only = inputs.iter().any(Tensor::is_shape_only);
    // Where maps meet, the plain one is brought to the others' order: what comes next wants that too.
    let rank = inputs[0].shape().len();
    let mut peers = inputs.iter().filter(|input| input.shape().len() == rank);
    let common =
        if peers.any(|x| x.layout() == Layout::ChannelsLast) { Layout::ChannelsLast } else { Layout::Plain };
    for position in 0..inputs.len() {
        let wanted = match rule {
            LayoutRule::Same => common,
            LayoutRule::ChannelsLast(maps) if maps.has(position) => Layout::ChannelsLast,
            LayoutRule::ChannelsLast(_) | LayoutRule::Plain => Layout::Plain,
            LayoutRule::AsIs => continue,
        };
        let input = &inputs[position];
        let asked = rule != LayoutRule::Same || input.shape().len() == rank;
        if asked && input.layout() != wanted {
            let input = std::mem::replace(&mut inputs[position], Tensor::placeholder());
            inputs[position] = to_layout(input, wanted);
        }
    }
    let metas: Metas = inputs.iter().map(|tensor| tensor.meta().clone()).collect();
    let fits = |metas: &[Meta]| match metas.iter().find(|meta| meta.shape.checked_elements().is_none()) {
        Some(meta) => Err(Error::shape(format!("shape {} is too large for any memory", meta.shape))),
        None => Ok(()),
    };
    fits(&metas).map_err(fail)?;
    let mut outputs = op.infer(&metas).map_err(fail)?;
    fits(&outputs).map_err(fail)?;
    notify(|| Event::Op {
        name: op.name(),
        layer: scope::current(),
        output: outputs[0].clone(),
        multiply_adds: op.multiply_adds(&metas, &outputs),
    });
    let needs_grad = grad_enabled() && inputs.iter().any(Tensor::needs_grad);
    // Without values a record holds the way that they would take, and nothing for a gradient.
    let saves = if needs_grad && !shape_only { op.saves() } else { Saves::default() };
    let mut past = needs_grad.then(|| {
        Box::new(Past {
            edges: inputs.iter().map(|tensor| tensor.origin.clone()).collect(),
            saved: SavedValues {
                inputs: inputs
                    .iter()
                    .enumerate()
                    .map(|(i, x)| saves.inputs.has(i).then(|| x.detach()))
                    .collect(),
                ..SavedValues::default()
            },
            shapes: metas.iter().map(|meta| meta.shape.clone()).collect(),
        })
    });
    let values: Tensors = match op.view(&metas) {
        _ if shape_only => outputs.into_iter().map(Tensor::shape_only_from).collect(),
        Some(start) => SmallVec::from_iter([inputs.swap_remove(0).window(outputs[0].clone(), start)]),
        None => compute(op, &mut inputs, &mut outputs).map_err(fail)?,
    };
    if let Some(past) = &mut past {
        past.saved.outputs =
            values.iter().enumerate().map(|(i, y)| saves.outputs.has(i).then(|| y.detach())).collect();
    }
    Ok((values, past))
}

impl Past {
    /// Leaves the record of an op, which its outputs then know.
    fn record(self, op: Arc<dyn Op>, mut values: Tensors, at: &'static Location<'static>) -> Tensors {
        let Past { edges, saved, shapes } = self;
        let at = scope::call_site().unwrap_or(at);
        let record = Record::new(Some(op), edges, shapes, at, scope::current());
        *record.saved.lock().expect("a new lock") = Some(saved);
        let record = Arc::new(record);
        for (output, y) in values.iter_mut().enumerate().filter(|(_, y)| y.dtype().is_float()) {
            y.origin = Some(Origin { record: Arc::clone(&record), output });
        }
        values
    }
}

/// Allocates the outputs, or takes an input's memory for output 0, and runs the kernels.
///
/// Loops, since an iterator over what a small vector owns begins with a copy of all of it.
fn compute(op: &dyn Op, tensors: &mut Tensors, metas: &mut Metas) -> Result<Tensors> {
    let donor = op.in_place();
    let mut donated = None;
    let mut inputs: SmallVec<[Input; 4]> = SmallVec::new();
    for (position, tensor) in tensors.drain(..).enumerate() {
        let (meta, value) = tensor.into_parts();
        let Value::Data { storage, offset } = value else { unreachable!("shape-only was handled") };
        let mut storage = Some(storage);
        if donor == Some(position) && offset == 0 && meta.bytes() == metas[0].bytes() {
            storage = match Arc::try_unwrap(storage.expect("taken once")) {
                Ok(storage) if storage.buffer.bytes() == meta.bytes() => {
                    donated = Some(storage.buffer);
                    None
                }
                Ok(storage) => Some(Arc::new(storage)),
                Err(storage) => Some(storage),
            };
        }
        inputs.push(Input { meta, storage, offset });
    }
    let mut outputs: SmallVec<[Output; 4]> = SmallVec::new();
    for meta in metas.drain(..) {
        let buffer = match donated.take() {
            Some(buffer) => buffer,
            None => Buffer::of_bytes(meta.bytes()).ok_or_else(|| Error::memory(&meta.shape, meta.bytes()))?,
        };
        outputs.push(Output { meta, buffer });
    }
    op.eval(&inputs, &mut outputs);
    drop(inputs);
    let mut values = SmallVec::new();
    for Output { meta, buffer } in outputs.drain(..) {
        values.push(Tensor::from_buffer(meta, buffer));
    }
    Ok(values)
}

/// Runs the gradient rule of a record.
pub(crate) fn run_grad(record: &Arc<Record>, dy: Grads, create_graph: bool, keep: bool) -> Result<Grads> {
    let op = record.op.as_ref().expect("a leaf has no rule");
    let _scope = scope::enter_gradient(record.layer.clone(), op.name(), record.at);
    let mut slot = record.saved.lock().expect("no panic holds a record");
    let mut values = match (&*slot, keep) {
        (Some(saved), true) => SavedValues { inputs: saved.inputs.clone(), outputs: saved.outputs.clone() },
        _ => slot.take().ok_or_else(|| {
            scope::annotate(
                Error::new(
                    crate::ErrorKind::State,
                    "backward through this operation a second time, after its saved values were freed",
                )
                .hint("run the forward again, or use rasgo::grad with create_graph for the first gradient"),
            )
        })?,
    };
    drop(slot);
    if create_graph {
        for (value, edge) in values.inputs.iter_mut().zip(&record.edges) {
            if let Some(value) = value {
                value.origin = edge.clone();
            }
        }
        for (output, value) in values.outputs.iter_mut().enumerate() {
            if let Some(value) = value.as_mut().filter(|value| value.dtype().is_float()) {
                value.origin = Some(Origin { record: Arc::clone(record), output });
            }
        }
    }
    let needs = Mask(record.edges.iter().enumerate().map(|(i, e)| u32::from(e.is_some()) << i).sum());
    let saved = Saved { values, shapes: record.shapes.clone(), op: op.name() };
    with_grad(create_graph, || op.grad(saved, dy, needs)).map_err(scope::annotate)
}

/// The same values in the given layout; free where the bytes agree.
pub(crate) fn to_layout(tensor: Tensor, layout: Layout) -> Tensor {
    let wanted = match layout {
        Layout::Plain => Meta::plain(tensor.shape().clone(), tensor.dtype()),
        Layout::ChannelsLast => Meta::channels_last(tensor.shape().clone(), tensor.dtype()),
    };
    if *tensor.meta() == wanted {
        return tensor;
    }
    // A change of layout is not an operation: the logical values and so the gradients are the same.
    let origin = tensor.origin.clone();
    let mut result = if tensor.is_shape_only() {
        Tensor::shape_only_from(wanted)
    } else {
        count_layout_copy();
        crate::tensor::copy_to_layout(&tensor, wanted)
    };
    result.origin = origin;
    result
}

/// The same values, held by nobody else and at the start of their storage.
pub(crate) fn make_unique(tensor: &mut Tensor) {
    if !tensor.is_unique() {
        count_copy();
        *tensor = tensor.deep_copy();
    }
}

pub(crate) fn retain(tensor: &Tensor) {
    if let Some(origin) = &tensor.origin {
        origin.record.retain.store(true, Ordering::Relaxed);
    }
}
