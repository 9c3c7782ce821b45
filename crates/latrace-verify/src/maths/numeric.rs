//! Agreement of two expressions at random points, in arithmetic of 192 bits and more over the complex
//! numbers.
//!
//! Points depend on nothing but the variables' names and the trial's number. A root of odd index of a
//! negative real is the real one; every other power is the principal one. Where one side is undefined and the
//! other is not, they differ. What agrees at every point is compared once more at a precision that shows the
//! smallest term beside the greatest: `e^{100}` and `e^{100}+1` agree to 144 bits.

use std::cmp::Ordering;

use num_traits::Signed;

use super::closed;
use super::complex::{Arithmetic, Complex};
use super::exact;
use super::point::{Point, Signs};
use super::syntax::{Constant, Expression, Function, Rational};
use super::univariate::variables;

/// Bits of arithmetic at each point.
const PRECISION: usize = 192;
/// Bits at the point where agreement is confirmed, at the least and at the most.
const CONFIRMING: (usize, usize) = (1024, 8192);
// One random point would separate almost any two formulas; several are needed for functions that coincide on
// whole intervals, such as |x| and x.
/// Points at which both sides must be defined and agree.
const POINTS: usize = 16;
/// The same for functions that depend on signs: every pair of variables must have had different ones.
const SIGNED_POINTS: usize = 40;
// Many more than must agree: over a narrow domain most points are undefined.
/// Points tried.
const TRIALS: u64 = 128;
// Points at which functions of real numbers are compared: how many are tried, since either may be undefined
// at many, and how many that agree are enough.
/// All variables are positive.
const POSITIVE: (u64, usize) = (60, 10);
/// One variable is negative.
const ALONE: (u64, usize) = (10, 4);
/// Any variables are negative.
const VARIED: (u64, usize) = (16, 6);
/// The most variables that are tried one by one.
const MOST_VARIABLES: usize = 8;
/// Above this many operations an expression is not evaluated.
const MOST_NODES: usize = 4_000;

/// Where expressions without variables are evaluated.
const ONLY: Point = Point { trial: 0, whole: false, wide: false, signs: Signs::Varied };

/// Over which numbers functions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    Real,
    Complex,
}

/// How two expressions compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    Same,
    Different,
    /// Too few points at which both can be evaluated.
    Unknown,
}

/// Compares two expressions at random points; without variables at one.
pub(crate) fn compare(one: &Expression, two: &Expression) -> Agreement {
    agreement(one, two, Relation::Equal)
}

/// Compares two expressions as functions of real numbers, in which roots and logarithms of negative numbers
/// have no value: `\sqrt{m/k}` and `1/\sqrt{k/m}`, `\ln x^3` and `3\ln x`.
///
/// Both must have a value at the same points where no variable is negative, or one alone; where several are,
/// a value that only one side has counts for nothing, since \(\sqrt{L/g}\) is meant for a length and an
/// acceleration. Where both have values these agree whatever the signs, so that \(\sqrt{x^2}\) is not x.
pub(crate) fn compare_reals(one: &Expression, two: &Expression) -> Agreement {
    let pair = Pair(one, two);
    let names = pair.variables();
    let is_complex = |part: &Expression| part.any(&|part| *part == Expression::Constant(Constant::Imaginary));
    let applies = pair.either(depends_on_signs)
        && !names.is_empty()
        && names.len() <= MOST_VARIABLES
        && !pair.either(is_complex)
        && !pair.either(needs_integers)
        && !pair.either(is_wide);
    match Arithmetic::new(PRECISION) {
        Some(mut arithmetic) if applies && pair.nodes() <= MOST_NODES => {
            arithmetic.is_real_alone = true;
            agree_as_reals(&mut arithmetic, pair, &names)
        }
        _ => Agreement::Unknown,
    }
}

