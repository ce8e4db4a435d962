//! Memory of the system, and what may be asked of it there.

use std::alloc::{Layout, alloc};
use std::ptr::NonNull;

use super::ALIGN;

/// A page of the kind that blocks ask for, where the system has it: small ones are scattered over the physical
/// memory, so that the lines of a map fall on each other in the caches, and each costs a look-up of its address.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// How memory is asked for that is no part of a block.
pub(super) fn layout(capacity: usize) -> Layout {
    let align = if capacity >= HUGE_PAGE { HUGE_PAGE } else { ALIGN };
    Layout::from_size_align(capacity, align).expect("a buffer's size fits in memory")
}

/// Memory of zeros, or `None` where the system has none left.
pub(super) fn from_system(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: no layout here is of size 0.
    let ptr = NonNull::new(unsafe { alloc(layout) })?;
    if layout.align() == HUGE_PAGE {
        advise_huge_pages(ptr.as_ptr().expose_provenance(), layout.size());
    }
    // SAFETY: so many bytes are ours.
    unsafe { ptr.as_ptr().write_bytes(0, layout.size()) };
    Some(ptr)
}

#[cfg(target_os = "linux")]
const MADV_DONTNEED: std::ffi::c_int = 4;
#[cfg(target_os = "linux")]
const MADV_HUGEPAGE: std::ffi::c_int = 14;

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
pub(super) fn advise_huge_pages(place: usize, bytes: usize) {
    #[cfg(target_os = "linux")]
    advise(place, bytes, MADV_HUGEPAGE);
    #[cfg(not(target_os = "linux"))]
    let _ = (place, bytes);
}

/// Gives the pages of a free piece back to the system; the next to use it finds zeros.
pub(super) fn forget(place: usize, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        // Whole pages of the system, which may be larger than ours.
        const MOST: usize = 64 << 10;
        let start = place.next_multiple_of(MOST);
        let end = (place + bytes) / MOST * MOST;
        if start < end {
            advise(start, end - start, MADV_DONTNEED);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (place, bytes);
}
