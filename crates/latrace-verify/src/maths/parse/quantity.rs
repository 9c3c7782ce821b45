//! Values with what they count: units, currencies, moduli.

use num_traits::One;

use super::operator::SUM;
use super::parser::Parser;
use super::prose::plain_text;
use super::quantifier::quantifies;
use crate::maths::syntax::{Expression, Function, Rational};
use crate::maths::token::{Kind, is_currency};
use crate::maths::{counted, exact, unit};

/// A value times a factor, written as the value is where it is a number.
fn scaled(value: Expression, factor: &Rational) -> Option<Expression> {
    Some(match value {
        Expression::Number(value, written) => Expression::Number(value * factor, written),
        Expression::Negative(inner) => Expression::negative(scaled(*inner, factor)?),
        other => Expression::Product(vec![Expression::exactly(factor.clone()), other]),
    })
}

/// Quantities that add up because the second's unit is a part of the first's, in the second's unit.
pub(super) fn together(first: &Expression, second: &Expression) -> Option<Expression> {
    let (Expression::Quantity(value, unit), Expression::Quantity(rest, part)) = (first, second) else {
        return None;
    };
    match unit::compare(unit, part) {
        // `3 cm 2 m` has its units in the wrong order, so it is not a length.
        unit::Match::Factor(factor) if factor > Rational::one() => {
            let sum = exact::rational(value)? * factor + exact::rational(rest)?;
            Some(Expression::quantity(Expression::exactly(sum), part.clone()))
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
        let negative = self.is_negative_amount();
        self.at += usize::from(negative);
        if let Some(currency) = self.currency() {
            let value = self.binary(SUM)?;
            let value = if negative { Expression::negative(value) } else { value };
            return self.counted(value, Some(currency));
        }
        let value = self.value()?;
        let value = self.modulus(value)?;
        self.counted(value, None)
    }

    /// `-\$5`: the sign stands before the currency.
    fn is_negative_amount(&self) -> bool {
        let is_currency = |kind: &Kind| match kind {
            Kind::Command(name) => currency_named(name).is_some(),
            Kind::Mark(sign) => is_currency(*sign),
            _ => false,
        };
        self.is_mark('-') && self.kind_at(1).is_some_and(is_currency)
    }

    fn value(&mut self) -> Option<Expression> {
        match self.peek() {
            // Words may be counted too, as in `\\text{ten} cm`. A text of one letter is a variable.
            Some(Kind::Text(text)) if text.len() > 1 => {
                let words = plain_text(text);
                self.at += 1;
                Some(Expression::Text(words))
            }
            _ => self.binary(SUM),
        }
    }

    /// A value with the unit behind it, whose first words may be numbers too: `5 million dollars`.
    fn counted(&mut self, value: Expression, currency: Option<String>) -> Option<Expression> {
        let Some(unit) = self.unit() else {
            return Some(match currency {
                Some(currency) => Expression::quantity(value, currency),
                None => value,
            });
        };
        // What is not surely a unit may say anything about the number.
        counted::is_unit(&unit).then_some(())?;
        let (factor, unit) = counted::scales(&unit);
        // Behind money `m` and `b` are millions and billions.
        let is_clear = currency.is_none() || unit.is_empty() || unit.len() > MOST_ABBREVIATED;
        is_clear.then_some(())?;
        let value = match factor {
            Some(factor) => scaled(value, &factor)?,
            None => value,
        };
        // The currency before a value says more than a word behind it, as in `\$5 each`.
        Some(match currency.as_deref().unwrap_or(unit) {
            "" => value,
            unit => in_unit(value, unit),
        })
    }

    fn currency(&mut self) -> Option<String> {
        let symbol = match self.peek()? {
            Kind::Command(name) => currency_named(name)?.to_owned(),
            Kind::Mark(sign) if is_currency(*sign) => sign.to_string(),
            _ => return None,
        };
        self.at += 1;
        Some(symbol)
    }

    /// `\pmod{7}`, `(mod 7)`, `\bmod 7`.
    fn modulus(&mut self, value: Expression) -> Option<Expression> {
        let in_brackets = self.is_mark('(') && self.kind_at(1).is_some_and(|kind| kind.is_command(&["mod"]));
        if in_brackets {
            self.at += 2;
        } else if !self.take_one_of(&["pmod", "bmod", "mod"]) {
            return Some(value);
        }
        let modulus = self.binary(SUM)?;
        if in_brackets {
            self.expect_mark(')')?;
        }
        Some(Expression::Call(Function::Modulo, vec![value, modulus]))
    }

    /// A unit behind a value: words, powers of words, words over words.
    pub(super) fn unit(&mut self) -> Option<String> {
        if let Some(currency) = self.currency() {
            return Some(currency);
        }
        if self.take_command("AA") {
            return Some("ångström".to_owned());
        }
        let mut unit = self.unit_word()?;
        while let Some(more) = self.more_of_unit() {
            unit.push_str(&more);
        }
        Some(unit)
    }

    fn unit_word(&mut self) -> Option<String> {
        let Some(Kind::Text(text)) = self.peek() else {
            return None;
        };
        if quantifies(text) {
            return None;
        }
        // As it is written: the case of a symbol counts.
        let word = text.trim().to_owned();
        self.at += 1;
        Some(word)
    }

    /// A power, or another word with what joins it to the first.
    fn more_of_unit(&mut self) -> Option<String> {
        let start = self.at;
        if let Some(power) = self.unit_power() {
            return Some(format!("^{power}"));
        }
        let over = self.take_mark('/');
        self.take_command("cdot");
        let next = self.unit_word().or_else(|| self.unit_letter().filter(|_| over));
        if next.is_none() {
            // A slash before something else divides the whole quantity.
            self.at = start;
        }
        next.map(|word| format!("{}{word}", if over { '/' } else { ' ' }))
    }

    /// A single letter is a unit only behind a slash, as in `m/s`.
    fn unit_letter(&mut self) -> Option<String> {
        let Some(Kind::Word(letter)) = self.peek() else {
            return None;
        };
        let letter = letter.clone();
        self.at += 1;
        Some(letter)
    }

    fn unit_power(&mut self) -> Option<String> {
        if !self.take_mark('^') {
            return None;
        }
        let start = self.at;
        let braced = self.take_mark('{');
        let sign = if self.take_mark('-') { "-" } else { "" };
        let Some(Kind::Number(digits)) = self.peek() else {
            // A power of anything else is no part of a unit.
            self.at = start - 1;
            return None;
        };
        let power = format!("{sign}{digits}");
        self.at += 1;
        if braced {
            self.expect_mark('}')?;
        }
        Some(power)
    }
}

/// Behind money shorter words than this may be abbreviations of large numbers.
const MOST_ABBREVIATED: usize = 2;

/// A value with its unit. `C` behind degrees is a scale, not a coulomb.
fn in_unit(value: Expression, unit: &str) -> Expression {
    match (value, unit.to_lowercase().as_str()) {
        (Expression::Degrees(value), "c" | "celsius") => Expression::quantity(*value, "°C"),
        (Expression::Degrees(value), "f" | "fahrenheit") => Expression::quantity(*value, "°F"),
        (value, _) => Expression::quantity(value, unit),
    }
}

fn currency_named(command: &str) -> Option<&'static str> {
    Some(match command {
        "$" => "$",
        "pounds" | "textsterling" => "£",
        "euro" | "texteuro" => "€",
        "yen" | "textyen" => "¥",
        "rupee" | "textrupee" => "₹",
        _ => return None,
    })
}
