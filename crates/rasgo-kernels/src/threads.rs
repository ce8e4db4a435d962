//! Parallel regions on a small pool of spinning, then parked, workers.
//!
//! A region is `tasks` calls of one closure. Tasks are cut by the problem and taken, one by one, by whoever is
//! free, so a late or busy worker costs nothing; results never depend on who ran what. A worker joins a region
//! by raising a counter; when the tasks have run out the caller closes the region to late comers and waits for
//! those who joined. A region that begins while the pool is busy (or inside another region) runs on its caller.
//!
//! Every thread flushes denormals to zero while it runs tasks, and restores the flag before it goes on: a
//! denormal costs a hundred cycles, and weights that decay reach them.
//!
//! `bench/record/threads.md` has what a region costs, beside other crates'.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, LazyLock, Mutex};
use std::time::{Duration, Instant};

use crate::buffer::{ALIGN, Element};
use crate::{Buffer, settings};

/// How long an idle worker looks for work before it parks.
const SPIN: Duration = Duration::from_micros(50);

/// The most threads of one region.
pub const MAX_THREADS: usize = 256;

/// Runs `body(0)`, `body(1)`, … `body(tasks - 1)`, in any order, on up to [`settings::threads`] threads.
///
/// A panic in a task is raised again on the caller once all threads have left the region.
pub fn parallel<F: Fn(usize) + Sync>(tasks: usize, body: F) {
    seated(region_threads(tasks), tasks, |task, _| body(task));
}

/// As [`parallel`], with `bytes` of memory for each thread.
///
/// It is the caller's to give before the region begins, for as many threads as may come: so how much a step asks for does
/// not depend on who comes in time. The caller keeps the largest such memory from region to region; scratch of many
/// sizes takes no more than that of the largest.
pub fn parallel_scratch<F: Fn(usize, Scratch<'_>) + Sync>(tasks: usize, bytes: usize, body: F) {
    thread_local! {
        static KEPT: Cell<Option<Buffer>> = const { Cell::new(None) };
    }
    let threads = region_threads(tasks);
    let each = Scratch::bytes::<u8>(bytes);
    // A region inside a task finds nothing kept and asks for its own.
    let mut memory = match KEPT.take() {
        Some(kept) if kept.bytes() >= threads * each => kept,
        smaller => {
            drop(smaller);
            Buffer::new::<u8>(threads * each)
        }
    };
    let shared = SharedMut::new(memory.as_mut_slice::<u8>());
    seated(threads, tasks, |task, seat| {
        // SAFETY: at any time one thread has this seat, and it runs one task.
        body(task, Scratch { rest: unsafe { shared.slice(seat * each, each) } });
    });
    let inner = KEPT.take().filter(|inner| inner.bytes() > memory.bytes());
    KEPT.set(Some(inner.unwrap_or(memory)));
}

/// Memory of one thread, handed out piece by piece. Its contents are unspecified, not undefined.
#[derive(Debug)]
pub struct Scratch<'a> {
    rest: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    /// What [`take`](Scratch::take) uses up for `len` elements.
    pub fn bytes<T: Element>(len: usize) -> usize {
        let bytes = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_next_multiple_of(ALIGN));
        bytes.expect("scratch fits in memory")
    }

    /// The same memory for a part of the task, and again for the next.
    pub fn lend(&mut self) -> Scratch<'_> {
        Scratch { rest: self.rest }
    }

    /// The next `len` elements.
    ///
    /// # Panics
    /// If less than that is left.
    pub fn take<T: Element>(&mut self, len: usize) -> &'a mut [T] {
        let (piece, rest) = std::mem::take(&mut self.rest).split_at_mut(Self::bytes::<T>(len));
        self.rest = rest;
        // SAFETY: the whole is aligned to `ALIGN` and pieces are multiples of it; any bytes are values of an
        // `Element`, and the piece holds `len` of them.
        unsafe { std::slice::from_raw_parts_mut(piece.as_mut_ptr().cast(), len) }
    }
}

fn region_threads(tasks: usize) -> usize {
    settings::threads().min(tasks).min(MAX_THREADS)
}

