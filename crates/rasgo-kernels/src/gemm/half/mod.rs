//! Products of matrices of bfloat16, summed in `f32`.
//!
//! A kernel makes one tile, `dst[32 rows, 32 columns] (+)= a[rows, k] * b[k, columns]`, thirty-two steps of `k` at a
//! time: as much as a row of a hardware tile holds. Rows of `a` lie anywhere, a fixed distance apart, each contiguous.
//! `b` is packed in *pairs*: two steps of one column are one 32-bit word, the even step below, and a block is
//! `[16 pairs][16 columns]`, which is a hardware tile and sixteen vectors. A panel is `[step / 32][1 or 2 blocks]`.
//!
//! ```text
//!            b: block 0        block 1
//!            16 pairs x 16     16 pairs x 16
//! a: 16 rows x 32 steps   C0                C1
//!    16 rows x 32 steps   C2                C3
//! ```
//!
//! An element of the tile is one sum over `k` in order, so it depends neither on the tile's height nor on what stands
//! beside it. Three kernels do it: tiles (`amx`), dot products of pairs in vectors (`dot`), and on every other level
//! multiplications of `f32` (`wide`). The plain formula beside them is in the tests.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod dot;
pub(crate) mod pack;
#[cfg(test)]
mod tests;
mod wide;

use crate::{Bf16, Isa};

/// Steps that are summed together; every `k` is filled up to a multiple of it, with zeros on both sides.
pub(crate) const STEP: usize = 32;
/// Columns of a block.
pub(crate) const LANES: usize = 16;
/// Words of a block.
pub(crate) const BLOCK: usize = STEP / 2 * LANES;
/// The most rows of a tile.
pub(crate) const ROWS: usize = 32;
/// The most columns of a tile: two blocks.
pub(crate) const COLS: usize = 2 * LANES;

/// One tile's work: `reps` products of `steps * STEP` each, added up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) rows: usize,
    /// Blocks of columns, 1 or 2.
    pub(crate) blocks: usize,
    pub(crate) a: *const Bf16,
    /// Elements from one row of `a` to the next.
    pub(crate) a_row: usize,
    pub(crate) steps: usize,
    pub(crate) reps: usize,
    /// Elements of `a` from the beginning of one product to that of the next.
    pub(crate) a_rep: usize,
    pub(crate) b: *const u32,
    pub(crate) dst: *mut f32,
    pub(crate) dst_row: usize,
    /// Add to what the destination holds, instead of overwriting it.
    pub(crate) accumulate: bool,
}

/// Makes a tile.
///
/// # Safety
/// The CPU has the kernel's instruction set. There is a row, a step and a product; of `a` all steps of every row are
/// readable, of `b` `reps * steps * blocks` blocks, and `rows` rows of `16 * blocks` elements of `dst` are writable, by no
/// one else.
type Kernel = unsafe fn(&Tile);

/// The kernel of a level, ready to be called on this thread.
#[derive(Debug)]
pub(crate) struct Session {
    kernel: Kernel,
    #[cfg(target_arch = "x86_64")]
    _tiles: Option<amx::Session>,
}

impl Session {
    pub(crate) fn begin(isa: Isa) -> Session {
        let kernel: Kernel = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => amx::tile,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => dot::tile,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => wide::avx512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => wide::avx2,
            _ => wide::portable,
        };
        Session {
            kernel,
            // SAFETY: a level is only made by detection, which has asked for the tiles.
            #[cfg(target_arch = "x86_64")]
            _tiles: (isa == Isa::Amx).then(|| unsafe { amx::Session::begin() }),
        }
    }

    /// Makes a tile.
    ///
    /// # Safety
    /// As of [`Kernel`], but for the instruction set.
    #[inline(always)]
    pub(crate) unsafe fn tile(&self, tile: &Tile) {
        // SAFETY: the caller's promise, and the kernel is that of a level that the CPU has.
        unsafe { (self.kernel)(tile) }
    }
}
