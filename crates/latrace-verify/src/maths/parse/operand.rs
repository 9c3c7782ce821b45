//! Operands: what begins one, what stands behind it, and what brackets hold.

use super::list::relation_named;
use super::operator::SUM;
use super::parser::Parser;
use crate::maths::exact;
use crate::maths::syntax::{Bracket, Constant, Expression, Function, Joint};
use crate::maths::token::Kind;

impl Parser {
    /// A primary with its powers and signs behind.
    pub(super) fn operand(&mut self) -> Option<Expression> {
        let mut value = self.deeper(Parser::primary)?;
        loop {
            value = match self.peek() {
                Some(Kind::Mark('^')) => self.power(value)?,
                Some(Kind::Mark('!')) if !self.is_unequal() => self.factorial(value)?,
                Some(Kind::Mark('%')) => {
                    self.at += 1;
                    Expression::percent(value)
                }
                Some(Kind::Command(name)) if matches!(name.as_str(), "degree" | "circ") => {
                    self.at += 1;
                    Expression::degrees(value)
                }
                _ => return Some(value),
            };
        }
    }

    /// Whether an exclamation mark and an equals sign stand side by side.
    pub(super) fn is_unequal(&self) -> bool {
        self.is_mark('!') && self.kind_at(1) == Some(&Kind::Mark('=')) && !self.tokens[self.at + 1].spaced
    }

    /// `n!` and `n!!`; more signs side by side have no meaning that all agree on.
    fn factorial(&mut self, value: Expression) -> Option<Expression> {
        self.at += 1;
        let mut function = Function::Factorial;
        while self.is_mark('!') && !self.tokens[self.at].spaced && !self.is_unequal() {
            (function == Function::Factorial).then_some(())?;
            function = Function::DoubleFactorial;
            self.at += 1;
        }
        Some(Expression::Call(function, vec![value]))
    }

    pub(super) fn power(&mut self, base: Expression) -> Option<Expression> {
        self.at += 1;
        let braced = self.is_mark('{');
        let first = self.kind_at(usize::from(braced));
        // `90^\circ` is an angle, not a power.
        if matches!(first, Some(Kind::Command(name)) if matches!(name.as_str(), "circ" | "degree")) {
            self.at += 1 + 2 * usize::from(braced);
            return Some(Expression::degrees(base));
        }
        // The letters of an ordinal number say nothing more.
        if matches!(first, Some(Kind::Text(ending)) if matches!(ending.as_str(), "st" | "nd" | "rd" | "th")) {
            self.at += 1 + 2 * usize::from(braced);
            return Some(base);
        }
        let exponent = self.exponent()?;
        Some(Expression::power(base, exponent))
    }

    pub(super) fn exponent(&mut self) -> Option<Expression> {
        if self.take_mark('-') {
            return Some(Expression::negative(self.exponent()?));
        }
        let exponent = self.deeper(Parser::primary)?;
        // Powers of powers group from the right.
        if self.is_mark('^') { self.deeper(|parser| parser.power(exponent)) } else { Some(exponent) }
    }

    pub(super) fn primary(&mut self) -> Option<Expression> {
        match self.peek()?.clone() {
            Kind::Number(digits) => self.number(&digits),
            Kind::Word(letter) => self.symbol(&letter),
            Kind::Text(text) if text.len() == 1 => self.symbol(&text),
            Kind::Text(_) => None,
            Kind::Mark('(') => self.bracketed(Bracket::Round),
            Kind::Mark('[') => self.bracketed(Bracket::Square),
            Kind::Mark('{') => self.braces(),
            Kind::Mark('|') => self.absolute(),
            Kind::Mark(_) => None,
            Kind::Command(name) => {
                self.at += 1;
                self.command(&name)
            }
        }
    }

    pub(super) fn symbol(&mut self, letter: &str) -> Option<Expression> {
        self.at += 1;
        let mut name = letter.to_owned();
        while self.take_mark('\'') || self.take_command("prime") {
            name.push('\'');
        }
        if self.take_mark('_') {
            // A subscript belongs to the name: x_1 and x_2 are as different as x and y.
            let subscript = self.deeper(Parser::subscript)?;
            return Some(Expression::Symbol(format!("{name}_{subscript}")));
        }
        Some(match name.as_str() {
            "i" => Expression::Constant(Constant::Imaginary),
            "e" => Expression::Constant(Constant::Euler),
            _ => Expression::Symbol(name),
        })
    }

    pub(super) fn subscript(&mut self) -> Option<String> {
        if let Some(Kind::Text(text)) = self.peek().cloned() {
            self.at += 1;
            return Some(text);
        }
        if let [Kind::Mark('{'), Kind::Text(text), Kind::Mark('}')] = &self.kinds::<3>()[..] {
            let text = text.clone();
            self.at += 3;
            return Some(text);
        }
        let part = self.primary()?;
        Some(exact::canonical(&part))
    }

    /// What stands between round or square brackets, and how it ends.
    pub(super) fn bracketed(&mut self, left: Bracket) -> Option<Expression> {
        self.at += 1;
        let content = self.inside(Parser::list)?;
        let right = match self.peek()? {
            Kind::Mark(')') => Bracket::Round,
            Kind::Mark(']') => Bracket::Square,
            _ => return None,
        };
        self.at += 1;
        match content {
            Expression::List(Joint::Comma, parts) => Some(Expression::Bracketed(left, right, parts)),
            // Brackets around one thing only group.
            single if left == right => Some(single),
            _ => None,
        }
    }

    pub(super) fn braces(&mut self) -> Option<Expression> {
        self.at += 1;
        let content = self.inside(Parser::list)?;
        if !self.take_mark('}') {
            return None;
        }
        Some(match content {
            // Plain braces around several members are meant as a set; around one they only group in TeX.
            Expression::List(Joint::Comma, parts) => Expression::Set(parts),
            other => other,
        })
    }

    pub(super) fn absolute(&mut self) -> Option<Expression> {
        self.at += 1;
        self.bars += 1;
        let content = self.binary(SUM);
        self.bars -= 1;
        (self.take_mark('|') || self.take_command("|")).then_some(())?;
        Some(Expression::Call(Function::Absolute, vec![content?]))
    }

    pub(super) fn starts_operand(&self) -> bool {
        match self.peek() {
            Some(Kind::Number(_) | Kind::Word(_)) => true,
            Some(Kind::Mark('(')) => !matches!(self.kind_at(1), Some(Kind::Command(name)) if name == "mod"),
            Some(Kind::Mark('[' | '{')) => true,
            // Within bars a bar closes; outside it opens. `|a|b|` is not read as a product of the inner one.
            Some(Kind::Mark('|')) => self.bars == 0,
            Some(Kind::Command(name)) => !is_separator(name),
            _ => false,
        }
    }
}

/// Commands that end an operand rather than begin one.
fn is_separator(name: &str) -> bool {
    const ENDS: [&str; 35] = [
        "}",
        "rbrace",
        "rangle",
        "rfloor",
        "rceil",
        "rvert",
        "rVert",
        "end",
        "\\",
        "and",
        "or",
        "land",
        "lor",
        "wedge",
        "vee",
        "cup",
        "cap",
        "setminus",
        "backslash",
        "pm",
        "mp",
        "cdot",
        "times",
        "ast",
        "div",
        "mid",
        "pmod",
        "bmod",
        "mod",
        "circ",
        "degree",
        "$",
        "AA",
        "prime",
        "|",
    ];
    ENDS.contains(&name) || relation_named(name).is_some()
}
