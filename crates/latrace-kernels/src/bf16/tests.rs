use super::*;
use crate::testing::values;
use half::bf16;
use proptest::prelude::*;

/// The units that this machine has.
fn units() -> Vec<Unit> {
    // A machine with AMX has the other one, too.
    match unit() {
        Some(Unit::Amx) => vec![Unit::Amx, Unit::Dot],
        Some(Unit::Dot) => vec![Unit::Dot],
        None => {
            eprintln!("this machine has no unit for bf16: nothing is held");
            vec![]
        }
    }
}

fn laid_out<T>(data: &[T], rows: usize, columns: usize, transposed: bool) -> Matrix<'_, T> {
    if transposed { Matrix::transposed(data, rows) } else { Matrix::new(data, columns) }
}

fn check([m, n, k]: [usize; 3], [ta, tb]: [bool; 2], start_kind: usize, stride: usize) {
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    let narrow: Vec<_> = b.iter().map(|b| bf16::from_f32(*b)).collect();
    let (row, other) = (values(n, 3), values(m * stride, 4));
    let start = [Start::Zero, Start::Accumulate, Start::Row(&row), Start::Matrix(&other)][start_kind];
    let a = laid_out(&a, m, k, ta);
    for unit in units() {
        let mut expected = values(m * stride, 5);
        let (mut got, mut of_narrow) = (expected.clone(), expected.clone());
        let shape = [m, n, k];
        bf16_product_reference(unit, &mut expected, stride, shape, a, laid_out(&b, k, n, tb), start);
        product(unit, &mut got, stride, shape, a, laid_out(&b, k, n, tb), start);
        assert_eq!(got, expected, "{unit:?} {m}×{n}×{k}");
        product(unit, &mut of_narrow, stride, shape, a, laid_out(&narrow, k, n, tb), start);
        assert_eq!(of_narrow, expected, "{unit:?} {m}×{n}×{k}, B in bf16");
    }
}

#[test]
fn is_bitwise_the_reference_across_blocks() {
    check([200, 70, 600], [false, true], 0, 70);
    // Whole squares over several runs of k.
    check([200, 96, 1400], [false, true], 0, 96);
    check([64, 64, 1400], [false, false], 1, 64);
    check([13, 1100, 300], [true, false], 1, 1104);
    check([97, 33, 257], [false, false], 2, 33);
    check([300, 64, 512], [true, true], 3, 64);
    check([31, 40, 5000], [false, true], 3, 41);
    check([1, 1030, 1100], [true, false], 2, 1030);
    check([3, 4, 0], [false, false], 2, 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn is_bitwise_the_reference(m in 1..70_usize, n in 1..80_usize, k in 0..80_usize, transposed: [bool; 2], start in 0..4_usize, extra in 0..5_usize) {
        check([m, n, k], transposed, start, n + extra);
    }
}

#[test]
fn errors_are_those_of_rounding_the_operands() {
    let [m, n, k] = [40, 50, 2000];
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    for unit in units() {
        let mut c = vec![0.0; m * n];
        product(unit, &mut c, n, [m, n, k], Matrix::new(&a, k), Matrix::new(&b, n), Start::Zero);
        for (at, c) in c.iter().enumerate() {
            let (mut exact, mut squares) = (0.0, 0.0);
            for p in 0..k {
                let term = f64::from(a[at / n * k + p]) * f64::from(b[p * n + at % n]);
                (exact, squares) = (exact + term, squares + term * term);
            }
            // A bf16 has 8 bits: each factor is off by at most 2^-9 of itself, independently; five times the spread of
            // the sum of such errors.
            assert!((f64::from(*c) - exact).abs() < 5.0 * squares.sqrt() / 512.0, "{unit:?} {c} {exact}");
        }
    }
}
