//! What stands between operands, by binding power (a Pratt parser).

use super::build::{is_proper_fraction, product, quotient, sum};
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

    pub(super) fn binary_here(&mut self, least: u8) -> Option<Expression> {
        let mut left = self.prefix()?;
        loop {
            let Some(operator) = self.operator() else {
                return Some(left);
            };
            if operator.power() < least {
                return Some(left);
            }
            left = self.apply(left, operator)?;
        }
    }

    pub(super) fn operator(&self) -> Option<Operator> {
        Some(match self.peek()? {
            Kind::Mark('+') => Operator::Plus,
            Kind::Mark('-') => Operator::Minus,
            Kind::Command(name) if name == "pm" => Operator::PlusMinus,
            Kind::Command(name) if name == "mp" => Operator::MinusPlus,
            Kind::Mark('*') => Operator::Times,
            Kind::Command(name) if matches!(name.as_str(), "cdot" | "times" | "ast") => Operator::Times,
            Kind::Mark('/') => Operator::Over,
            Kind::Command(name) if name == "div" => Operator::Over,
            _ if self.starts_operand() => Operator::Beside,
            _ => return None,
        })
    }

    pub(super) fn apply(&mut self, left: Expression, operator: Operator) -> Option<Expression> {
        if operator != Operator::Beside {
            self.at += 1;
        }
        let right = match operator {
            Operator::Beside => return self.beside(left),
            Operator::Times | Operator::Over => self.signed_operand()?,
            _ => self.binary(PRODUCT)?,
        };
        Some(match operator {
            Operator::Plus => sum(left, right),
            Operator::Minus => sum(left, Expression::negative(right)),
            Operator::PlusMinus => sum(left, Expression::plus_minus(right, false)),
            Operator::MinusPlus => sum(left, Expression::plus_minus(right, true)),
            Operator::Times => product(left, right),
            Operator::Over | Operator::Beside => quotient(left, right),
        })
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
        let whole = number_before
            && matches!(&left, Expression::Number(value, Written::Exactly) if value.is_integer());
        // Two numbers side by side are `1 1/2` or a mistake; a product would need a sign between them.
        if number_before && matches!(self.peek(), Some(Kind::Number(_))) {
            return if whole { self.plain_mixed(left) } else { None };
        }
        // In brackets a fraction is a factor.
        let bare_fraction = matches!(self.peek(), Some(Kind::Command(name)) if name.ends_with("frac"));
        let right = self.operand()?;
        match right {
            // The sign behind a mixed number is that of all of it.
            Expression::Percent(fraction) if whole && bare_fraction && is_proper_fraction(&fraction) => {
                Some(Expression::percent(sum(left, *fraction)))
            }
            Expression::Degrees(fraction) if whole && bare_fraction && is_proper_fraction(&fraction) => {
                Some(Expression::degrees(sum(left, *fraction)))
            }
            fraction if whole && bare_fraction && is_proper_fraction(&fraction) => Some(sum(left, fraction)),
            right => Some(product(left, right)),
        }
    }

    pub(super) fn prefix(&mut self) -> Option<Expression> {
        if self.take_mark('-') {
            // A minus sign binds weaker than a product: −2x is −(2x), and −2² is −4.
            return Some(Expression::negative(self.binary(PRODUCT)?));
        }
        if self.take_mark('+') {
            return self.binary(PRODUCT);
        }
        if self.take_command("pm") {
            return Some(Expression::plus_minus(self.binary(PRODUCT)?, false));
        }
        if self.take_command("mp") {
            return Some(Expression::plus_minus(self.binary(PRODUCT)?, true));
        }
        self.operand()
    }
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
    fn power(self) -> u8 {
        match self {
            Operator::Plus | Operator::Minus | Operator::PlusMinus | Operator::MinusPlus => SUM,
            Operator::Times | Operator::Over | Operator::Beside => PRODUCT,
        }
    }
}
