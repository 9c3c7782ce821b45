//! Numbers as they are written: digit groups, repeating decimals, powers of ten, bases, mixed numbers, times.

use num_bigint::BigInt;
use num_traits::{Num, One, Pow};

use super::build::{decimal, is_proper_fraction, quotient, signed, sum, unsigned};
use super::parser::{Commas, Parser};
use crate::maths::syntax::{Expression, Rational, Written};
use crate::maths::token::{Kind, Token};
use crate::maths::{exact, work};

/// The most groups of digits with blanks between them.
const MOST_GROUPS: usize = 12;
/// The most digits that a number may have.
const MOST_DIGITS: usize = 20_000;

impl Parser {
    /// `12:05` and `1:02:03`.
    pub(super) fn time(&mut self, first: &Expression) -> Option<Expression> {
        let start = self.at;
        let parts = self.time_parts(hours(first)?);
        // Anything else with colons is a ratio, and is read again as one.
        if parts.len() == 1 || parts[0] > 24 || self.is_mark(':') {
            self.at = start;
            return None;
        }
        let time = Expression::Time(parts);
        Some(match self.unit() {
            Some(unit) => Expression::quantity(time, unit),
            None => time,
        })
    }

    /// The hours with the minutes and seconds behind them.
    fn time_parts(&mut self, hours: u32) -> Vec<u32> {
        let mut parts = vec![hours];
        while let [Kind::Mark(':'), Kind::Number(digits)] = &self.kinds::<2>()[..] {
            match digits.parse::<u32>() {
                // Two digits distinguish a time from a ratio, such as `3:4`.
                Ok(value) if digits.len() == 2 && value < 60 => parts.push(value),
                _ => break,
            }
            self.at += 2;
        }
        parts
    }

    /// `1 1/2`
    pub(super) fn plain_mixed(&mut self, whole: Expression) -> Option<Expression> {
        let numerator = self.operand()?;
        self.expect_mark('/')?;
        let (denominator, sign) = unsigned(self.operand()?);
        let fraction = quotient(numerator, denominator);
        is_proper_fraction(&fraction).then(|| signed(sum(whole, fraction), sign))
    }

    pub(super) fn number(&mut self, digits: &str) -> Option<Expression> {
        self.at += 1;
        let mut digits = digits.to_owned();
        self.join_groups(&mut digits);
        self.join_groups_with_points(&mut digits);
        // Parsing digits takes time quadratic in their number.
        if digits.len() > MOST_DIGITS {
            return None;
        }
        // What follows the digits decides what they are.
        if let Some(repeating) = self.repeating(&digits) {
            return Some(repeating);
        }
        // An exponent says that the number was rounded, so that it has a decimal's tolerance.
        if let Some(exponent) = self.scientific(&digits) {
            let value = exact::product_of(&decimal(&digits)?, &power_of_ten(exponent)?)?;
            return Some(Expression::Number(value, Written::Decimal));
        }
        if self.take_mark('_') {
            return self.in_base(&digits);
        }
        let number = as_written(&digits)?;
        Some(self.combinations_of(&number).unwrap_or(number))
    }

    /// `1,234` and `12 345`: groups of three digits after at most three.
    fn join_groups(&mut self, digits: &mut String) {
        // Nor is there a group behind a zero.
        if digits.len() > 3 || digits == "0" {
            return;
        }
        if let Some((groups, length)) = self.spaced_groups(digits) {
            digits.push_str(&groups);
            self.at += length;
            return;
        }
        // A fraction ends the number.
        while !digits.contains('.')
            && let Some((group, length)) = self.digit_group()
        {
            digits.push_str(&group);
            self.at += length;
        }
    }

    /// A group of three digits, perhaps with a fraction, and how many tokens it takes with its separator.
    fn digit_group(&self) -> Option<(String, usize)> {
        // `1, 234` with a blank is a list; `12 345` without a comma needs the blank.
        let comma = self.is_mark(',') && self.commas == Commas::InNumbers && self.is_close();
        // As on Swiss bank notes: `5'000`.
        let separated = comma || (self.is_mark('\'') && self.is_close());
        let next = self.tokens.get(self.at + usize::from(separated))?;
        match &next.kind {
            Kind::Number(group) if next.spaced != separated && whole_digits(group) == 3 => {
                Some((group.clone(), 1 + usize::from(separated)))
            }
            _ => None,
        }
    }

    /// The groups of `5, 000, 000` behind its first digits, and how many tokens they take. One of them begins
    /// with a zero, as no member of a list does.
    fn spaced_groups(&self, first: &str) -> Option<(String, usize)> {
        if self.commas != Commas::InNumbers || first.contains('.') || first.starts_with('0') {
            return None;
        }
        let mut groups: Vec<&str> = Vec::new();
        while let Some(group) = self.spaced_group(2 * groups.len()) {
            groups.push(group);
            (groups.len() <= MOST_GROUPS).then_some(())?;
        }
        let length = 2 * groups.len();
        // A list would go on.
        let ends = self.kind_at(length) != Some(&Kind::Mark(','));
        (ends && groups.iter().any(|group| group.starts_with('0'))).then(|| (groups.concat(), length))
    }

