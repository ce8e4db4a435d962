//! What is given back, kept for who asks next: small buffers by size, all others as pieces of large blocks.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

use super::arena::{Arena, Piece};
use super::system::{HUGE_PAGE, advise_huge_pages, forget, from_system, layout};
use super::{ALIGN, Counters};

/// The largest buffer that is kept by its size.
const SMALL: usize = 16 << 10;

/// All others begin at a page of this size.
const PAGE: usize = 4 << 10;

/// The least block. A block is as large as all before it, so that there are few edges between them; what nobody touches of
/// it costs nothing. From this size on an allocator maps zeros instead of writing them.
const BLOCK: usize = 64 << 20;

/// The memory that a request for `bytes` is given.
pub(super) fn capacity(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(if bytes <= SMALL { ALIGN } else { PAGE })
}

/// What is kept, and what was done so far: one lock for all of it.
pub(super) struct Pool {
    /// Small buffers, by their size in units of `ALIGN`.
    small: [Vec<Memory>; SMALL / ALIGN + 1],
    arena: Arena,
    blocks: Vec<Block>,
    pub(super) counters: Counters,
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

pub(super) fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().expect("no panic holds the pool")
}

impl Pool {
    /// Memory of this capacity, or `None` where the system has none left after what is idle went back to it.
    pub(super) fn take(&mut self, capacity: usize) -> Option<NonNull<u8>> {
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
        advise_huge_pages(start, bytes);
        self.blocks.push(Block { memory: Memory(memory), layout, start });
        self.arena.add(start, bytes);
        self.counters.idle_bytes += bytes as u64;
        Some(())
    }

    pub(super) fn give(&mut self, ptr: NonNull<u8>, capacity: usize) {
        self.counters.live_bytes -= capacity as u64;
        self.counters.idle_bytes += capacity as u64;
        match capacity <= SMALL {
            true => self.small[capacity / ALIGN].push(Memory(ptr)),
            false => self.arena.give(ptr.as_ptr().addr(), capacity),
        }
    }

    pub(super) fn trim(&mut self) {
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
