//! y = x·Wᵀ + b, with W stored as out×in, the way checkpoints hold it.

use crate::compute::Product;
use crate::element::Element;
use crate::gemm::{Matrix, MatrixProduct, Start};
use crate::parallel::{Shared, for_each, for_each_column_block, rows_per_task};

/// y = start + x·Wᵀ.
///
/// # Shapes
/// `y`: rows×outputs; `x`: rows×inputs; `w`: outputs×inputs.
pub(crate) fn linear<T: Element>(
    product: Product,
    y: &mut [f32],
    x: &[f32],
    w: &[T],
    rows: usize,
    inputs: usize,
    start: Start<'_>,
) {
    let outputs = w.len() / inputs;
    product.product(
        y,
        outputs,
        rows,
        outputs,
        inputs,
        Matrix::new(x, inputs),
        Matrix::transposed(w, inputs),
        start,
    );
}

/// dx = start + dy·W.
///
/// # Shapes
/// As [`linear`].
pub(crate) fn linear_input_gradient<T: Element>(
    product: Product,
    dx: &mut [f32],
    dy: &[f32],
    w: &[T],
    rows: usize,
    inputs: usize,
    start: Start<'_>,
) {
    let outputs = w.len() / inputs;
    product.product(
        dx,
        inputs,
        rows,
        inputs,
        outputs,
        Matrix::new(dy, outputs),
        Matrix::new(w, inputs),
        start,
    );
}

/// dW += dyᵀ·x, a sum over the rows.
///
/// # Shapes
/// As [`linear`].
pub(crate) fn linear_weight_gradient(
    product: Product,
    dw: &mut [f32],
    dy: &[f32],
    x: &[f32],
    rows: usize,
    inputs: usize,
) {
    let outputs = dw.len() / inputs;
    product.product(
        dw,
        inputs,
        outputs,
        inputs,
        rows,
        Matrix::transposed(dy, outputs),
        Matrix::new(x, inputs),
        Start::Accumulate,
    );
}

/// y += b, on every row; nothing without a bias.
pub(crate) fn add_bias(y: &mut [f32], b: Option<&[f32]>) {
    let Some(b) = b else { return };
    let (width, rows) = (b.len(), y.len() / b.len());
    let step = rows_per_task(width);
    let shared = Shared::new(y);
    for_each(rows.div_ceil(step), |task| {
        let count = step.min(rows - task * step);
        // SAFETY: one block of rows per task.
        let y = unsafe { shared.part(task * step * width, count * width) };
        y.chunks_exact_mut(width).for_each(|row| row.iter_mut().zip(b).for_each(|(y, b)| *y += b));
    });
}

/// db += Σ_rows dy, in order of the rows.
pub(crate) fn bias_gradient(db: &mut [f32], dy: &[f32]) {
    let width = db.len();
    let shared = Shared::new(db);
    for_each_column_block(width, |first, count| {
        // SAFETY: one block of columns per task.
        let db = unsafe { shared.part(first, count) };
        for row in dy.chunks_exact(width) {
            db.iter_mut().zip(&row[first..first + count]).for_each(|(b, y)| *b += y);
        }
    });
}

/// The definition.
pub fn linear_reference(x: &[f64], w: &[f64], b: &[f64], inputs: usize) -> Vec<f64> {
    let row = |x: &[f64]| {
        w.chunks_exact(inputs)
            .zip(b)
            .map(|(w, b)| b + x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>())
            .collect::<Vec<_>>()
    };
    x.chunks_exact(inputs).flat_map(row).collect()
}

/// Gradients (dx, dw, db) of the definition.
pub fn linear_backward_reference(
    dy: &[f64],
    x: &[f64],
    w: &[f64],
    inputs: usize,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let outputs = w.len() / inputs;
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; outputs]);
    for (t, dy) in dy.chunks_exact(outputs).enumerate() {
        for o in 0..outputs {
            db[o] += dy[o];
            for i in 0..inputs {
                dx[t * inputs + i] += dy[o] * w[o * inputs + i];
                dw[o * inputs + i] += dy[o] * x[t * inputs + i];
            }
        }
    }
    (dx, dw, db)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Sum;
    use crate::testing::{close, derivative, inner, values, wide};

    #[test]
    fn follows_the_reference_whose_gradient_is_the_derivative() {
        let (rows, inputs, outputs) = (5, 7, 70);
        let (x, w, b, dy) = (
            values(rows * inputs, 1),
            values(outputs * inputs, 2),
            values(outputs, 3),
            values(rows * outputs, 4),
        );
        let (wx, ww, wb, wdy) = (wide(&x), wide(&w), wide(&b), wide(&dy));
        let mut y = vec![0.0; rows * outputs];
        linear(Sum::Blocks.into(), &mut y, &x, &w, rows, inputs, Start::Row(&b));
        close("y", &y, &linear_reference(&wx, &ww, &wb, inputs));
        linear(Sum::Blocks.into(), &mut y, &x, &w, rows, inputs, Start::Zero);
        add_bias(&mut y, Some(&b));
        close("y", &y, &linear_reference(&wx, &ww, &wb, inputs));
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; outputs]);
        linear_input_gradient(Sum::Blocks.into(), &mut dx, &dy, &w, rows, inputs, Start::Zero);
        linear_weight_gradient(Sum::Chain.into(), &mut dw, &dy, &x, rows, inputs);
        bias_gradient(&mut db, &dy);
        let expected = linear_backward_reference(&wdy, &wx, &ww, inputs);
        close("dx", &dx, &expected.0);
        close("dw", &dw, &expected.1);
        close("db", &db, &expected.2);
        derivative("dx", &wx, &expected.0, |x| inner(&linear_reference(x, &ww, &wb, inputs), &wdy));
        derivative("dw", &ww, &expected.1, |w| inner(&linear_reference(&wx, w, &wb, inputs), &wdy));
        derivative("db", &wb, &expected.2, |b| inner(&linear_reference(&wx, &ww, b, inputs), &wdy));
    }
}
