//! What stands between operands, by binding power (a Pratt parser).

use super::build::{is_proper_fraction, product, quotient, signed, sum, unsigned};
use super::parser::Parser;
use crate::maths::syntax::{Expression, Written};
use crate::maths::token::Kind;

/// Binding powers of what stands between operands.
pub(super) const SUM: u8 = 10;
pub(super) const PRODUCT: u8 = 20;

impl Parser {
    /// Operands between operators that bind at least as tightly as `least`.
    pub(super) fn binary(&mut self, least: u8) -> Option<Expression> {
        self.deeper(|parser| parser.binary_here(least))
    }

    fn binary_here(&mut self, least: u8) -> Option<Expression> {
        // An operator that binds more loosely is left to the caller, whose operand ends here.
        let mut left = self.prefix()?;
        while let Some(operator) = self.operator_of(least) {
            left = self.apply(left, operator)?;
        }
        Some(left)
    }

    fn operator_of(&self, least: u8) -> Option<Operator> {
        self.operator().filter(|operator| operator.power() >= least)
    }

    pub(super) fn operator(&self) -> Option<Operator> {
        let written = match self.peek()? {
            Kind::Mark(mark) => Operator::of_mark(*mark),
            Kind::Command(name) => Operator::named(name),
            _ => None,
        };
        written.or_else(|| self.starts_operand().then_some(Operator::Beside))
    }

    fn apply(&mut self, left: Expression, operator: Operator) -> Option<Expression> {
        if operator == Operator::Beside {
            return self.beside(left);
        }
        self.at += 1;
        // A sum's operands are products; those of a product bind tighter than any operator.
        let right = if operator.power() == SUM { self.binary(PRODUCT)? } else { self.signed_operand()? };
        Some(operator.join(left, right))
    }

    /// An operand after `·` or `/`, where a minus sign may stand.
    pub(super) fn signed_operand(&mut self) -> Option<Expression> {
        if self.take_mark('-') {
            return Some(Expression::negative(self.operand()?));
        }
        self.operand()
    }

    /// Two operands side by side: a mixed number, or a product.
    pub(super) fn beside(&mut self, left: Expression) -> Option<Expression> {
        // `2\frac12` is two and a half, but `x^2\frac12` is not: what counts is the token before, not the
        // tree.
        let number_before = matches!(self.tokens[self.at - 1].kind, Kind::Number(_));
        let whole = number_before && is_whole(&left);
        // Two numbers side by side are `1 1/2` or a mistake; a product would need a sign between them.
        if number_before && matches!(self.peek(), Some(Kind::Number(_))) {
            return if whole { self.plain_mixed(left) } else { None };
        }
        // `5 R 3` and `2 x 3` are no products: in those a number comes first.
        if self.is_number_apart() {
            return None;
        }
        // In brackets a fraction is a factor.
        let bare_fraction = matches!(self.peek(), Some(Kind::Command(name)) if name.ends_with("frac"));
        let right = self.operand()?;
        Some(if whole && bare_fraction { mixed(left, right) } else { product(left, right) })
    }

    /// Whether a number comes next, with a blank between it and a letter.
    fn is_number_apart(&self) -> bool {
        let after_letter = matches!(self.tokens[self.at - 1].kind, Kind::Word(_));
        after_letter && !self.is_close() && matches!(self.peek(), Some(Kind::Number(_)))
    }

    fn prefix(&mut self) -> Option<Expression> {
        // A sign binds weaker than a product: −2x is −(2x), and −2² is −4.
        let sign: fn(Expression) -> Expression = match self.peek() {
            Some(Kind::Mark('-')) => minus,
            Some(Kind::Mark('+')) => |value| value,
            Some(Kind::Command(name)) if name == "pm" => |value| Expression::plus_minus(value, false),
            Some(Kind::Command(name)) if name == "mp" => |value| Expression::plus_minus(value, true),
            _ => return self.operand(),
        };
        self.at += 1;
        self.binary(PRODUCT).map(sign)
    }
}

/// A value with a minus sign before it. The sign behind `-78^\circ` and `-25\%` is that of all of it.
fn minus(value: Expression) -> Expression {
    let (value, sign) = unsigned(value);
    signed(Expression::negative(value), sign)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Plus,
    Minus,
    PlusMinus,
    MinusPlus,
    Times,
    Over,
    /// Nothing between two operands.
    Beside,
}

impl Operator {
    fn of_mark(mark: char) -> Option<Operator> {
        Some(match mark {
            '+' => Operator::Plus,
            '-' => Operator::Minus,
            '*' => Operator::Times,
            '/' => Operator::Over,
            _ => return None,
        })
    }

    fn named(command: &str) -> Option<Operator> {
        match command {
            "pm" => Some(Operator::PlusMinus),
            "mp" => Some(Operator::MinusPlus),
            "cdot" | "times" | "ast" => Some(Operator::Times),
            "div" => Some(Operator::Over),
            _ => None,
        }
    }

    fn power(self) -> u8 {
        match self {
            Operator::Plus | Operator::Minus | Operator::PlusMinus | Operator::MinusPlus => SUM,
            Operator::Times | Operator::Over | Operator::Beside => PRODUCT,
        }
    }

    fn join(self, left: Expression, right: Expression) -> Expression {
        match self {
            Operator::Plus => sum(left, right),
            Operator::Minus => sum(left, Expression::negative(right)),
            Operator::PlusMinus => sum(left, Expression::plus_minus(right, false)),
            Operator::MinusPlus => sum(left, Expression::plus_minus(right, true)),
            Operator::Times | Operator::Beside => product(left, right),
            Operator::Over => quotient(left, right),
        }
    }
}

/// Whether it is a whole number without a point.
fn is_whole(value: &Expression) -> bool {
    matches!(value, Expression::Number(value, Written::Exactly) if value.is_integer())
}

/// A whole number before a fraction: both together, if the fraction is below 1.
fn mixed(whole: Expression, fraction: Expression) -> Expression {
    let is_mixed = match &fraction {
        Expression::Percent(inner) | Expression::Degrees(inner) => is_proper_fraction(inner),
        fraction => is_proper_fraction(fraction),
    };
    if !is_mixed {
        return product(whole, fraction);
    }
    // The sign behind a mixed number is that of all of it.
    let (fraction, sign) = unsigned(fraction);
    signed(sum(whole, fraction), sign)
}
