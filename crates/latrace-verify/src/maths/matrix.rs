//! Matrices: sums, products, whole powers and determinants by their entries.

use super::exact;
use super::parts::Same;
use super::syntax::{Expression, Function};

type Row = Vec<Expression>;

/// Entries by row.
type Rows = Vec<Row>;

// Bounds on work: matrices of answers have few rows, and products of symbols grow with every factor.

/// The most rows and columns of a product or power.
const MOST_SIZE: usize = 8;
/// The highest power.
const MOST_POWER: i64 = 8;
/// The most operations in an entry that is computed.
const MOST_NODES: usize = 400;

/// Two matrices, or what is computed from matrices.
pub(super) fn same_matrix(gold: &Expression, answer: &Expression, same: Same) -> bool {
    rows(gold).zip(rows(answer)).is_some_and(|(one, two)| {
        let mut entries = one.iter().flatten().zip(two.iter().flatten());
        shape(&one) == shape(&two) && entries.all(|(one, two)| same(one, two))
    })
}

fn shape(rows: &Rows) -> Vec<usize> {
    rows.iter().map(Vec::len).collect()
}

/// Whether an expression is computed from a matrix.
pub(super) fn is_matrix(expression: &Expression) -> bool {
    match expression {
        Expression::Matrix(_) => true,
        Expression::Negative(inner) => is_matrix(inner),
        Expression::Sum(parts) | Expression::Product(parts) => parts.iter().any(is_matrix),
        Expression::Quotient(pair) | Expression::Power(pair) => is_matrix(&pair.0),
        _ => false,
    }
}

fn rows(expression: &Expression) -> Option<Rows> {
    match expression {
        Expression::Matrix(rows) => Some(rows.clone()),
        Expression::Negative(inner) => scaled(&rows(inner)?, &Expression::integer(-1)),
        Expression::Sum(parts) => reduced(parts, added),
        Expression::Product(parts) => product(parts),
        Expression::Quotient(pair) => scaled(&rows(&pair.0)?, &inverse(&pair.1)),
        Expression::Power(pair) => power(&pair.0, &pair.1),
        _ => None,
    }
}

fn inverse(value: &Expression) -> Expression {
    Expression::quotient(Expression::integer(1), value.clone())
}

/// Matrices joined one after another.
fn reduced(parts: &[Expression], join: fn(&Rows, &Rows) -> Option<Rows>) -> Option<Rows> {
    let (first, others) = parts.split_first()?;
    others.iter().try_fold(rows(first)?, |joined, part| join(&joined, &rows(part)?))
}

fn product(parts: &[Expression]) -> Option<Rows> {
    // Scalars commute, matrices do not: their order is kept.
    let (matrices, mut scalars): (Vec<_>, Vec<_>) = parts.iter().cloned().partition(is_matrix);
    let product = reduced(&matrices, multiplied)?;
    match scalars.len() {
        0 => Some(product),
        1 => scaled(&product, &scalars.remove(0)),
        _ => scaled(&product, &Expression::Product(scalars)),
    }
}

/// A matrix to a power from 1 to [`MOST_POWER`]; inverses and roots of matrices are not computed.
fn power(base: &Expression, exponent: &Expression) -> Option<Rows> {
    let base = rows(base)?;
    let whole = exact::rational(exponent).filter(|exponent| exponent.is_integer())?;
    let power = i64::try_from(whole.to_integer()).ok().filter(|power| (1..=MOST_POWER).contains(power))?;
    (1..power).try_fold(base.clone(), |product, _| multiplied(&product, &base))
}

/// An entry in as few operations as exact arithmetic gives; `None` where they are too many.
fn entry(value: Expression) -> Option<Expression> {
    match exact::rational(&value) {
        Some(exact) => Some(Expression::exactly(exact)),
        None => (value.nodes() <= MOST_NODES).then_some(value),
    }
}

fn scaled(rows: &Rows, factor: &Expression) -> Option<Rows> {
    rows.iter().map(|row| row.iter().map(|part| entry(factor.times(part))).collect()).collect()
}

fn added(one: &Rows, two: &Rows) -> Option<Rows> {
    let pairs = one.iter().zip(two);
    (shape(one) == shape(two)).then(|| pairs.map(|(one, two)| added_row(one, two)).collect())?
}

fn added_row(one: &Row, two: &Row) -> Option<Row> {
    one.iter().zip(two).map(|(one, two)| entry(one.plus(two))).collect()
}

fn multiplied(one: &Rows, two: &Rows) -> Option<Rows> {
    let (inner, columns) = (two.len(), two.first()?.len());
    let fits = one.iter().all(|row| row.len() == inner) && two.iter().all(|row| row.len() == columns);
    let is_small = one.len().max(inner).max(columns) <= MOST_SIZE;
    let product = |row: &Row| (0..columns).map(|column| dot(row, two, column)).collect();
    (fits && is_small).then(|| one.iter().map(product).collect())?
}

/// A row times a column of `rows`.
fn dot(row: &Row, rows: &Rows, column: usize) -> Option<Expression> {
    let products = row.iter().zip(rows).map(|(left, below)| left.times(&below[column]));
    entry(Expression::Sum(products.collect()))
}

/// The determinant of rows by its first row's cofactors; a call of the function where that takes too many
/// operations.
pub(super) fn determinant(rows: Rows) -> Expression {
    expanded(&rows).unwrap_or_else(|| Expression::Call(Function::Determinant, vec![Expression::Matrix(rows)]))
}

fn expanded(rows: &[Row]) -> Option<Expression> {
    const MOST: usize = 5;
    // Cofactors take n! products; by five rows an answer writes the number.
    if rows.is_empty() || rows.len() > MOST || rows.iter().any(|row| row.len() != rows.len()) {
        return None;
    }
    if let [row] = rows {
        return entry(row[0].clone());
    }
    let terms = (0..rows.len()).map(|column| cofactor(rows, column)).collect::<Option<Vec<_>>>()?;
    entry(Expression::Sum(terms))
}

/// The first row's entry in a column times the determinant of the other rows without that column, with the
/// sign of its place.
fn cofactor(rows: &[Row], column: usize) -> Option<Expression> {
    let without = |row: &Row| [&row[..column], &row[column + 1..]].concat();
    let minor: Rows = rows[1..].iter().map(without).collect();
    let product = rows[0][column].times(&expanded(&minor)?);
    Some(if column.is_multiple_of(2) { product } else { Expression::negative(product) })
}
