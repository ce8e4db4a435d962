//! Buffers, and the pool that keeps them.
//!
//! A training step asks for the same sizes again and again. The pool keeps what is given back, so that from the second step
//! on nothing is asked from the system: small buffers by size, all others as pieces of large blocks (`arena`), where
//! what is free serves any size.
//!
//! Memory is always initialised: fresh from the system it is zero, from the pool it holds old values, or NaN
//! after [`set_poison`]. A kernel must write all of its output.

mod arena;
mod pool;
mod system;

use std::alloc::{dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use pool::{capacity, pool};
use system::{from_system, layout};

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
    capacity: usize,
    /// Whether it is no part of the pool.
    own: bool,
}

// SAFETY: a buffer owns its memory, and is only written through `&mut`.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer for `len` elements. The contents are unspecified, not undefined.
    pub fn new<T: Element>(len: usize) -> Buffer {
        let bytes = bytes_of::<T>(len);
        Buffer::of_bytes(bytes).unwrap_or_else(|| handle_alloc_error(layout(capacity(bytes))))
    }

    /// A buffer of that many bytes, or `None` where the system does not give as many.
    pub fn of_bytes(bytes: usize) -> Option<Buffer> {
        // Rounded up, the size of a layout must not pass the largest that there is.
        if bytes > isize::MAX as usize / 4 {
            return None;
        }
        let capacity = capacity(bytes);
        let ptr = pool().take(capacity)?;
        if POISON.load(Ordering::Relaxed) {
            // SAFETY: so many bytes are ours. All-ones bytes are a NaN in f32 and f64, and -1 in integers.
            unsafe { ptr.as_ptr().write_bytes(0xff, capacity) };
        }
        Some(Buffer { ptr, bytes, capacity, own: false })
    }

    /// A buffer of `len` zeros for what lives as long as a model: memory of its own, even where the pool has some, so
    /// that it does not lie in the midst of what every step needs again.
    pub fn lasting<T: Element>(len: usize) -> Buffer {
        let bytes = bytes_of::<T>(len);
        let layout = layout(capacity(bytes));
        let again = || {
            trim();
            from_system(layout)
        };
        let ptr = from_system(layout).or_else(again).unwrap_or_else(|| handle_alloc_error(layout));
        pool().counters.live_bytes += layout.size() as u64;
        Buffer { ptr, bytes, capacity: layout.size(), own: true }
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
        let mut pool = pool();
        if !self.own {
            return pool.give(self.ptr, self.capacity);
        }
        pool.counters.live_bytes -= self.capacity as u64;
        drop(pool);
        // SAFETY: the memory came from the system with this layout, and nothing refers to it after this.
        unsafe { dealloc(self.ptr.as_ptr(), layout(self.capacity)) };
    }
}

fn bytes_of<T: Element>(len: usize) -> usize {
    len.checked_mul(size_of::<T>()).expect("a buffer's size fits in memory")
}

/// What the pool has done so far, in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers of memory that was used before.
    pub hits: u64,
    /// Buffers of memory that was never used before.
    pub misses: u64,
    /// Bytes kept and not in use, those among them that nobody has touched, for which the system need not have any.
    pub idle_bytes: u64,
    /// Bytes in use.
    pub live_bytes: u64,
}

static POISON: AtomicBool = AtomicBool::new(false);

/// The pool's counters.
pub fn counters() -> Counters {
    pool().counters
}

/// Gives what is idle back to the system; for the end of a phase whose sizes do not come again.
pub fn trim() {
    pool().trim();
}

/// Fills every buffer handed out from now on with NaN, so that a test sees an output that was not written.
pub fn set_poison(on: bool) {
    POISON.store(on, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_whole_lines_and_waste_at_most_a_quarter_of_what_is_large() {
        for bytes in (0..5000).chain((1..2000).map(|i| i * 7919)) {
            let capacity = capacity(bytes);
            assert!(capacity >= bytes.max(1) && capacity.is_multiple_of(ALIGN), "{bytes} -> {capacity}");
            assert!(capacity - bytes <= (bytes / 4).max(ALIGN), "{bytes} -> {capacity}");
            assert_eq!(super::capacity(capacity), capacity);
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
