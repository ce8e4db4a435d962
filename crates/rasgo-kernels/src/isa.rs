//! Instruction sets, found at run time.

use std::sync::OnceLock;

/// An instruction-set level, in rising order. Every level includes those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// What the compiler's base target has (SSE2 on x86-64).
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, VL, BW, DQ.
    Avx512,
    /// Products of bfloat16 in vectors (AVX-512 BF16).
    Avx512Bf16,
    /// Products of bfloat16 in tiles (AMX), where the system lets a process use them.
    Amx,
}

/// Every level, lowest first.
const LEVELS: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

impl Isa {
    /// The best level of this machine.
    pub fn detected() -> Isa {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(detect)
    }

    /// The level in force on this thread: the detected one, capped by `RASGO_MAX_ISA` or
    /// [`with_isa`](crate::settings::with_isa).
    pub fn current() -> Isa {
        crate::settings::isa()
    }

    /// Every level that this machine has, lowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        LEVELS.into_iter().filter(|&isa| isa <= Isa::detected())
    }

    /// The level whose vectors of `f32` this one has.
    pub fn vectors(self) -> Isa {
        self.min(Isa::Avx512)
    }

    /// `portable`, `avx2`, `avx512`, `avx512_bf16` or `amx`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512_bf16",
            Isa::Amx => "amx",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Isa> {
        LEVELS.into_iter().find(|isa| isa.name() == name)
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq");
    match (avx2, avx512) {
        (true, true) if !is_x86_feature_detected!("avx512bf16") => Isa::Avx512,
        (true, true) if !crate::gemm::half::amx::is_usable() => Isa::Avx512Bf16,
        (true, true) => Isa::Amx,
        (true, false) => Isa::Avx2,
        _ => Isa::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}

/// Defines a function whose one body is compiled for every instruction set; the level is its first argument.
///
/// The body must not call anything that is not inlined into it, or that part stays at the base level.
/// It holds no fused multiply-add unless it says so, so all levels give the same bits.
macro_rules! isa_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($T:ident : $bound:path),+>)? (
        $($arg:ident : $ty:ty),* $(,)?
    ) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$($T: $bound),+>)? (isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$($T),+>)? ($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
            fn avx512 $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$($T),+>)? ($($arg),*) }

            match isa.vectors() {
                // SAFETY: a level is only ever made by detection, so the CPU has these features.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512 => unsafe { avx512 $(::<$($T),+>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 => unsafe { avx2 $(::<$($T),+>)? ($($arg),*) },
                _ => body $(::<$($T),+>)? ($($arg),*),
            }
        }
    };
}
pub(crate) use isa_fn;