fn agree_as_reals(arithmetic: &mut Arithmetic, pair: Pair<'_>, names: &[String]) -> Agreement {
    let alone = names.iter().map(|name| (Signs::negative(name), ALONE));
    let mut agreed = 0;
    for (signs, (tried, enough)) in
        [(Signs::Positive, POSITIVE)].into_iter().chain(alone).chain([(Signs::Varied, VARIED)])
    {
        let Some(more) = agree_with_signs(arithmetic, pair, signs, (tried, enough), names) else {
            return Agreement::Different;
        };
        agreed += more;
    }
    if agreed < POSITIVE.1 { Agreement::Unknown } else { confirm(arithmetic, pair, Relation::Equal) }
}

/// At how many points with some signs, of so many tried, both agree, up to so many; `None` where they differ.
fn agree_with_signs(
    arithmetic: &mut Arithmetic,
    pair: Pair<'_>,
    signs: Signs,
    (tried, enough): (u64, usize),
    names: &[String],
) -> Option<usize> {
    let mut test = Test { relation: Relation::Equal, ratio: None };
    let mut agreed = 0;
    for trial in 0..tried {
        let point = Point { trial, whole: false, wide: false, signs };
        arithmetic.forget();
        match (arithmetic.value(pair.0, &point), arithmetic.value(pair.1, &point)) {
            (Some(left), Some(right)) if !test.holds(arithmetic, &left, &right) => return None,
            (Some(_), Some(_)) => agreed += 1,
            (None, None) => {}
            _ if point.negatives(names) > 1 => {}
            _ => return None,
        }
        if agreed >= enough {
            break;
        }
    }
    Some(agreed)
}

/// Whether no point far from zero tells two expressions apart that agree near it, as `\sqrt{(x+100)^2}` and
/// `x + 100` do. Undefined values, which may be too large to compute, tell nothing.
pub(crate) fn agree_far(one: &Expression, two: &Expression, numbers: Numbers) -> bool {
    const FAR: u64 = 12;
    let pair = Pair(one, two);
    if !pair.either(depends_on_signs) || !pair.either(has_variables) || pair.either(needs_integers) {
        return true;
    }
    let Some(mut arithmetic) = Arithmetic::new(PRECISION) else {
        return false;
    };
    arithmetic.is_real_alone = numbers == Numbers::Real;
    let mut test = Test { relation: Relation::Equal, ratio: None };
    (0..FAR).all(|far| {
        let point = Point { trial: 3 * far + 2, whole: false, wide: true, signs: Signs::Varied };
        arithmetic.forget();
        let values = arithmetic.value(one, &point).zip(arithmetic.value(two, &point));
        values.is_none_or(|(left, right)| test.holds(&mut arithmetic, &left, &right))
    })
}

/// Whether `one` is a constant times `two`, a positive one if `positive`.
pub(crate) fn proportional(one: &Expression, two: &Expression, positive: bool) -> Agreement {
    agreement(one, two, Relation::Proportional { positive })
}

/// Whether an expression without variables is within `tolerance`, relative to `reference`, of it; `None`
/// without a value.
pub(crate) fn approximate(
    expression: &Expression,
    tolerance: &Rational,
    reference: &Rational,
) -> Option<bool> {
    if has_variables(expression) {
        return None;
    }
    // One precision is enough: the tolerance is coarser than any error of it.
    let mut arithmetic = Arithmetic::new(PRECISION)?;
    let value = arithmetic.value(expression, &ONLY)?;
    let bound = arithmetic.rational(&(tolerance * reference))?;
    let reference = arithmetic.rational(reference)?;
    let difference = arithmetic.subtract(&value, &reference);
    Some(arithmetic.magnitude(&difference).cmp(&arithmetic.magnitude(&bound))? <= 0)
}

/// Which of two constants is the greater; `None` where that cannot be told, or they are no real numbers.
pub(crate) fn order(one: &Expression, two: &Expression) -> Option<Ordering> {
    // Rationals of any size have an exact order; arithmetic at one precision has not.
    match (exact::rational(one), exact::rational(two)) {
        (Some(one), Some(two)) => Some(one.cmp(&two)),
        _ => order_of_values(one, two),
    }
}

