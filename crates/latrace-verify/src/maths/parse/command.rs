//! What follows a backslash: fractions, roots, sets, matrices, functions.

use super::build::decimal;
use super::operator::{Operator, SUM};
use super::parser::Parser;
use crate::maths::functions::{function_named, inverse_of};
use crate::maths::matrix;
use crate::maths::syntax::{Bracket, Constant, Expression, Function, Written};
use crate::maths::token::{Kind, Token};

impl Parser {
    /// The argument of a command: a group, or one digit, letter or command.
    pub(super) fn argument(&mut self) -> Option<Expression> {
        match self.peek()? {
            Kind::Number(digits) if is_several_digits(digits) => self.first_digit(),
            _ => self.one_letter(),
        }
    }

    /// A primary of which a letter is all, since TeX takes one token: `\frac y2` is a half of y.
    pub(super) fn one_letter(&mut self) -> Option<Expression> {
        if let [Token { kind: Kind::Word(_), .. }, next, ..] = &mut self.tokens[self.at..] {
            next.spaced = true;
        }
        self.deeper(Parser::primary)
    }

    /// TeX takes one digit for an argument without braces: `\frac12` is a half. The rest of the number stays.
    fn first_digit(&mut self) -> Option<Expression> {
        let token = self.tokens.get_mut(self.at)?;
        let Kind::Number(digits) = &mut token.kind else {
            return None;
        };
        let rest = digits.split_off(1);
        let first = decimal(&std::mem::replace(digits, rest))?;
        token.spaced = false;
        Some(Expression::exactly(first))
    }

