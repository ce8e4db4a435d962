//! Products in hardware tiles (AMX): sixteen rows of 64 bytes, two by two.
//!
//! A [`Session`] configures the tiles of its thread as sixteen rows each; a call with fewer does so for itself and then
//! back, which takes longer than the products of two steps. The compiler knows no tiles, so nothing else touches them.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

use super::{LANES, Tile};

/// Whether the processor has the tiles, and the system gives them to this process.
pub(crate) fn is_usable() -> bool {
    const TILES_AND_BF16: u32 = 1 << 24 | 1 << 22;
    let (leaf, features) = (__cpuid(0).eax, __cpuid_count(7, 0).edx);
    let system_saves = __cpuid(1).ecx >> 27 & 1 == 1;
    leaf >= 7 && features & TILES_AND_BF16 == TILES_AND_BF16 && system_saves && is_granted()
}

/// Asks the system for the state that tiles have, once for all threads.
#[cfg(target_os = "linux")]
fn is_granted() -> bool {
    const CONFIGURATION_AND_DATA: u32 = 3 << 17;
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let (saved, result): (u32, isize);
    // SAFETY: the processor says that the system has turned the first instruction on; the call changes what this process
    // may use, and no memory.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nomem, nostack));
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    saved & CONFIGURATION_AND_DATA == CONFIGURATION_AND_DATA && result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_granted() -> bool {
    false
}

/// The shapes of the eight tiles, as the processor wants them: 0 to 3 are sums, 4 and 5 hold `a`, 6 and 7 `b`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    const WHOLE: Configuration = Configuration::of(2 * LANES);

    /// For a tile of so many rows.
    const fn of(rows: usize) -> Configuration {
        let upper = if rows < LANES { rows as u8 } else { LANES as u8 };
        let lower = if rows <= LANES { 1 } else { (rows - LANES) as u8 };
        Configuration {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
            rows: [upper, upper, lower, lower, upper, lower, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// # Safety
    /// The tiles are usable.
    unsafe fn load(&self) {
        // SAFETY: the caller's promise, and the configuration is a valid one.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, readonly)) };
    }
}

/// While it lives, the tiles of this thread are configured.
#[derive(Debug)]
pub(super) struct Session(());

impl Session {
    /// # Safety
    /// The tiles are usable.
    pub(super) unsafe fn begin() -> Session {
        // SAFETY: the caller's promise.
        unsafe { Configuration::WHOLE.load() };
        Session(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: they were configured, so they are usable.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// What the assembly reads of a call.
#[repr(C)]
struct Call {
    steps: usize,
    /// Counted down.
    reps: usize,
    /// Bytes from the end of a product in `a` to the beginning of the next.
    skip: usize,
    dst: *mut f32,
    /// In bytes.
    dst_row: usize,
    accumulate: usize,
}

impl Call {
    #[inline(always)]
    fn new(t: &Tile) -> Call {
        Call {
            steps: t.steps,
            reps: t.reps,
            skip: (2 * t.a_rep).wrapping_sub(64 * t.steps),
            dst: t.dst,
            dst_row: 4 * t.dst_row,
            accumulate: usize::from(t.accumulate),
        }
    }
}

/// The function of a tile of so many rows and blocks: how sums are loaded, begun and stored, and what a step does. In
/// `{to}` is the destination, in `{row}` the distance of its rows; sixteen rows further on after `lower`.
macro_rules! tile_fn {
    ($name:ident, $block_bytes:literal, [$($load:literal)*], [$($zero:literal)*], [$($step:literal)*], [$($store:literal)*]) => {
        #[inline(never)]
        unsafe fn $name(t: &Tile) {
            let mut call = Call::new(t);
            let a_row = 2 * t.a_row;
            // SAFETY: the caller promises what is read and written; the lower rows are touched only where they are used.
            unsafe {
                asm!(
                    "mov {to}, [{call} + 24]",
                    "mov {row}, [{call} + 32]",
                    "cmp qword ptr [{call} + 40], 0",
                    "je 20f",
                    $($load,)*
                    "jmp 21f",
                    "20:",
                    $($zero,)*
                    "21:",
                    "mov {left}, [{call}]",
                    "22:",
                    $($step,)*
                    "add {a}, 64",
                    "add {lower}, 64",
                    concat!("add {b}, ", $block_bytes),
                    "dec {left}",
                    "jnz 22b",
                    "add {a}, [{call} + 16]",
                    "add {lower}, [{call} + 16]",
                    "dec qword ptr [{call} + 8]",
                    "jnz 21b",
                    "mov {to}, [{call} + 24]",
                    $($store,)*
                    call = in(reg) &raw mut call,
                    a = inout(reg) t.a => _,
                    lower = inout(reg) t.a.wrapping_add(LANES * t.a_row) => _,
                    a_row = in(reg) a_row,
                    b = inout(reg) t.b => _,
                    b_row = in(reg) 64usize,
                    left = out(reg) _,
                    to = out(reg) _,
                    row = out(reg) _,
                    options(nostack)
                );
            }
        }
    };
}

tile_fn!(
    two_by_two,
    "2048",
    ["tileloadd tmm0, [{to} + {row}]" "tileloadd tmm1, [{to} + {row} + 64]"
     "mov {left}, {row}" "shl {left}, 4" "add {to}, {left}"
     "tileloadd tmm2, [{to} + {row}]" "tileloadd tmm3, [{to} + {row} + 64]"],
    ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
    ["tileloadd tmm6, [{b} + {b_row}]" "tileloadd tmm4, [{a} + {a_row}]" "tdpbf16ps tmm0, tmm4, tmm6"
     "tileloadd tmm7, [{b} + {b_row} + 1024]" "tdpbf16ps tmm1, tmm4, tmm7"
     "tileloadd tmm5, [{lower} + {a_row}]" "tdpbf16ps tmm2, tmm5, tmm6" "tdpbf16ps tmm3, tmm5, tmm7"],
    ["tilestored [{to} + {row}], tmm0" "tilestored [{to} + {row} + 64], tmm1"
     "mov {left}, {row}" "shl {left}, 4" "add {to}, {left}"
     "tilestored [{to} + {row}], tmm2" "tilestored [{to} + {row} + 64], tmm3"]
);

tile_fn!(
    two_by_one,
    "1024",
    ["tileloadd tmm0, [{to} + {row}]" "mov {left}, {row}" "shl {left}, 4" "add {to}, {left}"
     "tileloadd tmm2, [{to} + {row}]"],
    ["tilezero tmm0" "tilezero tmm2"],
    ["tileloadd tmm6, [{b} + {b_row}]" "tileloadd tmm4, [{a} + {a_row}]" "tdpbf16ps tmm0, tmm4, tmm6"
     "tileloadd tmm5, [{lower} + {a_row}]" "tdpbf16ps tmm2, tmm5, tmm6"],
    ["tilestored [{to} + {row}], tmm0" "mov {left}, {row}" "shl {left}, 4" "add {to}, {left}"
     "tilestored [{to} + {row}], tmm2"]
);

tile_fn!(
    one_by_two,
    "2048",
    ["tileloadd tmm0, [{to} + {row}]" "tileloadd tmm1, [{to} + {row} + 64]"],
    ["tilezero tmm0" "tilezero tmm1"],
    ["tileloadd tmm6, [{b} + {b_row}]" "tileloadd tmm4, [{a} + {a_row}]" "tdpbf16ps tmm0, tmm4, tmm6"
     "tileloadd tmm7, [{b} + {b_row} + 1024]" "tdpbf16ps tmm1, tmm4, tmm7"],
    ["tilestored [{to} + {row}], tmm0" "tilestored [{to} + {row} + 64], tmm1"]
);

tile_fn!(
    one_by_one,
    "1024",
    ["tileloadd tmm0, [{to} + {row}]"],
    ["tilezero tmm0"],
    ["tileloadd tmm6, [{b} + {b_row}]" "tileloadd tmm4, [{a} + {a_row}]" "tdpbf16ps tmm0, tmm4, tmm6"],
    ["tilestored [{to} + {row}], tmm0"]
);

/// As [`Kernel`](super::Kernel).
///
/// # Safety
/// As there.
pub(super) unsafe fn tile(tile: &Tile) {
    let whole = tile.rows.is_multiple_of(LANES);
    // SAFETY: the caller's promise; it has a session, to whose configuration the tiles return.
    unsafe {
        if !whole {
            Configuration::of(tile.rows).load();
        }
        match (tile.rows > LANES, tile.blocks > 1) {
            (true, true) => two_by_two(tile),
            (true, false) => two_by_one(tile),
            (false, true) => one_by_two(tile),
            (false, false) => one_by_one(tile),
        }
        if !whole {
            Configuration::WHOLE.load();
        }
    }
}