/// Runs `body(task, seat)`; no two threads that run tasks have the same seat, and seats are less than `threads`.
fn seated<F: Fn(usize, usize) + Sync>(threads: usize, tasks: usize, body: F) {
    if threads <= 1 || !POOL.run(threads, tasks, &body) {
        let _flush = FlushDenormals::new();
        for task in 0..tasks {
            // SAFETY: the closure is alive. The call is the pool's own: inlined here, arithmetic could be moved
            // before the flush, and one thread would see denormals that two do not.
            unsafe { call::<F>((&raw const body).cast(), task, 0) };
        }
    }
}

/// Cuts `dst` into chunks of `len` (the last may be shorter) and runs `body(index, chunk)` on each.
pub fn parallel_chunks<T: Send>(dst: &mut [T], len: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    assert!(len > 0, "a chunk has elements");
    let total = dst.len();
    let shared = SharedMut::new(dst);
    parallel(total.div_ceil(len), |i| {
        let start = i * len;
        // SAFETY: chunks of different indices do not overlap, and each index is run once.
        body(i, unsafe { shared.slice(start, len.min(total - start)) });
    });
}

/// A mutable slice that the tasks of a region share, each writing a part of its own.
#[derive(Debug, Clone, Copy)]
pub struct SharedMut<'a, T> {
    ptr: *mut T,
    len: usize,
    _life: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the parts are handed out by `slice`, whose caller promises that they do not overlap.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Takes the slice for the time of the region.
    pub fn new(slice: &'a mut [T]) -> Self {
        SharedMut { ptr: slice.as_mut_ptr(), len: slice.len(), _life: std::marker::PhantomData }
    }

    /// The length of the whole slice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the slice is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pointer to the first element, for kernels that write rows with a stride.
    pub fn as_ptr(&self) -> *mut T {
        self.ptr
    }

    /// The part `start .. start + len`.
    ///
    /// # Safety
    /// No two parts that are alive at the same time may overlap.
    #[allow(clippy::mut_from_ref, reason = "the parts do not overlap; that is this type's contract")]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start, "a part lies inside the slice");
        // SAFETY: in bounds by the assertion; not overlapping by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), len) }
    }
}

/// What a worker needs of the region it joins.
#[derive(Clone, Copy)]
struct Job {
    body: *const (),
    call: unsafe fn(*const (), usize, usize),
    tasks: usize,
    seats: u64,
}

/// `state` is (region number << 17) | open << 16 | workers inside.
const OPEN: u64 = 1 << 16;
const INSIDE: u64 = OPEN - 1;
const REGION: u64 = 1 << 17;

struct Pool {
    busy: AtomicBool,
    state: AtomicU64,
    next: AtomicUsize,
    job: UnsafeCell<Job>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    workers: AtomicUsize,
    parked: AtomicUsize,
    spinning: AtomicUsize,
    gate: Mutex<()>,
    wake: Condvar,
}

// SAFETY: the job's pointer is to a closure that is `Sync`.
unsafe impl Send for Pool {}
// SAFETY: `job` is written by the region's owner (`busy`) while the region is closed and nobody is inside, and
// read by workers only after they joined an open region, which orders the two.
unsafe impl Sync for Pool {}

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool {
    busy: AtomicBool::new(false),
    state: AtomicU64::new(0),
    next: AtomicUsize::new(0),
    job: UnsafeCell::new(Job { body: std::ptr::null(), call: call::<fn(usize, usize)>, tasks: 0, seats: 0 }),
    panic: Mutex::new(None),
    workers: AtomicUsize::new(0),
    parked: AtomicUsize::new(0),
    spinning: AtomicUsize::new(0),
    gate: Mutex::new(()),
    wake: Condvar::new(),
});

/// # Safety
/// `body` points to a live `F`.
#[inline(never)]
unsafe fn call<F: Fn(usize, usize)>(body: *const (), task: usize, seat: usize) {
    // SAFETY: the caller's promise.
    unsafe { (*body.cast::<F>())(task, seat) }
}

