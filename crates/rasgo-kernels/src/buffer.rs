//! Buffers, and the pool that keeps them.
//!
//! A training step asks for the same sizes again and again. The pool keeps every buffer that is given back, by
//! size class, so that from the second step on nothing is allocated. Classes are an eighth of a power of two
//! apart: a buffer is at most an eighth larger than asked (or 64 bytes).
//!
//! Memory is always initialised: fresh from the system it is zero, from the pool it holds old values, or NaN
//! after [`set_poison`]. A kernel must write all of its output.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The alignment of every buffer, a cache line and the widest vector.
pub const ALIGN: usize = 64;

/// A type whose values may be read from any bytes of a buffer.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($($t:ty),*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {}
    )*};
}
element!(f32, f64, crate::Bf16, u8, u16, u32, i32, i64, u64, usize);

/// An owned, aligned piece of memory that goes back to the pool when dropped.
pub struct Buffer {
    ptr: NonNull<u8>,
    bytes: usize,
    class: usize,
}

// SAFETY: a buffer owns its memory, and is only written through `&mut`.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer for `len` elements. The contents are unspecified, not undefined.
    pub fn new<T: Element>(len: usize) -> Buffer {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer's size fits in memory");
        acquire(bytes, 1).unwrap_or_else(|| handle_alloc_error(layout(size_class(bytes))))
    }

    /// As [`new`](Buffer::new), for what is dropped before the kernel that asks for it returns: any idle buffer that is large
    /// enough will do, so that kernels of many shapes share their memory.
    pub(crate) fn scratch<T: Element>(len: usize) -> Buffer {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer's size fits in memory");
        acquire(bytes, SLOTS).unwrap_or_else(|| handle_alloc_error(layout(size_class(bytes))))
    }

    /// A buffer of that many bytes, or `None` where the system does not give as many.
    pub fn of_bytes(bytes: usize) -> Option<Buffer> {
        acquire(bytes, 1)
    }

    /// A buffer of `len` zeros for what lives as long as a model: memory of its own, even where the pool has some, so
    /// that it does not take what every step needs again.
    pub fn lasting<T: Element>(len: usize) -> Buffer {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer's size fits in memory");
        let class = size_class(bytes);
        pool().counters.live_bytes += class as u64;
        let ptr = from_system(class).unwrap_or_else(|| handle_alloc_error(layout(class)));
        Buffer { ptr, bytes, class }
    }

    /// A buffer of `len` zeros.
    pub fn zeroed<T: Element>(len: usize) -> Buffer {
        let buffer = Buffer::new::<T>(len);
        // SAFETY: the buffer holds `bytes` bytes, and zero bytes are a value of every element type.
        unsafe { buffer.ptr.as_ptr().write_bytes(0, buffer.bytes) };
        buffer
    }

    /// A copy of a slice.
    pub fn from_slice<T: Element>(src: &[T]) -> Buffer {
        let mut buffer = Buffer::new::<T>(src.len());
        buffer.as_mut_slice().copy_from_slice(src);
        buffer
    }

    /// Gives the memory to the system instead of the pool: for what will not be asked for again.
    pub fn free(self) {
        let this = std::mem::ManuallyDrop::new(self);
        pool().counters.live_bytes -= this.class as u64;
        // SAFETY: the memory came from `alloc` with this layout, and the buffer is not dropped after this.
        unsafe { dealloc(this.ptr.as_ptr(), layout(this.class)) };
    }

    /// The size in bytes, as asked.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The contents as elements of one type.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        // SAFETY: the memory is initialised, aligned to 64, and any bytes are values of an `Element`.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }

    /// The contents as elements of one type.
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        // SAFETY: as `as_slice`, and `&mut self` makes this the only view.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        release(self.ptr, self.class);
    }
}

/// What the pool has done so far, in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers handed out from those kept.
    pub hits: u64,
    /// Buffers that had to be asked from the system.
    pub misses: u64,
    /// Bytes kept and not in use.
    pub idle_bytes: u64,
    /// Bytes in use.
    pub live_bytes: u64,
}

/// What is kept, by the [`slot`] of its size class, and what was done so far: one lock for all of it.
struct Pool {
    idle: [Vec<Idle>; SLOTS],
    counters: Counters,
}

struct Idle(NonNull<u8>);
// SAFETY: memory that nothing else refers to.
unsafe impl Send for Idle {}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    idle: [const { Vec::new() }; SLOTS],
    counters: Counters { hits: 0, misses: 0, idle_bytes: 0, live_bytes: 0 },
});

static POISON: AtomicBool = AtomicBool::new(false);

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().expect("no panic holds the pool")
}

/// Eight for each power of two.
const SLOTS: usize = 8 * usize::BITS as usize;

/// The place of a size class: its power of two, and its eighth of that.
fn slot(class: usize) -> usize {
    let power = class.ilog2() as usize;
    8 * power + (class >> (power - 3)) % 8
}

/// The size class of a place.
fn class_of(slot: usize) -> usize {
    (8 + slot % 8) << (slot / 8 - 3)
}

/// The capacity that a request for `bytes` is given: the next multiple of an eighth of its power of two.
pub fn size_class(bytes: usize) -> usize {
    if bytes <= ALIGN {
        return ALIGN;
    }
    let step = ((1usize << bytes.ilog2()) / 8).max(ALIGN);
    bytes.div_ceil(step) * step
}

