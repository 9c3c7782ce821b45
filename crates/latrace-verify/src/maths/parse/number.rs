//! Numbers as they are written: digit groups, repeating decimals, powers of ten, bases, mixed numbers, times.

use num_bigint::BigInt;
use num_traits::{Num, One, Pow};

use super::build::{decimal, is_proper_fraction, quotient, sum};
use super::parser::{Commas, Parser};
use crate::maths::syntax::{Expression, Rational, Written};
use crate::maths::token::Kind;

/// The most digits that a number may have.
const MOST_DIGITS: usize = 20_000;

impl Parser {
    /// `12:05` and `1:02:03`.
    pub(super) fn time(&mut self, first: &Expression) -> Option<Expression> {
        let Expression::Number(hours, Written::Exactly) = first else {
            return None;
        };
        let mut parts = vec![u32::try_from(hours.to_integer()).ok().filter(|_| hours.is_integer())?];
        let start = self.at;
        while let [Kind::Mark(':'), Kind::Number(digits)] = &self.kinds::<2>()[..] {
            match digits.parse::<u32>() {
                Ok(value) if digits.len() == 2 && value < 60 => parts.push(value),
                _ => break,
            }
            self.at += 2;
        }
        // Anything else with colons is a ratio, and is read again as one.
        let is_time = parts.len() > 1 && parts[0] <= 24 && !self.is_mark(':');
        if !is_time {
            self.at = start;
            return None;
        }
        let time = Expression::Time(parts);
        Some(match self.unit() {
            Some(unit) => Expression::quantity(time, unit),
            None => time,
        })
    }

    /// `1 1/2`
    pub(super) fn plain_mixed(&mut self, whole: Expression) -> Option<Expression> {
        let numerator = self.operand()?;
        if !self.take_mark('/') {
            return None;
        }
        let (fraction, sign) = match self.operand()? {
            Expression::Percent(denominator) => {
                (quotient(numerator, *denominator), Some(Expression::percent as fn(Expression) -> Expression))
            }
            Expression::Degrees(denominator) => {
                (quotient(numerator, *denominator), Some(Expression::degrees as fn(Expression) -> Expression))
            }
            denominator => (quotient(numerator, denominator), None),
        };
        let mixed = is_proper_fraction(&fraction).then(|| sum(whole, fraction))?;
        Some(match sign {
            Some(sign) => sign(mixed),
            None => mixed,
        })
    }

    pub(super) fn number(&mut self, digits: &str) -> Option<Expression> {
        self.at += 1;
        let mut digits = digits.to_owned();
        self.join_groups(&mut digits);
        if digits.len() > MOST_DIGITS {
            return None;
        }
        if let Some(repeating) = self.repeating(&digits) {
            return Some(repeating);
        }
        // An exponent says that the number was rounded, so that it has a decimal's tolerance.
        if let Some(exponent) = self.scientific(&digits) {
            let value = decimal(&digits)? * power_of_ten(exponent)?;
            return Some(Expression::Number(value, Written::Decimal));
        }
        if self.is_mark('_') {
            return self.in_base(&digits);
        }
        let written = if digits.contains('.') { Written::Decimal } else { Written::Exactly };
        Some(Expression::Number(decimal(&digits)?, written))
    }

    /// `1,234` and `12 345`: groups of three digits after at most three.
    pub(super) fn join_groups(&mut self, digits: &mut String) {
        if digits.len() > 3 || digits.contains('.') {
            return;
        }
        loop {
            // `1, 234` with a blank is a list; `12 345` without a comma needs the blank.
            let comma = self.is_mark(',') && self.commas == Commas::InNumbers && !self.tokens[self.at].spaced;
            let Some(next) = self.tokens.get(self.at + usize::from(comma)) else {
                return;
            };
            let Kind::Number(group) = &next.kind else {
                return;
            };
            let whole = group.find('.').unwrap_or(group.len());
            if whole != 3 || next.spaced == comma {
                return;
            }
            digits.push_str(group);
            self.at += 1 + usize::from(comma);
            if digits.contains('.') {
                return;
            }
        }
    }

    /// `0.1\overline{6}`
    pub(super) fn repeating(&mut self, digits: &str) -> Option<Expression> {
        let point = digits.find('.')?;
        let [Kind::Command(name), Kind::Mark('{'), Kind::Number(period), Kind::Mark('}')] =
            &self.kinds::<4>()[..]
        else {
            return None;
        };
        if !matches!(name.as_str(), "overline" | "bar" | "dot") || period.contains('.') {
            return None;
        }
        self.at += 4;
        let places = digits.len() - point - 1;
        // A period of p digits after q others is itself over 10^q (10^p − 1).
        let nines = BigInt::from(10).pow(period.len() as u32) - BigInt::one();
        let tail = Rational::new(period.parse().ok()?, nines * BigInt::from(10).pow(places as u32));
        Some(Expression::Number(decimal(digits)? + tail, Written::Exactly))
    }

    /// The exponent of `1.5e3`. `2e-1` is Euler's number doubled, less one.
    pub(super) fn scientific(&mut self, mantissa: &str) -> Option<i64> {
        let letter = matches!(self.peek(), Some(Kind::Word(word)) if matches!(word.as_str(), "e" | "E"))
            && !self.tokens[self.at].spaced;
        let sign = match self.kind_at(1) {
            Some(Kind::Mark('-')) => Some(-1),
            Some(Kind::Mark('+')) => Some(1),
            _ => None,
        };
        let Some(Kind::Number(digits)) = self.kind_at(1 + usize::from(sign.is_some())) else {
            return None;
        };
        // `1.5e-3` and `1e-3` are scientific notation; `2e-1` is too often Euler's number.
        let clear = sign.is_none() || mantissa.contains('.') || mantissa == "1" || digits.len() > 1;
        if !letter || !clear || digits.contains('.') {
            return None;
        }
        let exponent = digits.parse::<i64>().ok()? * sign.unwrap_or(1);
        self.at += 2 + usize::from(sign.is_some());
        Some(exponent)
    }

    pub(super) fn in_base(&mut self, digits: &str) -> Option<Expression> {
        self.at += 1;
        let Expression::Number(base, _) = self.deeper(Parser::primary)? else {
            return None;
        };
        let base = u32::try_from(base.to_integer()).ok().filter(|base| (2..=36).contains(base))?;
        let value = BigInt::from_str_radix(digits, base).ok()?;
        // Leading zeros say nothing in any base.
        Some(Expression::InBase(digits.trim_start_matches('0').to_owned(), base, value))
    }
}

/// 10 to a power of at most a few thousand digits.
fn power_of_ten(exponent: i64) -> Option<Rational> {
    const MOST: u64 = 5_000;
    let size = u32::try_from(exponent.unsigned_abs()).ok().filter(|size| u64::from(*size) <= MOST)?;
    let power = Rational::from_integer(Pow::pow(BigInt::from(10), size));
    Some(if exponent < 0 { power.recip() } else { power })
}