    pub(super) fn command(&mut self, name: &str) -> Option<Expression> {
        if let Some(constant) = constant_named(name) {
            return Some(Expression::Constant(constant));
        }
        // What a mark means is not known here, so a marked name is compared as a whole.
        if let Some((_, mark)) = MARKS.iter().find(|(command, _)| *command == name) {
            return Some(Expression::Opaque((*mark).to_owned(), vec![self.argument()?]));
        }
        match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" | "nicefrac" | "sfrac" | "flatfrac" => self.fraction(),
            "binom" | "dbinom" | "tbinom" => self.binomial(),
            "sqrt" => self.root(),
            "mathbb" | "Bbb" => self.number_set(),
            "{" | "lbrace" => self.set(),
            "langle" => self.vector(),
            "|" | "lvert" | "lVert" | "vert" | "Vert" => self.norm(),
            "lfloor" => self.enclosed(Function::Floor, "rfloor"),
            "lceil" => self.enclosed(Function::Ceiling, "rceil"),
            "begin" => self.environment(),
            "sum" | "prod" | "int" | "lim" | "bigcup" | "bigcap" => self.with_bounds(name),
            "root" => self.root_of(),
            "exp" => self.exponential(),
            "log" | "lg" => self.logarithm(name),
            "ldots" | "dots" | "cdots" => Some(Expression::Symbol("…".to_owned())),
            _ => match function_named(name) {
                Some(function) => self.function(function),
                None => self.greek(name),
            },
        }
    }

    fn fraction(&mut self) -> Option<Expression> {
        Some(Expression::quotient(self.argument()?, self.argument()?))
    }

    fn binomial(&mut self) -> Option<Expression> {
        Some(Expression::Call(Function::Binomial, vec![self.argument()?, self.argument()?]))
    }

    fn exponential(&mut self) -> Option<Expression> {
        let exponent = self.function_argument()?;
        Some(Expression::power(Expression::Constant(Constant::Euler), exponent))
    }

    fn greek(&mut self, name: &str) -> Option<Expression> {
        if !is_greek(name) {
            return None;
        }
        // A letter's subscript and primes are read with its name, so the name is read again as a symbol.
        self.at -= 1;
        self.symbol(name)
    }

    fn number_set(&mut self) -> Option<Expression> {
        let Expression::Symbol(name) = self.argument()? else {
            return None;
        };
        let letter = name.chars().next().filter(|_| name.len() == 1)?;
        Some(Expression::Constant(Constant::NumberSet(letter)))
    }

    fn root(&mut self) -> Option<Expression> {
        if !self.take_mark('[') {
            return Some(Expression::root(self.deeper(Parser::primary)?, 2));
        }
        let index = self.inside_sum()?;
        self.expect_mark(']')?;
        rooted(self.deeper(Parser::primary)?, index)
    }

    /// `\root 3 \of 8`, as in plain TeX.
    fn root_of(&mut self) -> Option<Expression> {
        let index = self.inside_sum()?;
        self.expect_one_of(&["of"])?;
        rooted(self.deeper(Parser::primary)?, index)
    }

    fn set(&mut self) -> Option<Expression> {
        // `\{\}` has no list in it to be parsed.
        if self.take_one_of(&CLOSING_BRACES) {
            return Some(Expression::Constant(Constant::EmptySet));
        }
        let content = self.set_content()?;
        let set = if self.takes_condition() { self.conditional(content)? } else { set_of(content) };
        self.expect_one_of(&CLOSING_BRACES)?;
        Some(set)
    }

    fn vector(&mut self) -> Option<Expression> {
        let content = self.inside(Parser::list)?;
        self.expect_one_of(&["rangle"])?;
        let Expression::List(_, parts) = content else {
            return None;
        };
        Some(Expression::Bracketed(Bracket::Angle, Bracket::Angle, parts))
    }

    fn norm(&mut self) -> Option<Expression> {
        let content = self.within_bars();
        (self.take_one_of(&CLOSING_BARS) || self.take_mark('|')).then(|| absolute(content))?
    }

    /// What stands between bars, the first of which was taken.
    pub(super) fn within_bars(&mut self) -> Option<Expression> {
        self.bars += 1;
        let content = self.binary(SUM);
        self.bars -= 1;
        content
    }

    fn enclosed(&mut self, function: Function, end: &str) -> Option<Expression> {
        let content = self.inside_sum()?;
        self.expect_one_of(&[end])?;
        Some(Expression::Call(function, vec![content]))
    }

    fn inside_sum(&mut self) -> Option<Expression> {
        self.inside(|parser| parser.binary(SUM))
    }

    fn environment(&mut self) -> Option<Expression> {
        let name = self.environment_name()?;
        if name == "array" && self.take_mark('{') {
            self.skip_columns()?;
        }
        let rows = self.inside(Parser::rows)?;
        self.expect_one_of(&["end"])?;
        (self.environment_name()? == name).then(|| environment_of(name, rows))
    }

    /// The column specification of an array is layout alone.
    fn skip_columns(&mut self) -> Option<()> {
        while !self.take_mark('}') {
            self.at += 1;
            self.peek()?;
        }
        Some(())
    }

    fn environment_name(&mut self) -> Option<String> {
        match &self.kinds::<3>()[..] {
            [Kind::Mark('{'), Kind::Word(name), Kind::Mark('}')] => {
                let name = name.clone();
                self.at += 3;
                Some(name)
            }
            _ => self.split_environment_name(),
        }
    }

    /// A name that the last step before parsing has cut into letters.
    fn split_environment_name(&mut self) -> Option<String> {
        self.expect_mark('{')?;
        let mut name = String::new();
        while let Some(Kind::Word(letters)) = self.peek() {
            name.push_str(letters);
            self.at += 1;
        }
        self.take_mark('}').then_some(name)
    }

    fn rows(&mut self) -> Option<Vec<Vec<Expression>>> {
        let mut rows = Vec::new();
        // A line break behind the last row is common, and begins no other.
        while !self.is_command("end") {
            rows.push(self.row()?);
            (self.take_command("\\") || self.is_command("end")).then_some(())?;
        }
        (!rows.is_empty()).then_some(rows)
    }

    fn row(&mut self) -> Option<Vec<Expression>> {
        let mut row = vec![self.list()?];
        while self.take_mark('&') {
            row.push(self.list()?);
        }
        Some(row)
    }

    fn logarithm(&mut self, name: &str) -> Option<Expression> {
        let base = if self.take_mark('_') { Some(self.logarithm_base()?) } else { None };
        let power = self.function_power()?;
        let argument = self.function_argument()?;
        // `\log` alone is the natural logarithm, as mathematics and computer algebra write it.
        let base = base.or_else(|| (name == "lg").then(|| Expression::integer(10)));
        let call = match base {
            Some(base) => Expression::Call(Function::LogarithmTo, vec![base, argument]),
            None => Expression::Call(Function::Logarithm, vec![argument]),
        };
        Some(raised(call, power))
    }

    fn logarithm_base(&mut self) -> Option<Expression> {
        // `\log_2 8` has a blank between base and argument and `\log_16(8)` a bracket, `\log_28` has none.
        let ends = |token: &Token| token.spaced || token.kind == Kind::Mark('(');
        let ends_here = self.tokens.get(self.at + 1).is_some_and(ends);
        match self.peek()? {
            Kind::Number(digits) if ends_here || digits == "10" => self.deeper(Parser::primary),
            _ => self.argument(),
        }
    }

    fn function(&mut self, function: Function) -> Option<Expression> {
        // `\sin^{-1}` is the inverse function, `\sin^2` a power of the value.
        if self.is_inverse_power() {
            return self.inverse(function);
        }
        // The power stands before the argument and applies to the value: `\sin^2 x` is (sin x)².
        let power = self.function_power()?;
        let arguments = self.function_arguments()?;
        let call = match (function, arguments.as_slice()) {
            (Function::Determinant, [Expression::Matrix(rows)]) => matrix::determinant(rows.clone()),
            _ => Expression::Call(function, arguments),
        };
        Some(raised(call, power))
    }

    fn inverse(&mut self, function: Function) -> Option<Expression> {
        let inverse = inverse_of(function)?;
        self.function_power()?;
        Some(Expression::Call(inverse, self.function_arguments()?))
    }

    fn is_inverse_power(&self) -> bool {
        match &self.kinds::<5>()[..] {
            [Kind::Mark('^'), Kind::Mark('{'), Kind::Mark('-'), Kind::Number(one), Kind::Mark('}')]
            | [Kind::Mark('^'), Kind::Mark('('), Kind::Mark('-'), Kind::Number(one), Kind::Mark(')')]
            | [Kind::Mark('^'), Kind::Mark('-'), Kind::Number(one), ..] => one == "1",
            _ => false,
        }
    }

    /// `\sin^2 x`: `None` without one.
    fn function_power(&mut self) -> Option<Option<Expression>> {
        if self.take_mark('^') { Some(Some(self.exponent()?)) } else { Some(None) }
    }

    fn function_arguments(&mut self) -> Option<Vec<Expression>> {
        Some(match self.function_argument()? {
            Expression::Bracketed(Bracket::Round, Bracket::Round, parts) => parts,
            single => vec![single],
        })
    }

    /// A bracket, or the product up to the next function.
    fn function_argument(&mut self) -> Option<Expression> {
        if matches!(self.peek(), Some(Kind::Mark('(' | '{' | '['))) {
            return self.deeper(Parser::primary);
        }
        let mut argument = self.signed_operand()?;
        // `\sin 2x\cos x` is `\sin(2x) \cos(x)`: the argument ends at a bracket or another function.
        while self.operator() == Some(Operator::Beside) && !self.is_mark('(') && !self.starts_function() {
            argument = self.beside(argument)?;
        }
        Some(argument)
    }

    fn starts_function(&self) -> bool {
        match self.peek() {
            Some(Kind::Command(name)) => {
                matches!(name.as_str(), "log" | "lg" | "exp") || function_named(name).is_some()
            }
            _ => false,
        }
    }
}

