//! Threads that prepare batches before they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rasgo_core::{Result, settings};

use super::batch::Batch;
use super::loader::Assemble;

/// Finished or half-finished batches that each worker may be ahead by.
const DEPTH: usize = 2;

/// Workers on the batches of one epoch. They stop when this is dropped.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The next batch that nobody has begun.
    next: usize,
    end: usize,
    /// The batch that is asked for next.
    wanted: usize,
    depth: usize,
    ready: BTreeMap<usize, Result<Batch>>,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds the state of a loader")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).expect("no panic holds the state of a loader")
    }

    /// The number of a batch to make, once there is room for it; `None` when there is no more to do.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stop || state.next == state.end {
                return None;
            }
            if state.next < state.wanted + state.depth {
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self.wait(state);
        }
    }
}

impl Ahead {
    /// Starts up to `workers` threads; `None` if there are none, and batches are then made by who asks for them.
    pub(super) fn start(workers: usize, batches: Range<usize>, assemble: Arc<Assemble>) -> Option<Ahead> {
        if workers == 0 {
            return None;
        }
        let state = State {
            next: batches.start,
            end: batches.end,
            wanted: batches.start,
            depth: workers * DEPTH,
            ready: BTreeMap::new(),
            stop: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let spawn = |_| {
            let (shared, assemble) = (shared.clone(), assemble.clone());
            let work = move || {
                while let Some(batch) = shared.claim() {
                    // One thread, but inside a region: the same arithmetic as on the calling thread.
                    let made = settings::with_threads(1, || assemble(batch));
                    shared.lock().ready.insert(batch, made);
                    shared.changed.notify_all();
                }
            };
            std::thread::Builder::new().name("rasgo-loader".into()).spawn(work).ok()
        };
        // Where the system gives no more threads, fewer do the work.
        let threads: Vec<JoinHandle<()>> = (0..workers).map_while(spawn).collect();
        if threads.is_empty() { None } else { Some(Ahead { shared, threads }) }
    }

    /// Waits for a batch; they are taken one after the other.
    pub(super) fn take(&self, batch: usize) -> Result<Batch> {
        let mut state = self.shared.lock();
        loop {
            if let Some(made) = state.ready.remove(&batch) {
                state.wanted = batch + 1;
                self.shared.changed.notify_all();
                return made;
            }
            state = self.shared.wait(state);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches the panics of samples, and has nothing else to say.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ahead({} workers)", self.threads.len())
    }
}
