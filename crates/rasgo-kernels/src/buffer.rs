//! Buffers, and the pool that keeps them.
//!
//! A training step asks for the same sizes again and again. The pool keeps what is given back, so that from the second step
//! on nothing is asked from the system: small buffers by size, all others as pieces of large blocks ([`Arena`]), where
//! what is free serves any size.
//!
//! Memory is always initialised: fresh from the system it is zero, from the pool it holds old values, or NaN
//! after [`set_poison`]. A kernel must write all of its output.

mod arena;

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use arena::{Arena, Piece};

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
        let ptr = from_system(layout).or_else(|| {
            trim();
            from_system(layout)
        });
        pool().counters.live_bytes += layout.size() as u64;
        let ptr = ptr.unwrap_or_else(|| handle_alloc_error(layout));
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

/// What is kept, and what was done so far: one lock for all of it.
struct Pool {
    /// Small buffers, by their size in units of `ALIGN`.
    small: [Vec<Memory>; SMALL / ALIGN + 1],
    arena: Arena,
    blocks: Vec<Block>,
    counters: Counters,
}

struct Memory(NonNull<u8>);
// SAFETY: memory that nothing else refers to.
unsafe impl Send for Memory {}

/// What the system gave, and where the aligned part of it begins that the arena has.
struct Block {
    memory: Memory,
    layout: Layout,
    start: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    small: [const { Vec::new() }; SMALL / ALIGN + 1],
    arena: Arena::new(),
    blocks: Vec::new(),
    counters: Counters { hits: 0, misses: 0, idle_bytes: 0, live_bytes: 0 },
});

static POISON: AtomicBool = AtomicBool::new(false);

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().expect("no panic holds the pool")
}

/// The largest buffer that is kept by its size.
const SMALL: usize = 16 << 10;

/// All others begin at a page of this size.
const PAGE: usize = 4 << 10;

/// A page of the kind that blocks ask for, where the system has it: small ones are scattered over the physical
/// memory, so that the lines of a map fall on each other in the caches, and each costs a look-up of its address.
const HUGE_PAGE: usize = 2 << 20;

/// The least block. A block is as large as all before it, so that there are few edges between them; what nobody touches of
/// it costs nothing. From this size on an allocator maps zeros instead of writing them.
const BLOCK: usize = 64 << 20;

/// The memory that a request for `bytes` is given.
pub fn capacity(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(if bytes <= SMALL { ALIGN } else { PAGE })
}

impl Pool {
    /// Memory of this capacity, or `None` where the system has none left after what is idle went back to it.
    fn take(&mut self, capacity: usize) -> Option<NonNull<u8>> {
        let kept = match capacity <= SMALL {
            true => self.small[capacity / ALIGN].pop().map(|Memory(ptr)| (ptr, false)),
            false => self.piece(capacity),
        };
        let (ptr, fresh) = match kept {
            Some(found) => found,
            None => self.ask(capacity).or_else(|| {
                self.trim();
                self.ask(capacity)
            })?,
        };
        self.counters.hits += u64::from(!fresh);
        self.counters.misses += u64::from(fresh);
        self.counters.idle_bytes -= capacity as u64;
        self.counters.live_bytes += capacity as u64;
        Some(ptr)
    }

    fn piece(&mut self, capacity: usize) -> Option<(NonNull<u8>, bool)> {
        let Piece { place, fresh } = self.arena.take(capacity)?;
        let ptr = std::ptr::with_exposed_provenance_mut(place);
        Some((NonNull::new(ptr).expect("no block begins at 0"), fresh))
    }

    /// The same of new memory, which counts as idle before it is taken.
    fn ask(&mut self, capacity: usize) -> Option<(NonNull<u8>, bool)> {
        if capacity <= SMALL {
            let ptr = from_system(layout(capacity))?;
            self.counters.idle_bytes += capacity as u64;
            return Some((ptr, true));
        }
        let grown = capacity.max(self.arena.bytes()).max(BLOCK);
        self.add_block(grown).or_else(|| self.add_block(capacity))?;
        self.piece(capacity)
    }

