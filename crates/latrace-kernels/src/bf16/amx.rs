//! Tiles of AMX (Intel, from Sapphire Rapids on): eight registers of 16 rows of 64 bytes.
//!
//! Its intrinsics are not stable in Rust, so that the instructions are written out.

use std::arch::asm;

/// What `ldtilecfg` reads: all eight registers whole.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_a_row: [u16; 16],
    rows: [u8; 16],
}

static WHOLE: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_of_a_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether the processor has tiles for bf16 and the system lets this process use them.
pub(super) fn is_usable() -> bool {
    has_tiles() && is_permitted()
}

fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & BF16_AND_TILES == BF16_AND_TILES
}

/// Linux gives the state of tiles to processes that ask for it, for all of their threads.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes no memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Makes the registers ready on this thread.
pub(super) fn begin() {
    // SAFETY: the unit is only in use where `is_usable` says so; the configuration is one that its palette has.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly)) };
}

/// Gives the registers back, so that nobody has to save them.
pub(super) fn end() {
    // SAFETY: as in `begin`.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// C (32×32) (+)= A·B over `blocks` tiles of depth.
///
/// # Safety
/// After `begin`. `a`: two rows of tiles, `a_stride` words apart; `b`: a panel; `c`: 32 rows of 32 at stride `ldc`.
pub(super) unsafe fn two(
    blocks: usize,
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    c: *mut f32,
    ldc: usize,
    zero: bool,
) {
    // SAFETY: by the caller.
    unsafe {
        let (c_low, stride) = (c.add(16 * ldc), ldc * 4);
        if zero {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
        } else {
            asm!(
                "tileloadd tmm0, [{c} + {s}]",
                "tileloadd tmm1, [{c} + {s} + 64]",
                "tileloadd tmm2, [{d} + {s}]",
                "tileloadd tmm3, [{d} + {s} + 64]",
                c = in(reg) c, d = in(reg) c_low, s = in(reg) stride, options(nostack, readonly),
            );
        }
        asm!(
            "2:",
            "tileloadd tmm4, [{a} + {row}]",
            "tileloadd tmm6, [{b} + {pair}]",
            "tileloadd tmm7, [{b} + {pair} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a_low} + {row}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 1024",
            "add {a_low}, 1024",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            a = inout(reg) a => _,
            a_low = inout(reg) a.add(a_stride) => _,
            b = inout(reg) b => _,
            row = in(reg) 64_usize,
            pair = in(reg) 128_usize,
            n = inout(reg) blocks => _,
            options(nostack, readonly),
        );
        asm!(
            "tilestored [{c} + {s}], tmm0",
            "tilestored [{c} + {s} + 64], tmm1",
            "tilestored [{d} + {s}], tmm2",
            "tilestored [{d} + {s} + 64], tmm3",
            c = in(reg) c, d = in(reg) c_low, s = in(reg) stride, options(nostack),
        );
    }
}

/// [`two`] with one row of tiles: C is 16×32.
///
/// # Safety
/// As for [`two`].
pub(super) unsafe fn one(blocks: usize, a: *const f32, b: *const f32, c: *mut f32, ldc: usize, zero: bool) {
    // SAFETY: by the caller.
    unsafe {
        let stride = ldc * 4;
        if zero {
            asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem));
        } else {
            asm!(
                "tileloadd tmm0, [{c} + {s}]",
                "tileloadd tmm1, [{c} + {s} + 64]",
                c = in(reg) c, s = in(reg) stride, options(nostack, readonly),
            );
        }
        asm!(
            "2:",
            "tileloadd tmm4, [{a} + {row}]",
            "tileloadd tmm6, [{b} + {pair}]",
            "tileloadd tmm7, [{b} + {pair} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 1024",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            row = in(reg) 64_usize,
            pair = in(reg) 128_usize,
            n = inout(reg) blocks => _,
            options(nostack, readonly),
        );
        asm!(
            "tilestored [{c} + {s}], tmm0",
            "tilestored [{c} + {s} + 64], tmm1",
            c = in(reg) c, s = in(reg) stride, options(nostack),
        );
    }
}