fn order_of_values(one: &Expression, two: &Expression) -> Option<Ordering> {
    if has_variables(one) || has_variables(two) || one.nodes() + two.nodes() > MOST_NODES {
        return None;
    }
    let mut arithmetic = Arithmetic::new(PRECISION)?;
    let (left, right) = (arithmetic.value(one, &ONLY)?, arithmetic.value(two, &ONLY)?);
    if !arithmetic.is_real(&left) || !arithmetic.is_real(&right) {
        return None;
    }
    // Close values are told apart only by the precision at which equality is confirmed.
    match compare(one, two) {
        Agreement::Same => Some(Ordering::Equal),
        Agreement::Different => left.re.cmp(&right.re).map(|order| order.cmp(&0)),
        Agreement::Unknown => None,
    }
}

/// What the values of two expressions are compared for.
#[derive(Clone, Copy, Debug)]
enum Relation {
    Equal,
    Proportional { positive: bool },
}

/// A relation, and the ratio of the values at the first point.
struct Test {
    relation: Relation,
    ratio: Option<Complex>,
}

impl Test {
    fn holds(&mut self, arithmetic: &mut Arithmetic, left: &Complex, right: &Complex) -> bool {
        match self.relation {
            Relation::Equal => arithmetic.same(left, right),
            Relation::Proportional { positive } => self.is_in_proportion(arithmetic, (left, right), positive),
        }
    }

    fn is_in_proportion(
        &mut self,
        arithmetic: &mut Arithmetic,
        (left, right): (&Complex, &Complex),
        positive: bool,
    ) -> bool {
        // At a common zero the ratio is undefined, which decides nothing; at a zero of one alone they differ.
        let (left_zero, right_zero) = (arithmetic.is_nothing(left), arithmetic.is_nothing(right));
        if left_zero || right_zero {
            return left_zero && right_zero;
        }
        let is_positive = |ratio: &Complex| arithmetic.is_real(ratio) && ratio.re.is_positive();
        let Some(ratio) = arithmetic.divide(left, right).filter(|ratio| !positive || is_positive(ratio))
        else {
            return false;
        };
        self.ratio.replace(ratio.clone()).is_none_or(|known| arithmetic.same(&ratio, &known))
    }
}

/// Two expressions that are compared.
#[derive(Clone, Copy)]
struct Pair<'a>(&'a Expression, &'a Expression);

impl Pair<'_> {
    fn nodes(self) -> usize {
        self.0.nodes() + self.1.nodes()
    }

    /// The names of the variables of both, each once.
    fn variables(self) -> Vec<String> {
        let mut names = [variables(self.0), variables(self.1)].concat();
        names.sort();
        names.dedup();
        names
    }

    /// Whether a test holds for either.
    fn either(self, test: fn(&Expression) -> bool) -> bool {
        test(self.0) || test(self.1)
    }

    /// At how many points both must agree.
    fn points(self) -> usize {
        match self.either(has_variables) {
            true if self.either(depends_on_signs) => SIGNED_POINTS,
            true => POINTS,
            // Without variables every point is the same point.
            false => 1,
        }
    }

    /// Where variables are evaluated at the trials.
    fn points_at(self) -> impl Fn(u64) -> Point {
        let whole = self.either(needs_integers);
        let (steps, wide) = (self.either(has_steps), self.either(is_wide));
        let signs = Signs::Varied;
        move |trial| Point { trial, whole: whole || (steps && trial % 2 == 0), wide, signs }
    }
}

fn agreement(one: &Expression, two: &Expression, relation: Relation) -> Agreement {
    let pair = Pair(one, two);
    if pair.nodes() > MOST_NODES {
        return Agreement::Unknown;
    }
    let Some(mut arithmetic) = Arithmetic::new(PRECISION) else {
        return Agreement::Unknown;
    };
    // A difference at low precision is final; only agreement needs the higher one.
    match agree(&mut arithmetic, pair, relation, pair.points()) {
        Agreement::Same => confirm(&mut arithmetic, pair, relation),
        other => other,
    }
}

