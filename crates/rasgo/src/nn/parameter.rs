//! What layers hold: parameters, state, and the cells for a name, a mode and a counter.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, TryLockError};

use rasgo_core::op::{Event, notify};
use rasgo_core::random::{Key, next_key};
use rasgo_core::scope::{self, LayerScope};
use rasgo_core::{DType, Error, ErrorKind, Meta, Result, Shape, Tensor};

use super::visit::{Item, ItemMut, Visitable, Visitor, VisitorMut};
use crate::init::Init;

/// A tensor that training changes.
///
/// Shape, initialiser and random key are fixed when the layer is made; the values are computed when they are first
/// read. So a summary of 67 million parameters costs nothing, and loading does not pay for values that it replaces.
#[derive(Clone)]
pub struct Parameter {
    shape: Shape,
    init: Init,
    key: Key,
    value: OnceLock<Tensor>,
    frozen: bool,
}

thread_local! {
    static SHAPE_ONLY: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` with parameters that have shapes and no values on this thread.
pub fn shape_only_forward<R>(body: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            SHAPE_ONLY.set(self.0);
        }
    }
    let _restore = Restore(SHAPE_ONLY.replace(true));
    body()
}

impl Parameter {
    /// A parameter of that shape; its values follow from the initialiser and this thread's seed.
    pub fn new(shape: impl Into<Shape>, init: Init) -> Self {
        Parameter { shape: shape.into(), init, key: next_key(), value: OnceLock::new(), frozen: false }
    }

    /// The same place in the sequence of random numbers with another shape and initialiser.
    pub(crate) fn reshaped(&self, shape: impl Into<Shape>, init: Init) -> Self {
        Parameter { shape: shape.into(), init, key: self.key, value: OnceLock::new(), frozen: self.frozen }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What its random numbers follow from.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// The values, to be used in a forward: a leaf for gradients unless the parameter is frozen.
    pub fn tensor(&self) -> Tensor {
        if SHAPE_ONLY.get() {
            return Tensor::shape_only(self.shape.clone(), DType::F32);
        }
        self.value().clone()
    }

    fn value(&self) -> &Tensor {
        self.value.get_or_init(|| {
            let values = self.init.values(&self.shape, self.key).to_lasting().expect("values of float32");
            if self.frozen { values } else { values.requires_grad() }
        })
    }

    /// Sets the values.
    ///
    /// # Errors
    /// If the shape is another one.
    pub fn set(&mut self, values: Tensor) -> Result<()> {
        if values.shape() != &self.shape {
            return Err(Error::shape(format!(
                "values of shape {} for a parameter of {}",
                values.shape(),
                self.shape
            )));
        }
        let values = values.to_dtype(DType::F32)?.to_plain().to_lasting()?;
        self.value = OnceLock::from(if self.frozen { values } else { values.requires_grad() });
        Ok(())
    }

    /// Fills the parameter anew, as `torch.nn.init` does.
    pub fn init(&mut self, init: Init) {
        self.init = init;
        self.value = OnceLock::new();
    }

    /// Changes the values in place; `write` gets them in row-major order. The leaf stays the same.
    pub fn update<R>(&mut self, write: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
        self.value();
        self.value.get_mut().expect("computed above").update(write)
    }

    /// Excludes the parameter from training, or includes it again.
    pub fn set_frozen(&mut self, frozen: bool) {
        if self.frozen != frozen {
            self.frozen = frozen;
            if let Some(value) = self.value.take() {
                self.value = OnceLock::from(if frozen { value.detach() } else { value.requires_grad() });
            }
        }
    }

    /// Whether the parameter is excluded from training.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({})", self.shape)
    }
}

impl Visitable for Parameter {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.item(Item::Parameter(self));
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.item(ItemMut::Parameter(self));
    }
}

/// A tensor of a layer that is saved with it but not trained, as the running statistics of a normalisation.
///
/// It is replaced whole, once a training forward; readers share a lock.
pub struct State {
    first: Meta,
    fill: f64,
    /// `None` as long as it is the first value and nobody has read it.
    value: RwLock<Option<Tensor>>,
    training: Mutex<()>,
}

impl State {
    /// A state that is `fill` everywhere at first; like a parameter, it takes memory when it is first read.
    pub fn new(shape: impl Into<Shape>, fill: f64, dtype: DType) -> Self {
        let first = Meta::plain(shape, dtype);
        State { first, fill, value: RwLock::new(None), training: Mutex::new(()) }
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.first.shape
    }

    /// Its dtype.
    pub fn dtype(&self) -> DType {
        self.first.dtype
    }

    /// The value now.
    pub fn get(&self) -> Tensor {
        if SHAPE_ONLY.get() {
            return Tensor::shape_only(self.first.shape.clone(), self.first.dtype);
        }
        if let Some(value) = &*self.value.read().expect("no panic holds a state") {
            return value.clone();
        }
        let mut value = self.value.write().expect("no panic holds a state");
        let fill = || Tensor::full(self.first.shape.clone(), self.fill, self.first.dtype);
        value.get_or_insert_with(|| fill().expect("every dtype can be filled")).clone()
    }

    /// Replaces the value.
    pub fn set(&self, value: Tensor) {
        *self.value.write().expect("no panic holds a state") = Some(value);
    }

    /// Claims the state for one training forward.
    ///
    /// # Errors
    /// If another thread is in one.
    pub fn claim(&self) -> Result<MutexGuard<'_, ()>> {
        match self.training.try_lock() {
            Ok(guard) => Ok(guard),
            // A forward that panicked left nothing half done: the state is replaced whole.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::State, "two threads train the same model at once")
                    .hint("give each thread its own model, or call .eval() before sharing it"))
            }
        }
    }
}

impl Clone for State {
    fn clone(&self) -> Self {
        let value = self.value.read().expect("no panic holds a state").clone();
        let (first, fill) = (self.first.clone(), self.fill);
        State { first, fill, value: RwLock::new(value), training: Mutex::new(()) }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({})", self.shape())
    }
}

impl Visitable for State {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.item(Item::State(self));
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.item(ItemMut::State(self));
    }
}

/// The path of a layer in its model, set when the model is first used; before that, the layer's type and number.
pub struct LayerName {
    kind: &'static str,
    path: RwLock<Arc<str>>,
}

impl LayerName {
    /// The name of a new layer of that type.
    pub fn new(kind: &'static str) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        LayerName { kind, path: RwLock::new(format!("{kind}#{number}").into()) }
    }

    /// The layer's type.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The layer's path.
    pub fn path(&self) -> Arc<str> {
        Arc::clone(&self.path.read().expect("no panic holds a name"))
    }

    /// Sets the path.
    pub fn set(&self, path: &str) {
        let mut slot = self.path.write().expect("no panic holds a name");
        if &**slot != path {
            *slot = path.into();
        }
    }

    /// Enters the layer: errors and observers name it until the scope ends.
    #[track_caller]
    pub fn enter(&self) -> LayerScope {
        scope::enter(self.path())
    }

    /// Runs a layer's forward inside its scope, and tells an observer what came out.
    #[track_caller]
    pub fn run(&self, forward: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        Ok(self.run_with(|| Ok((forward()?, ())))?.0)
    }

    /// As [`run`](Self::run), of a layer that gives something besides its output.
    #[track_caller]
    pub fn run_with<R>(&self, forward: impl FnOnce() -> Result<(Tensor, R)>) -> Result<(Tensor, R)> {
        let _scope = self.enter();
        let (output, rest) = forward().map_err(scope::annotate)?;
        notify(|| Event::Layer { path: self.path(), kind: self.kind, output: output.clone() });
        Ok((output, rest))
    }
}

impl Clone for LayerName {
    fn clone(&self) -> Self {
        LayerName { kind: self.kind, path: RwLock::new(self.path()) }
    }
}

impl fmt::Debug for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl Visitable for LayerName {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.item(Item::Name(self));
    }

    fn visit_mut(&mut self, _visitor: &mut dyn VisitorMut) {}
}

/// Whether a layer trains (the default) or evaluates.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    training: bool,
    of_batch: bool,
}

impl Default for Mode {
    fn default() -> Self {
        Mode { training: true, of_batch: false }
    }
}

impl Mode {
    /// Whether the layer trains.
    pub fn is_training(self) -> bool {
        self.training
    }

    /// Sets it.
    pub fn set_training(&mut self, training: bool) {
        self.training = training;
    }

    /// Says whether evaluation too takes the statistics of the batch.
    pub(super) fn set_of_batch(&mut self, of_batch: bool) {
        self.of_batch = of_batch;
    }

    /// Whether what becomes of a sample is independent of those beside it.
    pub(crate) fn is_of_samples(self) -> bool {
        !self.training && !self.of_batch
    }
}

impl Visitable for Mode {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.item(Item::Mode(self));
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.item(ItemMut::Mode(self));
    }
}

/// Whether a normalisation is folded into the layer before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folded(pub(super) bool);

impl Visitable for Folded {
    fn visit(&self, visitor: &mut dyn Visitor) {
        if self.0 {
            visitor.item(Item::Folded);
        }
    }

    fn visit_mut(&mut self, _visitor: &mut dyn VisitorMut) {}
}

/// How often a random layer has run in training: with its key, it gives the next mask.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number before this call.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the number, on resume.
    pub fn set(&mut self, number: u64) {
        *self.0.get_mut() = number;
    }
}

impl Clone for Counter {
    fn clone(&self) -> Self {
        Counter(AtomicU64::new(self.get()))
    }
}

impl Visitable for Counter {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.item(Item::Counter(self));
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.item(ItemMut::Counter(self));
    }
}
