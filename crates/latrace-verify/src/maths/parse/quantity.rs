//! Values with what they count: units, currencies, moduli.

use num_bigint::BigInt;
use num_traits::One;

use super::operator::SUM;
use super::parser::Parser;
use super::prose::plain_text;
use crate::maths::syntax::{Expression, Function, Rational, Written};
use crate::maths::token::Kind;
use crate::maths::{exact, unit};

/// Words behind a number that change what it says, so that they count nothing.
const NO_UNITS: [&str; 16] = [
    "not",
    "below",
    "negative",
    "minus",
    "plus",
    "times",
    "squared",
    "cubed",
    "factorial",
    "over",
    "less",
    "than",
    "except",
    "if",
    "unless",
    "but",
];

/// The number that a word behind a number multiplies it by.
fn scale(word: &str) -> Option<Rational> {
    let (above, below): (i64, i64) = match word {
        "dozen" => (12, 1),
        "hundred" => (100, 1),
        "thousand" => (1_000, 1),
        "million" => (1_000_000, 1),
        "billion" => (1_000_000_000, 1),
        "trillion" => (1_000_000_000_000, 1),
        "halves" => (1, 2),
        "thirds" => (1, 3),
        "fourths" => (1, 4),
        "fifths" => (1, 5),
        "sixths" => (1, 6),
        "eighths" => (1, 8),
        "tenths" => (1, 10),
        "hundredths" => (1, 100),
        "thousandths" => (1, 1_000),
        _ => return None,
    };
    Some(Rational::new(BigInt::from(above), BigInt::from(below)))
}

/// A value times a factor, written as the value is where it is a number.
fn scaled(value: Expression, factor: &Rational) -> Option<Expression> {
    Some(match value {
        Expression::Number(value, written) => Expression::Number(value * factor, written),
        Expression::Negative(inner) => Expression::negative(scaled(*inner, factor)?),
        other => Expression::Product(vec![Expression::Number(factor.clone(), Written::Exactly), other]),
    })
}

/// Quantities that add up because the second's unit is a part of the first's, in the second's unit.
pub(super) fn together(first: &Expression, second: &Expression) -> Option<Expression> {
    let (Expression::Quantity(value, unit), Expression::Quantity(rest, part)) = (first, second) else {
        return None;
    };
    match unit::compare(unit, part) {
        // `3 cm 2 m` goes the wrong way, and nobody writes a length so.
        unit::Match::Factor(factor) if factor > Rational::one() => {
            let sum = exact::rational(value)? * factor + exact::rational(rest)?;
            Some(Expression::quantity(Expression::Number(sum, Written::Exactly), part.clone()))
        }
        _ => None,
    }
}

impl Parser {
    /// A value with what is counted, `5 cm`, or several that add up, `3 hours 20 minutes`.
    pub(super) fn quantity(&mut self) -> Option<Expression> {
        let mut quantity = self.single_quantity()?;
        while let (Expression::Quantity(..), Some(Kind::Number(_))) = (&quantity, self.peek()) {
            // Only a number begins another quantity: `5 km per hour` is one.
            let next = self.single_quantity()?;
            quantity = together(&quantity, &next)?;
        }
        Some(quantity)
    }

    fn single_quantity(&mut self) -> Option<Expression> {
        if let Some(currency) = self.currency() {
            let value = self.binary(SUM)?;
            return self.counted(value, Some(currency));
        }
        // `-\$5`: the sign stands before the currency.
        if let [Kind::Mark('-'), Kind::Command(name)] = &self.kinds::<2>()[..]
            && name == "$"
        {
            self.at += 2;
            let value = Expression::negative(self.binary(SUM)?);
            return self.counted(value, Some("$".to_owned()));
        }
        let value = if let Some(Kind::Text(text)) = self.peek()
            && text.len() > 1
        {
            self.text_operand()?
        } else {
            self.binary(SUM)?
        };
        let value = self.modulus(value)?;
        self.counted(value, None)
    }

