//! Operands: what begins one, what stands behind it, and what brackets hold.

use super::command::absolute;
use super::list::relation_named;
use super::parser::Parser;
use crate::maths::exact;
use crate::maths::syntax::{Bracket, Constant, Expression, Function, Joint};
use crate::maths::token::{Kind, Token};

impl Parser {
    /// A primary with its powers and signs behind.
    pub(super) fn operand(&mut self) -> Option<Expression> {
        let mut value = self.deeper(Parser::primary)?;
        loop {
            value = if self.is_mark('^') {
                self.power(value)?
            } else if self.is_mark('!') && !self.is_unequal() {
                self.factorial(value)?
            } else if self.take_mark('%') {
                Expression::percent(value)
            } else if self.is_degree() {
                self.at += 1;
                Expression::degrees(value)
            } else {
                return Some(value);
            };
        }
    }

    /// Whether a degree sign comes next. Between names `\circ` composes functions.
    fn is_degree(&self) -> bool {
        let composes = self.is_command("circ")
            && matches!(self.tokens[self.at - 1].kind, Kind::Word(_) | Kind::Command(_) | Kind::Text(_));
        !composes && self.peek().is_some_and(|kind| kind.is_command(&DEGREES))
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

    fn power(&mut self, base: Expression) -> Option<Expression> {
        self.at += 1;
        let braced = self.is_mark('{');
        let raised = match self.kind_at(usize::from(braced)) {
            // `90^\circ` is an angle, not a power.
            Some(kind) if kind.is_command(&DEGREES) => Expression::degrees(base),
            // The letters of an ordinal number add nothing.
            Some(Kind::Text(ending)) if ORDINALS.contains(&ending.as_str()) => base,
            _ => return Some(Expression::power(base, self.exponent()?)),
        };
        self.at += 1 + 2 * usize::from(braced);
        Some(raised)
    }

    pub(super) fn exponent(&mut self) -> Option<Expression> {
        if self.take_mark('-') {
            return Some(Expression::negative(self.exponent()?));
        }
        let exponent = self.one_letter()?;
        // Powers of powers group from the right.
        if self.is_mark('^') { self.deeper(|parser| parser.power(exponent)) } else { Some(exponent) }
    }

    pub(super) fn primary(&mut self) -> Option<Expression> {
        match self.peek()?.clone() {
            Kind::Number(digits) => self.number(&digits),
            Kind::Word(letter) => self.symbol(&letter),
            // `\text{x}` is the variable; longer texts are units or words, and no operand.
            Kind::Text(text) if text.len() == 1 => self.symbol(&text),
            Kind::Text(_) => None,
            Kind::Mark('(') => self.bracketed(Bracket::Round),
            Kind::Mark('[') => self.bracketed(Bracket::Square),
            Kind::Mark('{') => self.braces(),
            Kind::Mark('|') => self.absolute(),
            Kind::Mark('_' | '^') => self.combinations(),
            Kind::Mark(_) => None,
            Kind::Command(name) => {
                self.at += 1;
                self.command(&name)
            }
        }
    }

    pub(super) fn symbol(&mut self, letter: &str) -> Option<Expression> {
        self.at += 1;
        if let Some(combinations) = self.named_combinations(letter) {
            return Some(combinations);
        }
        let name = self.with_primes(letter);
        // A subscript belongs to the name: x_1 and x_2 are as different as x and y.
        if self.take_mark('_') || self.is_index() {
            let subscript = self.deeper(Parser::subscript)?;
            return Some(Expression::Symbol(format!("{name}_{subscript}")));
        }
        match name.as_str() {
            "i" => Some(Expression::Constant(Constant::Imaginary)),
            "e" => Some(Expression::Constant(Constant::Euler)),
            _ => Some(self.applied(name)),
        }
    }

    /// A variable, or the value of the function of that name at a number.
    fn applied(&mut self, name: String) -> Expression {
        match self.applied_to() {
            Some(argument) => Expression::Opaque(format!("{name}()"), vec![argument]),
            None => Expression::Symbol(name),
        }
    }

    /// Digits directly behind a letter, which plain text writes for a subscript: `v0` is no product with zero.
    fn is_index(&self) -> bool {
        let [letter, index] = [self.at - 1, self.at].map(|at| self.tokens.get(at));
        let is_letter = letter.is_some_and(|letter| matches!(letter.kind, Kind::Word(_)));
        let is_number = |index: &Token| matches!(&index.kind, Kind::Number(digits) if !digits.contains('.'));
        is_letter && index.is_some_and(|index| !index.spaced && is_number(index))
    }

    fn with_primes(&mut self, letter: &str) -> String {
        let mut name = letter.to_owned();
        while self.take_mark('\'') || self.take_command("prime") {
            name.push('\'');
        }
        name
    }

    fn subscript(&mut self) -> Option<String> {
        let (text, length) = match &self.kinds::<3>()[..] {
            [Kind::Text(text), ..] => (text.clone(), 1),
            [Kind::Mark('{'), Kind::Text(text), Kind::Mark('}')] => (text.clone(), 3),
            // As a value, so that `x_{2}` and `x_2` are one name.
            _ => return Some(exact::canonical(&self.primary()?)),
        };
        self.at += length;
        Some(text)
    }

    /// What stands between round or square brackets, and how it ends.
    fn bracketed(&mut self, left: Bracket) -> Option<Expression> {
        self.at += 1;
        let content = self.inside(Parser::list)?;
        let right = self.closing_bracket()?;
        match content {
            Expression::List(Joint::Comma, parts) => Some(Expression::Bracketed(left, right, parts)),
            // Brackets around one thing only group.
            single if left == right => Some(single),
            _ => None,
        }
    }

    /// Either closes either: `[0, 1)` is an interval.
    fn closing_bracket(&mut self) -> Option<Bracket> {
        if self.take_mark(')') {
            return Some(Bracket::Round);
        }
        self.take_mark(']').then_some(Bracket::Square)
    }

    fn braces(&mut self) -> Option<Expression> {
        self.at += 1;
        // Nothing else begins with empty braces than `{}_5C_2`.
        if self.take_mark('}') {
            return self.combinations();
        }
        let content = self.set_content()?;
        if self.takes_condition() {
            let set = self.conditional(content)?;
            self.expect_mark('}')?;
            return Some(set);
        }
        self.expect_mark('}')?;
        // Plain braces around several members are meant as a set; around one they only group in TeX.
        let Expression::List(Joint::Comma, parts) = content else {
            return Some(content);
        };
        Some(Expression::Set(parts))
    }

    fn absolute(&mut self) -> Option<Expression> {
        self.at += 1;
        let content = self.within_bars();
        (self.take_mark('|') || self.take_command("|")).then(|| absolute(content))?
    }

    pub(super) fn starts_operand(&self) -> bool {
        match self.peek() {
            Some(_) if self.before_differential && self.is_differential() => false,
            Some(Kind::Number(_) | Kind::Word(_) | Kind::Mark('[' | '{')) => true,
            // `3 (mod 7)` is a remainder, not a product.
            Some(Kind::Mark('(')) => !self.kind_at(1).is_some_and(|kind| kind.is_command(&["mod"])),
            // Within bars a bar closes; outside it opens. `|a|b|` is not read as a product of the inner one.
            // A bar in a set stands before its condition.
            Some(Kind::Mark('|')) => self.bars == 0 && !self.before_condition,
            Some(Kind::Command(name)) => !is_separator(name),
            _ => false,
        }
    }
}

/// Commands for degrees, which stand behind a value or in its exponent.
const DEGREES: [&str; 2] = ["circ", "degree"];

/// Endings of ordinal numbers.
const ORDINALS: [&str; 4] = ["st", "nd", "rd", "th"];

/// Commands, besides relations, that end an operand rather than begin one.
#[rustfmt::skip]
const SEPARATORS: [&str; 39] = [
    // Closing brackets and bars.
    "}", "rbrace", "rangle", "rfloor", "rceil", "rvert", "rVert", "end", "\\", "|",
    // Joints, and operations on sets.
    "and", "or", "land", "lor", "wedge", "vee", "cup", "cap", "setminus", "backslash", "mid",
    // Operators between values.
    "pm", "mp", "cdot", "times", "ast", "div",
    // What stands behind a value.
    "pmod", "bmod", "mod", "circ", "degree", "$", "AA", "prime", "forall",
    // Between the terms of a fraction, and an index and its radicand.
    "over", "choose", "of",
];

fn is_separator(name: &str) -> bool {
    SEPARATORS.contains(&name) || relation_named(name).is_some()
}
