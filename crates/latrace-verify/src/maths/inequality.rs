//! Inequalities in one variable, solved: `x^2 > 4`, `|x - 1| < 3`, `\frac{x}{x - 2} \le 0`.
//!
//! Both sides are quotients of polynomials, perhaps with absolute values in them. Their difference can change
//! its sign only at a root or a pole, so it is looked at there and once in between. Where not all roots are
//! found, nothing is said.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use super::syntax::{Expression, Function, Rational, Relation};
use super::univariate::{self, Polynomial, substitute};
use super::{exact, numeric};

/// The most absolute values in an inequality.
const MOST_BARS: usize = 3;
/// The most places where the sign may change.
const MOST_PLACES: usize = 24;

/// What an inequality allows to its variable: places in order, whether each of them is allowed, and whether
/// the numbers below the first, between each two and above the last are.
pub(super) struct Solution {
    pub(super) places: Vec<Expression>,
    pub(super) at: Vec<bool>,
    pub(super) between: Vec<bool>,
}

/// Solves `left relation right` for a variable that is the only one in it.
pub(super) fn solve(
    left: &Expression,
    relation: Relation,
    right: &Expression,
    variable: &Expression,
) -> Option<Solution> {
    let difference = left.plus(&Expression::negative(right.clone()));
    let inequality = Inequality { difference, relation, variable };
    let places = inequality.places()?;
    let between =
        inequality.probes(&places).iter().map(|probe| inequality.holds(probe)).collect::<Option<_>>()?;
    let at = places.iter().map(|place| inequality.holds_at(place)).collect::<Option<_>>()?;
    Some(Solution { places, at, between })
}

/// `difference relation 0`
struct Inequality<'a> {
    difference: Expression,
    relation: Relation,
    variable: &'a Expression,
}

impl Inequality<'_> {
    /// All places where the difference is zero or has no value, in order.
    fn places(&self) -> Option<Vec<Expression>> {
        let mut places = Vec::new();
        for branch in without_bars(&self.difference, MOST_BARS)? {
            let quotient = univariate::quotient(&branch, self.variable)?;
            places.extend(roots(&quotient.above)?);
            places.extend(roots(&quotient.below)?);
        }
        in_order(places)
    }

    /// One number below all places, one between each two, one above.
    fn probes(&self, places: &[Expression]) -> Vec<Expression> {
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return vec![Expression::integer(0)];
        };
        let middle =
            |pair: &[Expression]| Expression::quotient(pair[0].plus(&pair[1]), Expression::integer(2));
        let below = first.plus(&Expression::integer(-1));
        let above = last.plus(&Expression::integer(1));
        std::iter::once(below).chain(places.windows(2).map(middle)).chain([above]).collect()
    }

    fn holds(&self, value: &Expression) -> Option<bool> {
        let at_value = substitute(&self.difference, self.variable, value);
        let sign = numeric::order(&at_value, &Expression::integer(0))?;
        Some(match self.relation {
            Relation::Less => sign == Ordering::Less,
            Relation::LessOrEqual => sign != Ordering::Greater,
            Relation::Greater => sign == Ordering::Greater,
            Relation::GreaterOrEqual => sign != Ordering::Less,
            Relation::NotEqual => sign != Ordering::Equal,
            _ => return None,
        })
    }

    /// The same where the difference may have no value.
    fn holds_at(&self, place: &Expression) -> Option<bool> {
        let branches = without_bars(&self.difference, MOST_BARS)?;
        let is_pole = |branch: &Expression| {
            let below = univariate::quotient(branch, self.variable)?.below;
            Some(numeric::order(&value_at(&below, place), &Expression::integer(0))? == Ordering::Equal)
        };
        let poles = branches.iter().map(is_pole).collect::<Option<Vec<_>>>()?;
        if poles.contains(&true) { Some(false) } else { self.holds(place) }
    }
}

fn value_at(polynomial: &Polynomial, place: &Expression) -> Expression {
    let term = |(power, coefficient): (usize, &Expression)| {
        coefficient.times(&Expression::power(place.clone(), Expression::integer(power as i64)))
    };
    Expression::Sum(polynomial.iter().enumerate().map(term).collect())
}

/// The expression with each absolute value as what is in it and as its negative.
fn without_bars(expression: &Expression, most: usize) -> Option<Vec<Expression>> {
    let Some((bars, inner)) = first_bars(expression) else {
        return Some(vec![expression.clone()]);
    };
    let most = most.checked_sub(1)?;
    let mut branches = without_bars(&substitute(expression, bars, inner), most)?;
    branches.extend(without_bars(&substitute(expression, bars, &Expression::negative(inner.clone())), most)?);
    // Where the inside is zero the branches meet, and there is a root of neither.
    Some(branches)
}

