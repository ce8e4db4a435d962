//! The path of the layer that is running on this thread, for errors, summaries and observers.

use std::cell::RefCell;
use std::sync::Arc;

use crate::Error;

thread_local! {
    static LAYERS: RefCell<Vec<Arc<str>>> = const { RefCell::new(Vec::new()) };
}

/// Marks this thread as inside a layer until dropped.
#[derive(Debug)]
#[must_use]
pub struct LayerScope(());

/// Enters the layer with that full path.
pub fn enter(path: Arc<str>) -> LayerScope {
    LAYERS.with(|layers| layers.borrow_mut().push(path));
    LayerScope(())
}

impl Drop for LayerScope {
    fn drop(&mut self) {
        LAYERS.with(|layers| layers.borrow_mut().pop());
    }
}

/// The innermost layer's path.
pub fn current() -> Option<Arc<str>> {
    LAYERS.with(|layers| layers.borrow().last().cloned())
}

/// Adds the innermost layer to an error.
pub(crate) fn annotate(error: Error) -> Error {
    match current() {
        Some(layer) => error.layer(&*layer),
        None => error,
    }
}
