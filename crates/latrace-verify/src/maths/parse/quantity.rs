//! Values with what they count: units, currencies, moduli.

use super::{Parser, SUM, plain_text};
use crate::maths::syntax::{Expression, Function};
use crate::maths::token::Kind;

impl Parser {
    /// A value with what is counted, `5 cm`.
    pub(super) fn quantity(&mut self) -> Option<Expression> {
        if let Some(currency) = self.currency() {
            let value = self.binary(SUM)?;
            self.unit();
            return Some(Expression::Quantity(Box::new(value), currency));
        }
        if let [Kind::Mark('-'), Kind::Command(name)] = &self.kinds::<2>()[..]
            && name == "$"
        {
            self.at += 2;
            let value = Expression::Negative(Box::new(self.binary(SUM)?));
            return Some(Expression::Quantity(Box::new(value), "$".to_owned()));
        }
        let value = if let Some(Kind::Text(text)) = self.peek()
            && text.len() > 1
        {
            self.text_operand()?
        } else {
            self.binary(SUM)?
        };
        let value = self.modulus(value)?;
        match self.unit() {
            Some(unit) => Some(Expression::Quantity(Box::new(value), unit)),
            None => Some(value),
        }
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
        let in_brackets = self.is_mark('(') && matches!(self.kind_at(1), Some(Kind::Command(name)) if name == "mod");
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
