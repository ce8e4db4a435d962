//! The one place below the command that reads the environment, and the setters that override it.
//!
//! | variable | meaning |
//! |---|---|
//! | `RASGO_THREADS` | threads for computing; default: all that the process may use |
//! | `RASGO_MAX_ISA` | `portable`, `avx2`, `avx512`, `avx512_bf16` or `amx`: the highest instruction set to use |
//! | `RASGO_DATA` | a folder that holds data sets, as `$RASGO_DATA/mnist` |

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::Isa;

/// Settings of one call, on the thread that makes it; `None` means the process-wide setting.
#[derive(Clone, Copy, Debug, Default)]
struct Overrides {
    threads: Option<usize>,
    isa: Option<Isa>,
    exact: Option<bool>,
}

thread_local! {
    static OVERRIDES: Cell<Overrides> = const { Cell::new(Overrides { threads: None, isa: None, exact: None }) };
}

static THREADS: AtomicUsize = AtomicUsize::new(0);
static EXACT: AtomicBool = AtomicBool::new(false);

/// The number of threads that a region begun on this thread may use, the caller among them.
pub fn threads() -> usize {
    if let Some(n) = OVERRIDES.get().threads {
        return n;
    }
    match THREADS.load(Ordering::Relaxed) {
        0 => default_threads(),
        n => n,
    }
}

/// Sets the number of threads for the whole process; 0 goes back to the default.
pub fn set_threads(n: usize) {
    THREADS.store(n, Ordering::Relaxed);
}

/// Processors that this process may use.
pub fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn default_threads() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    *DEFAULT.get_or_init(|| {
        let asked = std::env::var("RASGO_THREADS").ok().and_then(|text| text.trim().parse().ok());
        asked.filter(|&n| n > 0).unwrap_or_else(processors)
    })
}

/// Runs `body` with another number of threads, for the calls that this thread makes inside it.
pub fn with_threads<R>(n: usize, body: impl FnOnce() -> R) -> R {
    with_overrides(Overrides { threads: Some(n.max(1)), ..OVERRIDES.get() }, body)
}

/// Runs `body` with a lower instruction set, for the calls that this thread makes inside it.
/// A level that the machine lacks is lowered to the best that it has.
pub fn with_isa<R>(isa: Isa, body: impl FnOnce() -> R) -> R {
    with_overrides(Overrides { isa: Some(isa.min(Isa::detected())), ..OVERRIDES.get() }, body)
}

/// Whether kernels keep to algorithms whose rounding error is that of the plain sum: no Winograd convolution.
pub fn exact() -> bool {
    OVERRIDES.get().exact.unwrap_or_else(|| EXACT.load(Ordering::Relaxed))
}

/// Sets [`exact`] for the whole process.
pub fn set_exact(on: bool) {
    EXACT.store(on, Ordering::Relaxed);
}

/// Runs `body` with [`exact`] on or off, for the calls that this thread makes inside it.
pub fn with_exact<R>(on: bool, body: impl FnOnce() -> R) -> R {
    with_overrides(Overrides { exact: Some(on), ..OVERRIDES.get() }, body)
}

fn with_overrides<R>(new: Overrides, body: impl FnOnce() -> R) -> R {
    struct Restore(Overrides);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVERRIDES.set(self.0);
        }
    }
    let _restore = Restore(OVERRIDES.replace(new));
    body()
}

pub(crate) fn isa() -> Isa {
    OVERRIDES.get().isa.unwrap_or_else(|| {
        static CAPPED: OnceLock<Isa> = OnceLock::new();
        *CAPPED.get_or_init(|| {
            let cap = std::env::var("RASGO_MAX_ISA").ok().and_then(|text| Isa::from_name(text.trim()));
            cap.map_or(Isa::detected(), |cap| cap.min(Isa::detected()))
        })
    })
}

/// The folder that `RASGO_DATA` names, if it names one.
pub fn data_folder() -> Option<std::path::PathBuf> {
    std::env::var_os("RASGO_DATA").filter(|text| !text.is_empty()).map(Into::into)
}
