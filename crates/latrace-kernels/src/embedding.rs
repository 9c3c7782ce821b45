//! Rows of a table by index: token embeddings, and the choice of the rows that have a loss.

use crate::element::Element;
use crate::parallel::{Shared, for_each, for_each_column_block, rows_per_task};

/// `y[i] = table[index[i]]`.
///
/// # Shapes
/// `y`: n×d; `index`: n; `table`: any×d.
pub(crate) fn gather_rows<T: Element>(y: &mut [f32], index: &[u32], table: &[T], d: usize) {
    let step = rows_per_task(d);
    let shared = Shared::new(y);
    for_each(index.len().div_ceil(step), |task| {
        for i in task * step..((task + 1) * step).min(index.len()) {
            // SAFETY: one block of rows per task.
            let row = unsafe { shared.part(i * d, d) };
            row.iter_mut().zip(&table[index[i] as usize * d..][..d]).for_each(|(y, value)| *y = value.wide());
        }
    });
}

/// `table[index[i]] += y[i]`, in order of i: repeated indices add up the same way for any number of threads.
/// The rows of index `skip` are left out.
///
/// # Shapes
/// As [`gather_rows`].
pub(crate) fn scatter_add_rows(table: &mut [f32], index: &[u32], y: &[f32], d: usize, skip: Option<u32>) {
    // By columns: the same token may occur in many rows, which tasks over rows would add at the same time.
    let shared = Shared::new(table);
    for_each_column_block(d, |first, count| {
        for (i, &row) in index.iter().enumerate().filter(|(_, row)| Some(**row) != skip) {
            // SAFETY: one block of columns per task.
            let target = unsafe { shared.part(row as usize * d + first, count) };
            target.iter_mut().zip(&y[i * d + first..][..count]).for_each(|(t, v)| *t += v);
        }
    });
}

/// The definition.
pub fn embedding_reference(index: &[u32], table: &[f64], d: usize) -> Vec<f64> {
    index.iter().flat_map(|&i| &table[i as usize * d..][..d]).copied().collect()
}

/// Gradient of the definition with respect to a table of `rows` rows.
pub fn embedding_backward_reference(dy: &[f64], index: &[u32], rows: usize, d: usize) -> Vec<f64> {
    let mut table = vec![0.0; rows * d];
    for (i, &row) in index.iter().enumerate() {
        (0..d).for_each(|j| table[row as usize * d + j] += dy[i * d + j]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, derivative, inner, values, wide};

    #[test]
    fn follows_the_reference_whose_gradient_is_the_derivative() {
        let (d, index) = (130, [3_u32, 0, 3, 2, 3]);
        let (table, dy) = (values(4 * d, 1), values(5 * d, 2));
        let mut y = vec![0.0; 5 * d];
        gather_rows(&mut y, &index, &table, d);
        close("y", &y, &embedding_reference(&index, &wide(&table), d));
        let mut dtable = vec![0.0; 4 * d];
        scatter_add_rows(&mut dtable, &index, &dy, d, None);
        let expected = embedding_backward_reference(&wide(&dy), &index, 4, d);
        close("dtable", &dtable, &expected);
        let mut skipped = vec![0.0; 4 * d];
        scatter_add_rows(&mut skipped, &index, &dy, d, Some(3));
        dtable[3 * d..].fill(0.0);
        assert_eq!(skipped, dtable);
        derivative("dtable", &wide(&table), &expected, |t| {
            inner(&embedding_reference(&index, t, d), &wide(&dy))
        });
    }
}