/// Commands that mark a name, as an angle, a vector or a line, and what each looks like.
const MARKS: [(&str, &str); 13] = [
    ("overline", "bar"),
    ("bar", "bar"),
    ("vec", "vec"),
    ("overrightarrow", "vec"),
    ("hat", "hat"),
    ("widehat", "hat"),
    ("tilde", "tilde"),
    ("widetilde", "tilde"),
    ("angle", "angle"),
    ("measuredangle", "angle"),
    ("triangle", "triangle"),
    ("dot", "dot"),
    ("ddot", "ddot"),
];

const CLOSING_BRACES: [&str; 2] = ["}", "rbrace"];

const CLOSING_BARS: [&str; 5] = ["|", "rvert", "rVert", "vert", "Vert"];

const GREEK: [&str; 24] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "omicron", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "ell",
];

fn constant_named(name: &str) -> Option<Constant> {
    Some(match name {
        "pi" => Constant::Pi,
        "infty" | "infinity" | "inf" => Constant::Infinity,
        "emptyset" | "varnothing" => Constant::EmptySet,
        "R" | "Z" | "N" | "Q" => Constant::NumberSet(name.chars().next()?),
        _ => return None,
    })
}

fn is_several_digits(number: &str) -> bool {
    number.len() > 1 && !number.contains('.')
}

/// Whether a name is a Greek letter's, in either case, or that of its variant, as `\varepsilon`.
pub(super) fn is_greek(name: &str) -> bool {
    let letters = name.len() > 1 && name.chars().all(|c| c.is_ascii_alphabetic());
    letters && GREEK.contains(&name.trim_start_matches("var").to_lowercase().as_str())
}

fn environment_of(name: String, rows: Vec<Vec<Expression>>) -> Expression {
    match name.as_str() {
        // Bars around a matrix are its determinant, a number.
        "vmatrix" => matrix::determinant(rows),
        "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" | "array" => Expression::Matrix(rows),
        _ => Expression::Opaque(name, rows.into_iter().map(tuple).collect()),
    }
}

/// A root by its index. One that is a number, but that no answer has, is not read; a variable one is a power.
fn rooted(radicand: Expression, index: Expression) -> Option<Expression> {
    const MOST_INDEX: u32 = 10_000;
    match index {
        Expression::Number(value, Written::Exactly) if value.is_integer() => {
            let index = u32::try_from(value.to_integer()).ok();
            index
                .filter(|index| (2..=MOST_INDEX).contains(index))
                .map(|index| Expression::root(radicand, index))
        }
        Expression::Number(..) | Expression::Negative(_) => None,
        index => Some(Expression::power(radicand, Expression::quotient(Expression::integer(1), index))),
    }
}

/// The set of what stands between braces.
fn set_of(content: Expression) -> Expression {
    match content {
        Expression::List(_, parts) => Expression::Set(parts),
        single => Expression::Set(vec![single]),
    }
}

pub(super) fn absolute(content: Option<Expression>) -> Option<Expression> {
    Some(Expression::Call(Function::Absolute, vec![content?]))
}

fn tuple(parts: Vec<Expression>) -> Expression {
    Expression::Bracketed(Bracket::Round, Bracket::Round, parts)
}

fn raised(base: Expression, power: Option<Expression>) -> Expression {
    match power {
        Some(power) => Expression::power(base, power),
        None => base,
    }
}