/// Compares once more, precisely enough to see the smallest term; a pair too large for that keeps its
/// agreement if its terms were seen already.
fn confirm(arithmetic: &mut Arithmetic, pair: Pair<'_>, relation: Relation) -> Agreement {
    const MARGIN: usize = 256;
    const SEEN: usize = 60;
    const MOST_WORK: usize = 40_000;
    let spread = arithmetic.spread();
    let precision = (spread + MARGIN).max(CONFIRMING.0);
    // Multiplication takes time quadratic in the precision.
    let work = pair.nodes() * (precision / PRECISION).pow(2);
    // Too large to confirm. If no term was much smaller than another, the first precision has seen them all;
    // otherwise agreement is not proven, and unproven is not equal.
    if precision > CONFIRMING.1 || work > MOST_WORK {
        return if spread <= SEEN { Agreement::Same } else { Agreement::Unknown };
    }
    arithmetic.begin(precision);
    let points = if pair.either(has_variables) { 2 } else { 1 };
    agree(arithmetic, pair, relation, points)
}

/// Compares at points until `needed` agree.
fn agree(arithmetic: &mut Arithmetic, pair: Pair<'_>, relation: Relation, needed: usize) -> Agreement {
    // A new test at each precision: the ratio of an earlier one has fewer digits.
    let mut test = Test { relation, ratio: None };
    let point_at = pair.points_at();
    let mut agreed = 0;
    // Points at which both sides are undefined, such as outside the domain of an arcsine, count for neither.
    for trial in 0..if needed == 1 { 1 } else { TRIALS } {
        let point = point_at(trial);
        arithmetic.forget();
        match (arithmetic.value(pair.0, &point), arithmetic.value(pair.1, &point)) {
            (Some(left), Some(right)) if !test.holds(arithmetic, &left, &right) => {
                return Agreement::Different;
            }
            (Some(_), Some(_)) => agreed += 1,
            (None, None) => {}
            // Agreement where both are defined is not enough: `\arcsin x + \arccos x` is π/2 for few x alone.
            _ => return Agreement::Different,
        }
        if agreed >= needed {
            return Agreement::Same;
        }
    }
    Agreement::Unknown
}

pub(super) fn has_variables(expression: &Expression) -> bool {
    expression.any(&|part| matches!(part, Expression::Symbol(_) | Expression::Opaque(..)))
}

/// Factorials, and powers of negative numbers, are meant at whole numbers.
fn needs_integers(expression: &Expression) -> bool {
    expression.any(&|part| match part {
        Expression::Call(function, _) => function.is_of_integers(),
        // \((-1)^n\) at a fraction is complex, and differs from what is meant by it.
        Expression::Power(pair) => is_negative(&pair.0) && has_variables(&pair.1),
        part => closed::is_over_integers(part),
    })
}

fn is_negative(expression: &Expression) -> bool {
    exact::rational(expression).is_some_and(|value| value.is_negative())
}

/// Functions that jump at whole numbers are compared there too.
fn has_steps(expression: &Expression) -> bool {
    expression.any(&|part| matches!(part, Expression::Call(Function::Floor | Function::Ceiling, _)))
}

/// Functions that show only far from zero what they do are looked at there too.
fn is_wide(expression: &Expression) -> bool {
    expression.any(&|part| matches!(part, Expression::Call(function, _) if shows_late(*function)))
}

fn shows_late(function: Function) -> bool {
    use Function as F;
    matches!(
        function,
        F::Floor | F::Ceiling | F::Modulo | F::GreatestDivisor | F::LeastMultiple | F::Minimum | F::Maximum
    )
}

fn depends_on_signs(expression: &Expression) -> bool {
    use Function as F;
    let is_whole = |power: &Expression| exact::rational(power).is_some_and(|power| power.is_integer());
    expression.any(&|part| match part {
        Expression::Root(..) => true,
        Expression::Call(F::Absolute | F::Minimum | F::Maximum | F::Logarithm | F::LogarithmTo, _) => true,
        Expression::Power(pair) => !is_whole(&pair.1),
        _ => false,
    })
}