    /// A value with the unit behind it, whose first word may be a number too: `5 million dollars`.
    fn counted(&mut self, value: Expression, currency: Option<String>) -> Option<Expression> {
        let Some(unit) = self.unit() else {
            return Some(match currency {
                Some(currency) => Expression::quantity(value, currency),
                None => value,
            });
        };
        // `5 squared` is not 5 of something: such words change the number, and what they make of it is not
        // known.
        if unit.split(|c: char| !c.is_alphabetic()).any(|word| NO_UNITS.contains(&word)) {
            return None;
        }
        // `5 million dollars` counts dollars.
        let (first, rest) = unit.split_once(' ').unwrap_or((&unit, ""));
        let (value, unit) = match scale(first) {
            Some(factor) => (scaled(value, &factor)?, rest.trim_start_matches("of ").to_owned()),
            None => (value, unit),
        };
        Some(match currency.or(Some(unit).filter(|unit| !unit.is_empty())) {
            Some(unit) => Expression::quantity(value, unit),
            None => value,
        })
    }

    pub(super) fn text_operand(&mut self) -> Option<Expression> {
        let Some(Kind::Text(text)) = self.peek().cloned() else {
            return None;
        };
        self.at += 1;
        Some(Expression::Text(plain_text(&text)))
    }

    pub(super) fn currency(&mut self) -> Option<String> {
        let symbol = match self.peek()? {
            Kind::Command(name) if name == "$" => "$",
            Kind::Command(name) if name == "pounds" => "£",
            Kind::Command(name) if name == "euro" => "€",
            Kind::Mark('€') => "€",
            Kind::Mark('£') => "£",
            _ => return None,
        };
        self.at += 1;
        Some(symbol.to_owned())
    }

    /// `\pmod{7}`, `(mod 7)`, `\bmod 7`.
    pub(super) fn modulus(&mut self, value: Expression) -> Option<Expression> {
        let in_brackets =
            self.is_mark('(') && matches!(self.kind_at(1), Some(Kind::Command(name)) if name == "mod");
        if in_brackets {
            self.at += 2;
        } else if !(self.take_command("pmod") || self.take_command("bmod") || self.take_command("mod")) {
            return Some(value);
        }
        let modulus = self.binary(SUM)?;
        if in_brackets && !self.take_mark(')') {
            return None;
        }
        Some(Expression::Call(Function::Modulo, vec![value, modulus]))
    }

    /// A unit behind a value: words, powers of words, words over words.
    pub(super) fn unit(&mut self) -> Option<String> {
        if self.take_command("$") {
            return Some("$".to_owned());
        }
        if self.take_command("AA") {
            return Some("ångström".to_owned());
        }
        let Some(Kind::Text(first)) = self.peek() else {
            return None;
        };
        let mut unit = first.trim().to_lowercase();
        self.at += 1;
        loop {
            let start = self.at;
            if let Some(power) = self.unit_power() {
                unit.push_str(&format!("^{power}"));
                continue;
            }
            let over = self.take_mark('/');
            self.take_command("cdot");
            match self.peek() {
                Some(Kind::Text(next)) => {
                    unit.push_str(if over { "/" } else { " " });
                    unit.push_str(&next.trim().to_lowercase());
                    self.at += 1;
                }
                // A single letter is a unit only behind a slash, as in `m/s`.
                Some(Kind::Word(next)) if over => {
                    unit.push('/');
                    unit.push_str(next);
                    self.at += 1;
                }
                _ => {
                    self.at = start;
                    return Some(unit);
                }
            }
        }
    }

    pub(super) fn unit_power(&mut self) -> Option<String> {
        if !self.is_mark('^') {
            return None;
        }
        let braced = self.kind_at(1) == Some(&Kind::Mark('{'));
        let skip = 1 + usize::from(braced);
        let minus = self.kind_at(skip) == Some(&Kind::Mark('-'));
        let Some(Kind::Number(digits)) = self.kind_at(skip + usize::from(minus)) else {
            return None;
        };
        let power = format!("{}{digits}", if minus { "-" } else { "" });
        self.at += skip + usize::from(minus) + 1;
        if braced && !self.take_mark('}') {
            return None;
        }
        Some(power)
    }
}