impl Pool {
    /// Runs the region if the pool is free; `false` if it is not, and nothing was run.
    fn run<F: Fn(usize, usize) + Sync>(&'static self, threads: usize, tasks: usize, body: &F) -> bool {
        if self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        self.hire(threads - 1);
        let job = Job { body: (&raw const *body).cast(), call: call::<F>, tasks, seats: threads as u64 - 1 };
        // SAFETY: we hold `busy`, the last region is closed and its workers have left.
        unsafe { *self.job.get() = job };
        self.next.store(0, Ordering::Relaxed);
        let region = (self.state.load(Ordering::Relaxed) & !(REGION - 1)).wrapping_add(REGION);
        self.state.store(region | OPEN, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) > 0 {
            // Taking the gate orders this after the check of a worker that is about to wait.
            drop(self.gate.lock().expect("no panic holds the gate"));
            // More awake than processors would only take turns.
            for _ in 1..threads.min(settings::processors().max(2)) {
                self.wake.notify_one();
            }
        }
        self.take_tasks(job, 0);
        let mut state = self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while state & INSIDE != 0 {
            spins += 1;
            // On a crowded machine the worker we wait for may need this processor.
            if spins.is_multiple_of(4096) {
                std::thread::yield_now()
            } else {
                std::hint::spin_loop()
            }
            state = self.state.load(Ordering::Acquire);
        }
        let panic = self.panic.lock().expect("no panic holds this lock").take();
        self.busy.store(false, Ordering::Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        true
    }

    fn take_tasks(&self, job: Job, seat: usize) {
        let _flush = FlushDenormals::new();
        let run = || {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= job.tasks {
                    break;
                }
                // SAFETY: the region's owner keeps the closure alive until everyone inside has left.
                unsafe { (job.call)(job.body, task, seat) };
            }
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            self.next.store(job.tasks, Ordering::Relaxed);
            self.panic.lock().expect("no panic holds this lock").get_or_insert(payload);
        }
    }

