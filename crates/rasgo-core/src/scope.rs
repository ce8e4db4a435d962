//! The layer that is running on this thread, and the line of the program that called it: for errors, summaries and
//! observers.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::Arc;

use crate::Error;

/// A layer, or a container of layers, which has no path of its own.
struct Frame {
    path: Option<Arc<str>>,
    at: &'static Location<'static>,
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Marks this thread as inside a layer until dropped.
#[derive(Debug)]
#[must_use]
pub struct LayerScope(());

/// Enters the layer with that full path.
#[track_caller]
pub fn enter(path: Arc<str>) -> LayerScope {
    push(Some(path), Location::caller())
}

/// Enters a container: what it calls is called from the caller's line.
#[track_caller]
pub fn enter_container() -> LayerScope {
    push(None, Location::caller())
}

fn push(path: Option<Arc<str>>, at: &'static Location<'static>) -> LayerScope {
    FRAMES.with(|frames| {
        let mut frames = frames.borrow_mut();
        // The outermost call stands in the program; those inside it stand in containers.
        let at = frames.first().map_or(at, |first| first.at);
        frames.push(Frame { path, at });
    });
    LayerScope(())
}

impl Drop for LayerScope {
    fn drop(&mut self) {
        FRAMES.with(|frames| frames.borrow_mut().pop());
    }
}

/// The innermost layer's path.
pub fn current() -> Option<Arc<str>> {
    FRAMES.with(|frames| frames.borrow().iter().rev().find_map(|frame| frame.path.clone()))
}

/// The line that called the outermost layer.
pub(crate) fn call_site() -> Option<&'static Location<'static>> {
    FRAMES.with(|frames| frames.borrow().first().map(|frame| frame.at))
}

/// Adds the innermost layer to an error, and puts the line that called the outermost in the place of a line within it.
pub fn annotate(mut error: Error) -> Error {
    if let Some(layer) = current() {
        error = error.layer(&*layer);
    }
    match call_site() {
        Some(at) => error.moved_to(at),
        None => error,
    }
}