    fn add_block(&mut self, bytes: usize) -> Option<()> {
        let bytes = bytes.next_multiple_of(HUGE_PAGE);
        // A huge page more, to begin at one; and so no block begins where another ends.
        let layout = Layout::from_size_align(bytes + HUGE_PAGE, 1).ok()?;
        // SAFETY: the size is not 0.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let start = (memory.as_ptr().expose_provenance() + 1).next_multiple_of(HUGE_PAGE);
        ask_for_huge_pages(start, bytes);
        self.blocks.push(Block { memory: Memory(memory), layout, start });
        self.arena.add(start, bytes);
        self.counters.idle_bytes += bytes as u64;
        Some(())
    }

    fn give(&mut self, ptr: NonNull<u8>, capacity: usize) {
        self.counters.live_bytes -= capacity as u64;
        self.counters.idle_bytes += capacity as u64;
        match capacity <= SMALL {
            true => self.small[capacity / ALIGN].push(Memory(ptr)),
            false => self.arena.give(ptr.as_ptr().addr(), capacity),
        }
    }

    fn trim(&mut self) {
        for (units, kept) in self.small.iter_mut().enumerate() {
            for Memory(ptr) in kept.drain(..) {
                let layout = layout(units * ALIGN);
                self.counters.idle_bytes -= layout.size() as u64;
                // SAFETY: the memory came from the system with this layout, and nothing refers to it.
                unsafe { dealloc(ptr.as_ptr(), layout) };
            }
        }
        for (start, bytes) in self.arena.release() {
            let at = self.blocks.iter().position(|block| block.start == start).expect("a block of the arena");
            let Block { memory: Memory(ptr), layout, .. } = self.blocks.swap_remove(at);
            self.counters.idle_bytes -= bytes as u64;
            // SAFETY: as above, and no piece of the block is in use.
            unsafe { dealloc(ptr.as_ptr(), layout) };
        }
        for (place, bytes) in self.arena.free() {
            forget(place, bytes);
        }
    }
}

fn layout(capacity: usize) -> Layout {
    let align = if capacity >= HUGE_PAGE { HUGE_PAGE } else { ALIGN };
    Layout::from_size_align(capacity, align).expect("a buffer's size fits in memory")
}

/// Memory of zeros, or `None` where the system has none left.
fn from_system(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: no layout here is of size 0.
    let ptr = NonNull::new(unsafe { alloc(layout) })?;
    if layout.align() == HUGE_PAGE {
        ask_for_huge_pages(ptr.as_ptr().expose_provenance(), layout.size());
    }
    // SAFETY: so many bytes are ours.
    unsafe { ptr.as_ptr().write_bytes(0, layout.size()) };
    Some(ptr)
}

#[cfg(target_os = "linux")]
fn advise(place: usize, bytes: usize, advice: std::ffi::c_int) {
    unsafe extern "C" {
        fn madvise(start: *mut std::ffi::c_void, len: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
    }
    let start = std::ptr::with_exposed_provenance_mut(place);
    // SAFETY: the pages are the pool's, and nobody refers to what they hold; zeros may take its place.
    unsafe { madvise(start, bytes, advice) };
}

/// Asks for huge pages for memory that nobody has touched. Whether they are given only changes the speed.
fn ask_for_huge_pages(place: usize, bytes: usize) {
    #[cfg(target_os = "linux")]
    advise(place, bytes, 14);
    #[cfg(not(target_os = "linux"))]
    let _ = (place, bytes);
}

/// Gives the pages of a free piece back to the system; the next to use it finds zeros.
fn forget(place: usize, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        // Whole pages of the system, which may be larger than ours.
        const MOST: usize = 64 << 10;
        let start = place.next_multiple_of(MOST);
        let end = (place + bytes) / MOST * MOST;
        if start < end {
            advise(start, end - start, 4);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (place, bytes);
}

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
