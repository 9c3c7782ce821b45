//! What an answer says, as a tree.

use num_bigint::BigInt;
use num_rational::Ratio;

/// An exact rational number.
pub(crate) type Rational = Ratio<BigInt>;

/// How a number is written: only a written decimal may differ by a tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Written {
    /// Digits alone, or a repeating decimal: exact.
    Exactly,
    /// With a decimal point or an exponent.
    Decimal,
}

/// A symbol of the language that stands for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Constant {
    Pi,
    Euler,
    Imaginary,
    Infinity,
    /// A standard set of numbers, such as ℝ, by its letter.
    NumberSet(char),
    EmptySet,
}

/// A function that can be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Function {
    Sine,
    Cosine,
    Tangent,
    Cotangent,
    Secant,
    Cosecant,
    ArcSine,
    ArcCosine,
    ArcTangent,
    ArcCotangent,
    ArcSecant,
    ArcCosecant,
    HyperbolicSine,
    HyperbolicCosine,
    HyperbolicTangent,
    HyperbolicCotangent,
    HyperbolicSecant,
    HyperbolicCosecant,
    /// The inverse of the hyperbolic sine, `arsinh`.
    AreaSine,
    AreaCosine,
    AreaTangent,
    AreaCotangent,
    AreaSecant,
    AreaCosecant,
    /// Natural logarithm.
    Logarithm,
    /// `[base, argument]`.
    LogarithmTo,
    Absolute,
    Floor,
    Ceiling,
    Factorial,
    /// `n!!`, the product of every other number.
    DoubleFactorial,
    /// `[n, k]`.
    Binomial,
    Minimum,
    Maximum,
    GreatestDivisor,
    LeastMultiple,
    Determinant,
    /// `[value, modulus]`.
    Modulo,
}

impl Function {
    /// Whether it is meant for whole numbers, where it has exact values.
    pub(crate) fn is_of_integers(self) -> bool {
        use Function as F;
        matches!(
            self,
            F::Factorial
                | F::DoubleFactorial
                | F::Binomial
                | F::GreatestDivisor
                | F::LeastMultiple
                | F::Modulo
        )
    }
}

/// How two sides relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    Equal,
    Approximate,
    Congruent,
    /// `p \mid n`
    Divides,
    In,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An end of an interval, or the bracket of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bracket {
    /// `(` or `)`
    Round,
    /// `[` or `]`
    Square,
    /// `⟨` or `⟩`
    Angle,
}

/// What joins the parts of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Joint {
    /// Commas or semicolons.
    Comma,
    And,
    Or,
}

/// An answer or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expression {
    Number(Rational, Written),
    /// A variable with its subscript.
    Symbol(String),
    Constant(Constant),
    Sum(Vec<Expression>),
    Product(Vec<Expression>),
    Quotient(Box<(Expression, Expression)>),
    Negative(Box<Expression>),
    /// Both signs; the flag is set for `\mp`.
    PlusMinus(Box<Expression>, bool),
    Power(Box<(Expression, Expression)>),
    /// `[radicand, index]`: `index` is a plain number.
    Root(Box<Expression>, u32),
    Call(Function, Vec<Expression>),
    /// A named operator that is compared by its parts only, such as a sum with bounds.
    Opaque(String, Vec<Expression>),
    /// Tuples, points and intervals, by their brackets.
    Bracketed(Bracket, Bracket, Vec<Expression>),
    Set(Vec<Expression>),
    List(Joint, Vec<Expression>),
    Union(Vec<Expression>),
    Matrix(Vec<Vec<Expression>>),
    /// `sides` with one relation fewer between them.
    Chain(Vec<Expression>, Vec<Relation>),
    Percent(Box<Expression>),
    Degrees(Box<Expression>),
    /// A number with its unit or noun, lower case.
    Quantity(Box<Expression>, String),
    /// A numeral in a base: its digits as written, its value.
    InBase(String, u32, BigInt),
    Ratio(Vec<Expression>),
    /// `hours:minutes`, two digits in every part but the first.
    Time(Vec<u32>),
    Text(String),
}

impl Expression {
    /// An integer.
    pub(crate) fn integer(value: i64) -> Expression {
        Expression::exactly(Rational::from_integer(BigInt::from(value)))
    }

    /// A number that may not differ by a tolerance.
    pub(crate) fn exactly(value: Rational) -> Expression {
        Expression::Number(value, Written::Exactly)
    }

    /// `-inner`
    pub(crate) fn negative(inner: Expression) -> Expression {
        Expression::Negative(Box::new(inner))
    }

    /// `\pm inner`, or `\mp` if `lower`.
    pub(crate) fn plus_minus(inner: Expression, lower: bool) -> Expression {
        Expression::PlusMinus(Box::new(inner), lower)
    }

    /// The sum of two.
    pub(crate) fn plus(&self, other: &Expression) -> Expression {
        Expression::Sum(vec![self.clone(), other.clone()])
    }