    /// Three digits with a comma and a blank before them.
    fn spaced_group(&self, offset: usize) -> Option<&str> {
        match self.tokens.get(self.at + offset..self.at + offset + 2)? {
            [Token { kind: Kind::Mark(','), .. }, Token { kind: Kind::Number(group), spaced: true }] => {
                Some(group.as_str()).filter(|group| group.len() == 3 && !group.contains('.'))
            }
            _ => None,
        }
    }

    /// The groups of `1.000.000`, which has too many points for a decimal.
    fn join_groups_with_points(&mut self, digits: &mut String) {
        let is_group = |kind: Option<&Kind>| match kind {
            Some(Kind::Number(group)) => group.len() == 4 && group.starts_with('.'),
            _ => false,
        };
        let first = digits.split_once('.').filter(|(whole, group)| {
            (1..=3).contains(&whole.len()) && !whole.starts_with('0') && group.len() == 3
        });
        if first.is_none() || !(is_group(self.peek()) && self.is_close()) {
            return;
        }
        while is_group(self.peek()) && self.is_close() {
            if let Some(Kind::Number(group)) = self.peek().cloned() {
                digits.push_str(&group);
            }
            self.at += 1;
        }
        digits.retain(|c| c != '.');
    }

    /// `0.1\overline{6}`
    fn repeating(&mut self, digits: &str) -> Option<Expression> {
        let (_, fraction) = digits.split_once('.')?;
        let period = self.period()?;
        self.at += 4;
        let tail = repeated(&period, fraction.len())?;
        Some(Expression::Number(decimal(digits)? + tail, Written::Exactly))
    }

    /// The digits under a bar or a dot.
    fn period(&self) -> Option<String> {
        match &self.kinds::<4>()[..] {
            [Kind::Command(name), Kind::Mark('{'), Kind::Number(period), Kind::Mark('}')]
                if matches!(name.as_str(), "overline" | "bar" | "dot") && !period.contains('.') =>
            {
                Some(period.clone())
            }
            _ => None,
        }
    }

    /// The exponent of `1.5e3`. `2e-1` is Euler's number doubled, less one.
    fn scientific(&mut self, mantissa: &str) -> Option<i64> {
        if !self.is_exponent_letter() {
            return None;
        }
        let sign = self.exponent_sign();
        let before = 1 + usize::from(sign.is_some());
        let Some(Kind::Number(digits)) = self.kind_at(before) else {
            return None;
        };
        // With a sign, `1.5e-3` and `1e-3` are scientific notation; `2e-1` is too often Euler's number.
        let clear = sign.is_none() || mantissa.contains('.') || mantissa == "1" || digits.len() > 1;
        // `parse` refuses an exponent with a point.
        let exponent = digits.parse::<i64>().ok().filter(|_| clear)? * sign.unwrap_or(1);
        self.at += before + 1;
        Some(exponent)
    }

    fn is_exponent_letter(&self) -> bool {
        self.is_close() && matches!(self.peek(), Some(Kind::Word(word)) if matches!(word.as_str(), "e" | "E"))
    }

    fn exponent_sign(&self) -> Option<i64> {
        match self.kind_at(1) {
            Some(Kind::Mark('-')) => Some(-1),
            Some(Kind::Mark('+')) => Some(1),
            _ => None,
        }
    }

    fn in_base(&mut self, digits: &str) -> Option<Expression> {
        let Expression::Number(base, _) = self.deeper(Parser::primary)? else {
            return None;
        };
        let base = u32::try_from(base.to_integer()).ok().filter(|base| (2..=36).contains(base))?;
        work::spend(digits.len().pow(2) as u64 / 20_000)?;
        let value = BigInt::from_str_radix(digits, base).ok()?;
        // Leading zeros say nothing in any base.
        Some(Expression::InBase(digits.trim_start_matches('0').to_owned(), base, value))
    }
}

/// The hours that a time may begin with.
fn hours(first: &Expression) -> Option<u32> {
    match first {
        Expression::Number(hours, Written::Exactly) if hours.is_integer() => {
            u32::try_from(hours.to_integer()).ok()
        }
        _ => None,
    }
}

fn as_written(digits: &str) -> Option<Expression> {
    let written = if digits.contains('.') { Written::Decimal } else { Written::Exactly };
    Some(Expression::Number(decimal(digits)?, written))
}

/// How many digits stand before the point.
fn whole_digits(number: &str) -> usize {
    number.find('.').unwrap_or(number.len())
}

/// A period of p digits after q others, repeated for ever: itself over 10^q (10^p − 1).
fn repeated(period: &str, others: usize) -> Option<Rational> {
    work::spend((period.len() + others).pow(2) as u64 / 1_000)?;
    let ten_to = |power: usize| BigInt::from(10).pow(power as u32);
    let nines = ten_to(period.len()) - BigInt::one();
    Some(Rational::new(period.parse().ok()?, nines * ten_to(others)))
}

/// 10 to a power of at most a few thousand digits.
fn power_of_ten(exponent: i64) -> Option<Rational> {
    const MOST: u64 = 5_000;
    let size = u32::try_from(exponent.unsigned_abs()).ok().filter(|size| u64::from(*size) <= MOST)?;
    let power = Rational::from_integer(Pow::pow(BigInt::from(10), size));
    Some(if exponent < 0 { power.recip() } else { power })
}
