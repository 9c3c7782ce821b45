//! Matrices: sums, products, whole powers and determinants by their entries.

use super::exact;
use super::parts::Same;
use super::syntax::{Expression, Function, Written};

/// Entries by row.
type Rows = Vec<Vec<Expression>>;

/// The most rows and columns of a product or power.
const MOST_SIZE: usize = 8;
/// The highest power.
const MOST_POWER: i64 = 8;
/// The most operations in an entry that is computed.
const MOST_NODES: usize = 400;

/// Two matrices, or what is computed from matrices.
pub(super) fn same_matrix(gold: &Expression, answer: &Expression, same: Same) -> bool {
    let (Some(one), Some(two)) = (rows(gold), rows(answer)) else {
        return false;
    };
    let shape = |rows: &Rows| rows.iter().map(Vec::len).collect::<Vec<_>>();
    shape(&one) == shape(&two)
        && one.iter().flatten().zip(two.iter().flatten()).all(|(one, two)| same(one, two))
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
        Expression::Quotient(pair) => {
            scaled(&rows(&pair.0)?, &Expression::quotient(Expression::integer(1), pair.1.clone()))
        }
        Expression::Power(pair) => power(&pair.0, &pair.1),
        _ => None,
    }
}

/// Matrices joined one after another.
fn reduced(parts: &[Expression], join: fn(&Rows, &Rows) -> Option<Rows>) -> Option<Rows> {
    let mut all = parts.iter().map(rows);
    let first = all.next()??;
    all.try_fold(first, |joined, part| join(&joined, &part?))
}

fn product(parts: &[Expression]) -> Option<Rows> {
    // Scalars commute, matrices do not: their order is kept.
    let (matrices, mut scalars): (Vec<Expression>, Vec<Expression>) =
        parts.iter().cloned().partition(is_matrix);
    let product = reduced(&matrices, multiplied)?;
    match scalars.len() {
        0 => Some(product),
        1 => scaled(&product, &scalars.remove(0)),
        _ => scaled(&product, &Expression::Product(scalars)),
    }
}

/// A matrix to a power from 1 to [`MOST_POWER`]; inverses and roots of matrices are not computed.
fn power(base: &Expression, exponent: &Expression) -> Option<Rows> {
    let (base, exponent) = (rows(base)?, exact::rational(exponent)?);
    let whole = exponent.is_integer().then(|| i64::try_from(exponent.to_integer()).ok())?;
    let whole = whole.filter(|whole| (1..=MOST_POWER).contains(whole))?;
    (1..whole).try_fold(base.clone(), |product, _| multiplied(&product, &base))
}

/// An entry in as few operations as exact arithmetic gives; `None` where they are too many.
fn entry(expression: Expression) -> Option<Expression> {
    match exact::rational(&expression) {
        Some(value) => Some(Expression::Number(value, Written::Exactly)),
        None => (expression.nodes() <= MOST_NODES).then_some(expression),
    }
}

fn scaled(rows: &Rows, factor: &Expression) -> Option<Rows> {
    let scale = |part: &Expression| entry(Expression::Product(vec![factor.clone(), part.clone()]));
    rows.iter().map(|row| row.iter().map(scale).collect()).collect()
}

fn added(one: &Rows, two: &Rows) -> Option<Rows> {
    let sum = |(left, right): (&Vec<Expression>, &Vec<Expression>)| {
        let pairs =
            left.iter().zip(right).map(|(one, two)| entry(Expression::Sum(vec![one.clone(), two.clone()])));
        (left.len() == right.len()).then(|| pairs.collect::<Option<Vec<_>>>())?
    };
    (one.len() == two.len()).then(|| one.iter().zip(two).map(sum).collect())?
}

fn multiplied(one: &Rows, two: &Rows) -> Option<Rows> {
    let (inner, columns) = (two.len(), two.first()?.len());
    let fits = one.iter().all(|row| row.len() == inner) && two.iter().all(|row| row.len() == columns);
    if !fits || one.len().max(inner).max(columns) > MOST_SIZE {
        return None;
    }
    let product = |row: &Vec<Expression>, column: usize| {
        let terms = row
            .iter()
            .zip(two)
            .map(|(left, below)| Expression::Product(vec![left.clone(), below[column].clone()]));
        entry(Expression::Sum(terms.collect()))
    };
    one.iter().map(|row| (0..columns).map(|column| product(row, column)).collect()).collect()
}

/// The determinant of rows by its first row's cofactors; a call of the function where that takes too many
/// operations.
pub(super) fn determinant(rows: Rows) -> Expression {
    expanded(&rows).unwrap_or_else(|| Expression::Call(Function::Determinant, vec![Expression::Matrix(rows)]))
}

fn expanded(rows: &[Vec<Expression>]) -> Option<Expression> {
    const MOST: usize = 5;
    // Cofactors take n! products; by five rows an answer writes the number.
    if rows.is_empty() || rows.len() > MOST || rows.iter().any(|row| row.len() != rows.len()) {
        return None;
    }
    if let [row] = rows {
        return entry(row[0].clone());
    }
    let terms = (0..rows.len()).map(|column| {
        let minor: Vec<Vec<Expression>> =
            rows[1..].iter().map(|row| [&row[..column], &row[column + 1..]].concat()).collect();
        let product = Expression::Product(vec![rows[0][column].clone(), expanded(&minor)?]);
        Some(if column % 2 == 0 { product } else { Expression::negative(product) })
    });
    entry(Expression::Sum(terms.collect::<Option<Vec<_>>>()?))
}