fn first_bars(expression: &Expression) -> Option<(&Expression, &Expression)> {
    if let Expression::Call(Function::Absolute, arguments) = expression {
        return arguments.first().map(|inner| (expression, inner));
    }
    expression.children().into_iter().find_map(first_bars)
}

/// Different numbers in order; `None` where that is not known, or they are too many.
fn in_order(places: Vec<Expression>) -> Option<Vec<Expression>> {
    let mut sorted: Vec<Expression> = Vec::new();
    for place in places {
        let mut at = sorted.len();
        let mut order = Ordering::Less;
        while at > 0 {
            order = numeric::order(&place, &sorted[at - 1])?;
            if order != Ordering::Less {
                break;
            }
            at -= 1;
        }
        if order != Ordering::Equal {
            sorted.insert(at, place);
        }
        (sorted.len() <= MOST_PLACES).then_some(())?;
    }
    Some(sorted)
}

/// The real roots of a polynomial; `None` where not all of them are found.
fn roots(polynomial: &Polynomial) -> Option<Vec<Expression>> {
    match polynomial.as_slice() {
        [_] => Some(Vec::new()),
        [constant, slope] => {
            Some(vec![Expression::negative(Expression::quotient(constant.clone(), slope.clone()))])
        }
        [c, b, a] => roots_of_square([c, b, a]),
        more => {
            let numbers = more.iter().map(exact::rational).collect::<Option<Vec<_>>>()?;
            let (mut found, rest) = rational_roots(numbers)?;
            found.extend(roots(&rest.into_iter().map(Expression::exactly).collect())?);
            Some(found)
        }
    }
}

fn roots_of_square([c, b, a]: [&Expression; 3]) -> Option<Vec<Expression>> {
    let four_ac = Expression::Product(vec![Expression::integer(4), a.clone(), c.clone()]);
    let discriminant = b.times(b).plus(&Expression::negative(four_ac));
    let root = match numeric::order(&discriminant, &Expression::integer(0))? {
        Ordering::Less => return Some(Vec::new()),
        Ordering::Equal => Expression::integer(0),
        Ordering::Greater => Expression::root(discriminant, 2),
    };
    let solution = |root: Expression| {
        Expression::quotient(root.plus(&Expression::negative(b.clone())), Expression::integer(2).times(a))
    };
    Some(vec![solution(root.clone()), solution(Expression::negative(root))])
}

/// The rational roots of a polynomial of at least the third degree, and what is left when they are divided
/// out, which is of at most the second.
fn rational_roots(mut polynomial: Vec<Rational>) -> Option<(Vec<Expression>, Vec<Rational>)> {
    let mut found = Vec::new();
    while polynomial.len() > 3 {
        let root = rational_root(&polynomial)?;
        polynomial = divided(&polynomial, &root);
        found.push(Expression::exactly(root));
    }
    Some((found, polynomial))
}

/// A root whose numerator divides the first coefficient, and whose denominator the last.
fn rational_root(polynomial: &[Rational]) -> Option<Rational> {
    const MOST_CANDIDATES: usize = 150;
    let common = polynomial.iter().fold(BigInt::from(1), |common, value| common.lcm(value.denom()));
    let whole = |value: &Rational| (value * &common).to_integer();
    let (first, last) = (polynomial.first()?, polynomial.last()?);
    if first.is_zero() {
        return Some(Rational::zero());
    }
    let (above, below) = (divisors(&whole(first))?, divisors(&whole(last))?);
    (above.len() * below.len() <= MOST_CANDIDATES).then_some(())?;
    let candidates = above
        .iter()
        .flat_map(|above| below.iter().map(|below| Rational::new((*above).into(), (*below).into())));
    candidates.flat_map(|root| [root.clone(), -root]).find(|root| is_root(polynomial, root))
}

/// The positive divisors of a number that is small enough to try them.
fn divisors(value: &BigInt) -> Option<Vec<u32>> {
    const MOST: u32 = 20_000;
    let value = value.abs().to_u32().filter(|value| *value <= MOST)?;
    Some((1..=value).filter(|divisor| value.is_multiple_of(*divisor)).collect())
}

fn is_root(polynomial: &[Rational], root: &Rational) -> bool {
    polynomial.iter().rev().fold(Rational::zero(), |value, coefficient| value * root + coefficient).is_zero()
}

/// The polynomial over \(x - r\).
fn divided(polynomial: &[Rational], root: &Rational) -> Vec<Rational> {
    let mut carry = Rational::zero();
    let mut quotient: Vec<Rational> = Vec::with_capacity(polynomial.len());
    for coefficient in polynomial.iter().rev() {
        carry = carry * root + coefficient;
        quotient.push(carry.clone());
    }
    quotient.pop();
    quotient.reverse();
    quotient
}