    /// The product of two.
    pub(crate) fn times(&self, other: &Expression) -> Expression {
        Expression::Product(vec![self.clone(), other.clone()])
    }

    /// `inner\%`
    pub(crate) fn percent(inner: Expression) -> Expression {
        Expression::Percent(Box::new(inner))
    }

    /// `inner^\circ`
    pub(crate) fn degrees(inner: Expression) -> Expression {
        Expression::Degrees(Box::new(inner))
    }

    /// `above / below`
    pub(crate) fn quotient(above: Expression, below: Expression) -> Expression {
        Expression::Quotient(Box::new((above, below)))
    }

    /// `base^exponent`
    pub(crate) fn power(base: Expression, exponent: Expression) -> Expression {
        Expression::Power(Box::new((base, exponent)))
    }

    /// `\sqrt[index]{radicand}`
    pub(crate) fn root(radicand: Expression, index: u32) -> Expression {
        Expression::Root(Box::new(radicand), index)
    }

    /// A value with its unit.
    pub(crate) fn quantity(value: Expression, unit: impl Into<String>) -> Expression {
        Expression::Quantity(Box::new(value), unit.into())
    }

    /// The parts directly below.
    pub(crate) fn children(&self) -> Vec<&Expression> {
        use Expression as E;
        match self {
            E::Number(..) | E::Symbol(_) | E::Constant(_) | E::InBase(..) | E::Time(_) | E::Text(_) => {
                Vec::new()
            }
            E::Negative(inner)
            | E::PlusMinus(inner, _)
            | E::Root(inner, _)
            | E::Percent(inner)
            | E::Degrees(inner)
            | E::Quantity(inner, _) => vec![inner],
            E::Quotient(pair) | E::Power(pair) => vec![&pair.0, &pair.1],
            E::Sum(parts)
            | E::Product(parts)
            | E::Call(_, parts)
            | E::Opaque(_, parts)
            | E::Bracketed(_, _, parts)
            | E::Set(parts)
            | E::List(_, parts)
            | E::Union(parts)
            | E::Chain(parts, _)
            | E::Ratio(parts) => parts.iter().collect(),
            E::Matrix(rows) => rows.iter().flatten().collect(),
        }
    }

    /// The tree with every direct part replaced by what `change` makes of it.
    pub(crate) fn map(&self, change: &mut dyn FnMut(&Expression) -> Expression) -> Expression {
        use Expression as E;
        let mut all = |parts: &[Expression]| parts.iter().map(&mut *change).collect::<Vec<_>>();
        match self {
            E::Number(..) | E::Symbol(_) | E::Constant(_) | E::InBase(..) | E::Time(_) | E::Text(_) => {
                self.clone()
            }
            E::Negative(inner) => E::Negative(Box::new(change(inner))),
            E::PlusMinus(inner, lower) => E::PlusMinus(Box::new(change(inner)), *lower),
            E::Root(inner, index) => E::Root(Box::new(change(inner)), *index),
            E::Percent(inner) => E::Percent(Box::new(change(inner))),
            E::Degrees(inner) => E::Degrees(Box::new(change(inner))),
            E::Quantity(inner, unit) => E::Quantity(Box::new(change(inner)), unit.clone()),
            E::Quotient(pair) => E::Quotient(Box::new((change(&pair.0), change(&pair.1)))),
            E::Power(pair) => E::Power(Box::new((change(&pair.0), change(&pair.1)))),
            E::Sum(parts) => E::Sum(all(parts)),
            E::Product(parts) => E::Product(all(parts)),
            E::Call(function, parts) => E::Call(*function, all(parts)),
            E::Opaque(name, parts) => E::Opaque(name.clone(), all(parts)),
            E::Bracketed(left, right, parts) => E::Bracketed(*left, *right, all(parts)),
            E::Set(parts) => E::Set(all(parts)),
            E::List(joint, parts) => E::List(*joint, all(parts)),
            E::Union(parts) => E::Union(all(parts)),
            E::Chain(parts, relations) => E::Chain(all(parts), relations.clone()),
            E::Ratio(parts) => E::Ratio(all(parts)),
            E::Matrix(rows) => E::Matrix(rows.iter().map(|row| all(row)).collect()),
        }
    }

    /// How many operations and operands the tree consists of.
    pub(crate) fn nodes(&self) -> usize {
        self.count(&|_| true)
    }

    /// For how many parts of the tree `test` holds.
    pub(crate) fn count(&self, test: &dyn Fn(&Expression) -> bool) -> usize {
        usize::from(test(self)) + self.children().into_iter().map(|child| child.count(test)).sum::<usize>()
    }

    /// Whether `test` holds for the tree or any part of it.
    pub(crate) fn any(&self, test: &dyn Fn(&Expression) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|child| child.any(test))
    }
}
