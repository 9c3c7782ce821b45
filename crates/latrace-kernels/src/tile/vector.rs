//! Tiles of vectors, written once for every width.

/// `$acc` += x·b for one step over k, whose row of B is `$b`; then the next step of A.
macro_rules! multiply {
    ($acc:ident, $a:ident, $row:ident, $step:ident, $b:expr) => {{
        let [low, high] = $b;
        for (i, c) in $acc.iter_mut().enumerate() {
            let x = set(*$a[i / 3].add(i % 3 * $row));
            *c = [fmadd(x, low, c[0]), fmadd(x, high, c[1])];
        }
        $a = $a.map(|a| a.wrapping_add($step));
    }};
}

/// What the sums of a tile begin as: what is in C if `$from_c`, else zero.
macro_rules! begin {
    ($rows:ident, $c:ident, $ldc:ident, $from_c:expr) => {{
        let mut acc = [[setzero(); 2]; $rows];
        if $from_c {
            for (i, row) in acc.iter_mut().enumerate() {
                *row = [load($c.add(i * $ldc)), load($c.add(i * $ldc + LANES))];
            }
        }
        acc
    }};
}

/// The sums into C: added to what is there if `$add`.
macro_rules! put {
    ($acc:ident, $c:ident, $ldc:ident, $add:expr) => {{
        for (i, &[mut low, mut high]) in $acc.iter().enumerate() {
            let c = $c.add(i * $ldc);
            if $add {
                (low, high) = (add(load(c), low), add(load(c.add(LANES)), high));
            }
            store(c, low);
            store(c.add(LANES), high);
        }
    }};
}
pub(super) use {begin, multiply, put};

/// Defines `tile` and `pairs` in a module that names the instructions: `add`, `and_bits`, `as_floats`, `fmadd`, `load`,
/// `load_bits`, `set_bits`, `set`, `setzero`, `shift_left` and `store`. Rows of a tile are two vectors of `$lanes`; every
/// third row of A has a pointer, and the two after it are within reach of an address.
macro_rules! vector_tiles {
    (feature: $feature:literal, lanes: $lanes:literal, rows_with_pointers: $pointed:expr) => {
        const LANES: usize = $lanes;

        /// A tile of MR rows; see [`super::Tile`].
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn tile<const MR: usize, const CHAIN: bool>(
            k: usize,
            a: *const f32,
            [row, step]: [usize; 2],
            mut b: *const f32,
            b_row: usize,
            c: *mut f32,
            ldc: usize,
            zero: bool,
            mut ahead: Ahead,
        ) {
            // SAFETY: the caller gives MR rows of k values at the strides, k rows of two vectors at b_row, and a tile of MR
            // such rows at stride ldc.
            unsafe {
                let mut a = $pointed.map(|i: usize| a.wrapping_add(i * row));
                for block in (0..k).step_by(if CHAIN { k } else { BLOCK }) {
                    let is_first = zero && block == 0;
                    let mut acc = begin!(MR, c, ldc, CHAIN && !is_first);
                    for _ in 0..if CHAIN { k } else { BLOCK.min(k - block) } {
                        ahead.fetch(2 * LANES);
                        multiply!(acc, a, row, step, [load(b), load(b.add(LANES))]);
                        b = b.wrapping_add(b_row);
                    }
                    put!(acc, c, ldc, !CHAIN && !is_first);
                }
            }
        }

        /// A tile of MR rows over pairs; see [`super::Tiles`].
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn pairs<const MR: usize, const CHAIN: bool>(
            k: usize,
            a: *const f32,
            [row, step]: [usize; 2],
            mut b: *const f32,
            b_row: usize,
            c: *mut f32,
            ldc: usize,
            zero: bool,
            mut ahead: Ahead,
        ) {
            // SAFETY: as above, with rows of B for two steps each.
            unsafe {
                let upper = set_bits(!0 << 16);
                let mut a = $pointed.map(|i: usize| a.wrapping_add(i * row));
                for block in (0..k).step_by(if CHAIN { k } else { BLOCK }) {
                    let is_first = zero && block == 0;
                    let mut acc = begin!(MR, c, ldc, CHAIN && !is_first);
                    for first in (block..if CHAIN { k } else { k.min(block + BLOCK) }).step_by(2) {
                        ahead.fetch(2 * LANES);
                        let (low, high) = (load_bits(b.cast()), load_bits(b.add(LANES).cast()));
                        // A value of bf16 is the upper half of the f32 that it equals.
                        let even = [shift_left::<16>(low), shift_left::<16>(high)];
                        multiply!(acc, a, row, step, [as_floats(even[0]), as_floats(even[1])]);
                        if first + 1 < k {
                            let odd = [and_bits(low, upper), and_bits(high, upper)];
                            multiply!(acc, a, row, step, [as_floats(odd[0]), as_floats(odd[1])]);
                        }
                        b = b.wrapping_add(b_row);
                    }
                    put!(acc, c, ldc, !CHAIN && !is_first);
                }
            }
        }
    };
}
pub(super) use vector_tiles;