fn layout(class: usize) -> Layout {
    let align = if class >= HUGE_PAGE { HUGE_PAGE } else { ALIGN };
    Layout::from_size_align(class, align).expect("a buffer's size fits in memory")
}

/// A page of the kind that large buffers ask for, where the system has it: small ones are scattered over the physical
/// memory, so that the lines of a map fall on each other in the caches, and each costs a look-up of its address.
const HUGE_PAGE: usize = 2 << 20;

/// Asks for huge pages for memory that nobody has touched. Whether they are given only changes the speed.
fn ask_for_huge_pages(ptr: NonNull<u8>, class: usize) {
    #[cfg(target_os = "linux")]
    if class >= HUGE_PAGE {
        unsafe extern "C" {
            fn madvise(start: *mut std::ffi::c_void, len: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
        }
        const MADV_HUGEPAGE: std::ffi::c_int = 14;
        // SAFETY: the pages are ours, and the advice does not change what they hold.
        unsafe { madvise(ptr.as_ptr().cast(), class, MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (ptr, class);
}

/// A buffer of the class of so many bytes, or one of the `classes` from there on that is idle.
fn acquire(bytes: usize, classes: usize) -> Option<Buffer> {
    // Rounded up, the size of a layout must not pass the largest that there is.
    if bytes > isize::MAX as usize / 2 {
        return None;
    }
    let mut class = size_class(bytes);
    let mut pool = pool();
    let first = slot(class);
    let found = (first..SLOTS.min(first + classes)).find_map(|slot| Some((slot, pool.idle[slot].pop()?)));
    let ptr = match found {
        Some((slot, Idle(ptr))) => {
            class = class_of(slot);
            pool.counters.hits += 1;
            pool.counters.idle_bytes -= class as u64;
            pool.counters.live_bytes += class as u64;
            drop(pool);
            ptr
        }
        None => {
            pool.counters.misses += 1;
            drop(pool);
            let ptr = from_system(class)?;
            self::pool().counters.live_bytes += class as u64;
            ptr
        }
    };
    if POISON.load(Ordering::Relaxed) {
        // SAFETY: `class` bytes are ours. All-ones bytes are a NaN in f32 and f64, and -1 in integers.
        unsafe { ptr.as_ptr().write_bytes(0xff, class) };
    }
    Some(Buffer { ptr, bytes, class })
}

/// Memory of zeros; where the system has none left, after what is idle went back to it.
fn from_system(class: usize) -> Option<NonNull<u8>> {
    let ask = || {
        // SAFETY: the layout's size is at least 64.
        let ptr = NonNull::new(unsafe { alloc(layout(class)) })?;
        ask_for_huge_pages(ptr, class);
        // SAFETY: so many bytes are ours.
        unsafe { ptr.as_ptr().write_bytes(0, class) };
        Some(ptr)
    };
    ask().or_else(|| {
        trim();
        ask()
    })
}

fn release(ptr: NonNull<u8>, class: usize) {
    let mut pool = pool();
    pool.counters.live_bytes -= class as u64;
    pool.counters.idle_bytes += class as u64;
    pool.idle[slot(class)].push(Idle(ptr));
}

/// The pool's counters.
pub fn counters() -> Counters {
    pool().counters
}

/// Gives every idle buffer back to the system; for the end of a phase whose sizes do not come again.
pub fn trim() {
    let mut pool = pool();
    let idle = std::mem::replace(&mut pool.idle, [const { Vec::new() }; SLOTS]);
    pool.counters.idle_bytes = 0;
    drop(pool);
    for (slot, buffers) in idle.into_iter().enumerate() {
        for Idle(ptr) in buffers {
            let class = class_of(slot);
            // SAFETY: `ptr` came from `alloc` with this layout and nothing refers to it.
            unsafe { dealloc(ptr.as_ptr(), layout(class)) };
        }
    }
}

/// Fills every buffer handed out from now on with NaN, so that a test sees an output that was not written.
pub fn set_poison(on: bool) {
    POISON.store(on, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_wastes_at_most_an_eighth() {
        for bytes in (64..5000).chain((1..2000).map(|i| i * 7919)) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGN), "{bytes} -> {class}");
            assert!(class - bytes <= (bytes / 8).max(ALIGN), "{bytes} -> {class}");
            assert_eq!(size_class(class), class);
            assert_eq!(class_of(slot(class)), class);
        }
    }

    #[test]
    fn what_no_system_has_is_none() {
        assert!(Buffer::of_bytes(1 << 50).is_none());
        assert!(Buffer::of_bytes(isize::MAX as usize).is_none());
        assert_eq!(Buffer::of_bytes(3).unwrap().bytes(), 3);
    }

    #[test]
    fn buffers_are_aligned_and_zeroed_on_request() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let buffer = Buffer::zeroed::<f32>(len);
            assert_eq!(buffer.as_slice::<f32>().as_ptr() as usize % ALIGN, 0);
            assert_eq!(buffer.as_slice::<f32>(), vec![0.0; len]);
        }
    }

    #[test]
    fn a_dropped_buffer_is_handed_out_again() {
        // A size that no other test uses.
        let first = Buffer::new::<u8>(123_457);
        let address = first.as_slice::<u8>().as_ptr();
        drop(first);
        assert_eq!(Buffer::new::<u8>(123_457).as_slice::<u8>().as_ptr(), address);
    }
}
