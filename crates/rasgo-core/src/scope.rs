//! What is running on this thread, a layer or an operation made of others, and the line of the program that called it:
//! for errors, summaries and observers.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use crate::Error;

struct Frame {
    /// The innermost layer, if there is one.
    path: Option<Arc<str>>,
    /// The outermost operation made of others, if there is one.
    op: Option<&'static str>,
    /// The program's own line.
    at: &'static Location<'static>,
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Marks this thread as inside a layer or operation until dropped.
#[derive(Debug)]
#[must_use]
pub struct LayerScope(PhantomData<*const ()>);

/// Enters the layer with that full path.
#[track_caller]
pub fn enter(path: Arc<str>) -> LayerScope {
    push(Some(path), None, Location::caller())
}

/// Enters a container, which has no path of its own: what it calls is called from the caller's line.
#[track_caller]
pub fn enter_container() -> LayerScope {
    push(None, None, Location::caller())
}

/// Enters an operation that calls others: their errors have its name and its caller's line.
#[track_caller]
pub(crate) fn enter_op(name: &'static str) -> LayerScope {
    push(None, Some(name), Location::caller())
}

/// Enters the gradient of an operation that ran in that layer, called from that line.
pub(crate) fn enter_gradient(
    path: Option<Arc<str>>,
    op: &'static str,
    at: &'static Location<'static>,
) -> LayerScope {
    FRAMES.with(|frames| frames.borrow_mut().push(Frame { path, op: Some(op), at }));
    LayerScope(PhantomData)
}

/// What stands further out called what comes now: its line is the program's, and its name the one that was called.
fn push(path: Option<Arc<str>>, op: Option<&'static str>, at: &'static Location<'static>) -> LayerScope {
    FRAMES.with(|frames| {
        let mut frames = frames.borrow_mut();
        let frame = match frames.last() {
            Some(outer) => {
                Frame { path: path.or_else(|| outer.path.clone()), op: outer.op.or(op), at: outer.at }
            }
            None => Frame { path, op, at },
        };
        frames.push(frame);
    });
    LayerScope(PhantomData)
}

impl Drop for LayerScope {
    fn drop(&mut self) {
        FRAMES.with(|frames| frames.borrow_mut().pop());
    }
}

/// The innermost layer's path.
pub fn current() -> Option<Arc<str>> {
    FRAMES.with(|frames| frames.borrow().last()?.path.clone())
}

/// The program's line that called the outermost layer or operation.
pub(crate) fn call_site() -> Option<&'static Location<'static>> {
    FRAMES.with(|frames| frames.borrow().last().map(|frame| frame.at))
}

/// Adds the innermost layer to an error, and puts the name and the line of what the program called in the place of
/// those within it.
pub fn annotate(error: Error) -> Error {
    FRAMES.with(|frames| match frames.borrow().last() {
        Some(Frame { path, op, at }) => error.called_by(path.as_deref(), *op, at),
        None => error,
    })
}