    /// Makes sure that there are `n` workers; if the system gives no more threads, fewer do the work.
    fn hire(&'static self, n: usize) {
        while self.workers.load(Ordering::Relaxed) < n {
            let spawned = std::thread::Builder::new().name("rasgo".into()).spawn(|| self.work());
            if spawned.is_err() {
                break;
            }
            self.workers.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn work(&'static self) {
        // One load: between two, the first region may open, and `seen` would fall below zero.
        let state = self.state.load(Ordering::Acquire);
        let mut seen = state / REGION;
        if state & OPEN != 0 {
            seen -= 1; // born inside a region: that one is still to be joined
        }
        loop {
            let state = self.wait(seen);
            seen = state / REGION;
            if let Some((job, seat)) = self.join(state) {
                self.take_tasks(job, seat);
                self.state.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Enters the region of `state`, unless it has closed or its seats are taken; gives the seat. A seat is taken anew
    /// only when somebody has left, and whoever leaves has seen that there are no more tasks: so no two threads run
    /// tasks on one seat.
    fn join(&self, mut state: u64) -> Option<(Job, usize)> {
        let region = state / REGION;
        while state & OPEN != 0 && state / REGION == region {
            match self.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(before) => {
                    // SAFETY: we are inside, so the owner does not touch the job until we leave.
                    let job = unsafe { *self.job.get() };
                    if before & INSIDE < job.seats {
                        return Some((job, (before & INSIDE) as usize + 1));
                    }
                    self.state.fetch_sub(1, Ordering::AcqRel);
                    return None;
                }
                Err(now) => state = now,
            }
        }
        None
    }

    /// Looks for a region for a while. No more workers do so than there are processors beside the caller's: one
    /// more would take the processor from one who has work.
    fn spin(&self, ready: impl Fn(u64) -> bool) -> Option<u64> {
        let others = self.spinning.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let mut found = None;
        while found.is_none() && others + 1 < settings::processors() && start.elapsed() < SPIN {
            for _ in 0..32 {
                let state = self.state.load(Ordering::Acquire);
                if ready(state) {
                    found = Some(state);
                    break;
                }
                std::hint::spin_loop();
            }
        }
        self.spinning.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Spins for a while, then sleeps, until a region after `seen` is open; returns the state that says so.
    fn wait(&self, seen: u64) -> u64 {
        let ready = |state: u64| state & OPEN != 0 && state / REGION != seen;
        if let Some(state) = self.spin(ready) {
            return state;
        }
        let mut gate = self.gate.lock().expect("no panic holds the gate");
        self.parked.fetch_add(1, Ordering::SeqCst);
        let state = loop {
            let state = self.state.load(Ordering::SeqCst);
            if ready(state) {
                break state;
            }
            gate = self.wake.wait(gate).expect("no panic holds the gate");
        };
        self.parked.fetch_sub(1, Ordering::SeqCst);
        state
    }
}

/// Sets flush-to-zero and denormals-are-zero on this thread until dropped.
#[derive(Debug)]
struct FlushDenormals {
    #[cfg(target_arch = "x86_64")]
    before: u32,
}

#[cfg(target_arch = "x86_64")]
impl FlushDenormals {
    fn new() -> Self {
        const FLUSH: u32 = (1 << 15) | (1 << 6);
        let before = read_mxcsr();
        if before & FLUSH != FLUSH {
            write_mxcsr(before | FLUSH);
        }
        FlushDenormals { before }
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for FlushDenormals {
    fn drop(&mut self) {
        write_mxcsr(self.before);
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl FlushDenormals {
    fn new() -> Self {
        FlushDenormals {}
    }
}

#[cfg(target_arch = "x86_64")]
fn read_mxcsr() -> u32 {
    let mut value = 0u32;
    // SAFETY: stores the control register of the always present SSE unit in `value`.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

#[cfg(target_arch = "x86_64")]
fn write_mxcsr(value: u32) {
    // SAFETY: only the flush bits differ from a value that was read before; rounding and masks stay.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::with_threads;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_task_runs_once_at_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                with_threads(threads, || {
                    for _ in 0..20 {
                        parallel(tasks, |i| {
                            counts[i].fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 20), "{threads} {tasks}");
            }
        }
    }

    #[test]
    fn scratch_belongs_to_one_task_at_a_time() {
        for threads in [1, 2, 3, 8] {
            with_threads(threads, || {
                for _ in 0..50 {
                    let bytes = Scratch::bytes::<u32>(37) + Scratch::bytes::<u8>(3);
                    parallel_scratch(40, bytes, |task, mut scratch| {
                        let (words, rest) = (scratch.take::<u32>(37), scratch.take::<u8>(3));
                        words.fill(task as u32);
                        rest.fill(task as u8);
                        std::thread::yield_now();
                        assert!(words.iter().all(|&word| word == task as u32));
                        assert!(rest.iter().all(|&byte| byte == task as u8));
                    });
                }
            });
        }
    }

    #[test]
    #[should_panic(expected = "scratch fits in memory")]
    fn scratch_of_a_size_that_wraps_is_refused() {
        parallel_scratch(1, 64, |_, mut scratch| {
            let _ = scratch.take::<u64>(1 << 61);
        });
    }

    #[test]
    fn a_region_inside_a_region_runs_on_its_caller() {
        let sum = AtomicU32::new(0);
        with_threads(3, || {
            parallel(4, |_| {
                parallel(5, |i| {
                    sum.fetch_add(i as u32, Ordering::Relaxed);
                });
            });
        });
        assert_eq!(sum.into_inner(), 40);
    }

    #[test]
    fn regions_from_many_threads_at_once_all_finish() {
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let sum = AtomicU32::new(0);
                        with_threads(3, || {
                            parallel(9, |i| {
                                sum.fetch_add(i as u32, Ordering::Relaxed);
                            })
                        });
                        assert_eq!(sum.into_inner(), 36);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_lives_on() {
        let caught = catch_unwind(|| with_threads(2, || parallel(8, |i| assert!(i != 5, "task five"))));
        assert!(caught.is_err());
        let sum = AtomicU32::new(0);
        with_threads(2, || {
            parallel(8, |_| {
                sum.fetch_add(1, Ordering::Relaxed);
            })
        });
        assert_eq!(sum.into_inner(), 8);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn denormals_are_flushed_inside_and_kept_outside() {
        let tiny = std::hint::black_box(1e-39f32);
        for threads in [1, 2] {
            let mut out = [1.0f32; 64];
            with_threads(threads, || {
                parallel_chunks(&mut out, 1, |_, x| x[0] = std::hint::black_box(tiny) * 0.5)
            });
            assert_eq!(out, [0.0; 64]);
        }
        assert!(std::hint::black_box(tiny) * 0.5 > 0.0);
    }
}
