//! What stands behind a backslash: fractions, roots, sets, matrices, functions.

use super::build::decimal;
use super::operator::{Operator, PRODUCT, SUM};
use super::parser::Parser;
use crate::maths::matrix;
use crate::maths::syntax::{Bracket, Constant, Expression, Function, Written};
use crate::maths::token::{Kind, Token};

impl Parser {
    /// The argument of a command: a group, or one digit, letter or command.
    pub(super) fn argument(&mut self) -> Option<Expression> {
        match self.peek()?.clone() {
            // TeX takes one digit for an argument without braces: `\frac12` is a half. The rest of the number
            // stays.
            Kind::Number(digits) if digits.len() > 1 && !digits.contains('.') => {
                let (first, rest) = digits.split_at(1);
                self.tokens[self.at] = Token { kind: Kind::Number(rest.to_owned()), spaced: false };
                Some(Expression::Number(decimal(first)?, Written::Exactly))
            }
            _ => self.deeper(Parser::primary),
        }
    }

    pub(super) fn command(&mut self, name: &str) -> Option<Expression> {
        match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" => {
                Some(Expression::quotient(self.argument()?, self.argument()?))
            }
            "binom" | "dbinom" | "tbinom" => {
                Some(Expression::Call(Function::Binomial, vec![self.argument()?, self.argument()?]))
            }
            "sqrt" => self.root(),
            "pi" => Some(Expression::Constant(Constant::Pi)),
            "infty" | "infinity" | "inf" => Some(Expression::Constant(Constant::Infinity)),
            "emptyset" | "varnothing" => Some(Expression::Constant(Constant::EmptySet)),
            "mathbb" | "Bbb" => self.number_set(),
            "R" | "Z" | "N" | "Q" => Some(Expression::Constant(Constant::NumberSet(name.chars().next()?))),
            "{" | "lbrace" => self.set(),
            "langle" => self.vector(),
            "|" | "lvert" | "lVert" | "vert" | "Vert" => self.norm(),
            "lfloor" => self.enclosed(Function::Floor, "rfloor"),
            "lceil" => self.enclosed(Function::Ceiling, "rceil"),
            "begin" => self.environment(),
            "sum" | "prod" | "int" | "lim" | "bigcup" | "bigcap" => self.with_bounds(name),
            "overline" | "vec" | "hat" | "bar" | "tilde" | "angle" | "triangle" | "widehat"
            | "overrightarrow" | "dot" | "ddot" => {
                Some(Expression::Opaque(name.to_owned(), vec![self.argument()?]))
            }
            "exp" => {
                let exponent = self.function_argument()?;
                Some(Expression::power(Expression::Constant(Constant::Euler), exponent))
            }
            "log" | "lg" => self.logarithm(name),
            "ldots" | "dots" | "cdots" => Some(Expression::Symbol("…".to_owned())),
            _ => match function_named(name) {
                Some(function) => self.function(function),
                None => self.greek(name),
            },
        }
    }

    pub(super) fn greek(&mut self, name: &str) -> Option<Expression> {
        let known = name.len() > 1
            && name.chars().all(|c| c.is_ascii_alphabetic())
            && GREEK.contains(&name.trim_start_matches("var").to_lowercase().as_str());
        if !known {
            return None;
        }
        // A letter's subscript and primes are read with its name, so the name is read again as a symbol.
        self.at -= 1;
        self.symbol(name)
    }

    pub(super) fn number_set(&mut self) -> Option<Expression> {
        match self.argument()? {
            Expression::Symbol(letter) if letter.len() == 1 => {
                Some(Expression::Constant(Constant::NumberSet(letter.chars().next()?)))
            }
            _ => None,
        }
    }

    pub(super) fn root(&mut self) -> Option<Expression> {
        let mut index = 2;
        if self.is_mark('[') {
            self.at += 1;
            let Expression::Number(value, Written::Exactly) = self.inside(|parser| parser.binary(SUM))?
            else {
                return None;
            };
            // An index with a variable in it, or one that no answer has, is not read.
            index = u32::try_from(value.to_integer()).ok().filter(|index| (2..=64).contains(index))?;
            self.take_mark(']').then_some(())?;
        }
        let radicand = self.deeper(Parser::primary)?;
        Some(Expression::root(radicand, index))
    }

    pub(super) fn set(&mut self) -> Option<Expression> {
        if self.take_command("}") || self.take_command("rbrace") {
            return Some(Expression::Constant(Constant::EmptySet));
        }
        let content = self.inside(Parser::list)?;
        if self.take_mark('|') || self.take_mark(':') || self.take_command("mid") {
            let condition = self.inside(Parser::list)?;
            (self.take_command("}") || self.take_command("rbrace")).then_some(())?;
            // `\{x : x > 2\}`: `region` knows what it holds.
            return Some(Expression::Opaque("such that".to_owned(), vec![content, condition]));
        }
        (self.take_command("}") || self.take_command("rbrace")).then_some(())?;
        Some(match content {
            Expression::List(_, parts) => Expression::Set(parts),
            single => Expression::Set(vec![single]),
        })
    }

    pub(super) fn vector(&mut self) -> Option<Expression> {
        let content = self.inside(Parser::list)?;
        self.take_command("rangle").then_some(())?;
        match content {
            Expression::List(_, parts) => Some(Expression::Bracketed(Bracket::Angle, Bracket::Angle, parts)),
            _ => None,
        }
    }

    pub(super) fn norm(&mut self) -> Option<Expression> {
        self.bars += 1;
        let content = self.binary(SUM);
        self.bars -= 1;
        let closed = ["|", "rvert", "rVert", "vert", "Vert"].iter().any(|name| self.take_command(name))
            || self.take_mark('|');
        closed.then_some(())?;
        Some(Expression::Call(Function::Absolute, vec![content?]))
    }

    pub(super) fn enclosed(&mut self, function: Function, end: &str) -> Option<Expression> {
        let content = self.inside(|parser| parser.binary(SUM))?;
        self.take_command(end).then_some(Expression::Call(function, vec![content]))
    }

    pub(super) fn environment(&mut self) -> Option<Expression> {
        let name = self.environment_name()?;
        // The columns of an array say how it is set, and are skipped.
        if name == "array" && self.take_mark('{') {
            while !self.take_mark('}') {
                self.at += 1;
                self.peek()?;
            }
        }
        let rows = self.inside(Parser::rows)?;
        self.take_command("end").then_some(())?;
        (self.environment_name()? == name).then_some(())?;
        match name.as_str() {
            // Bars around a matrix are its determinant, a number.
            "vmatrix" => Some(matrix::determinant(rows)),
            "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" | "array" => {
                Some(Expression::Matrix(rows))
            }
            _ => Some(Expression::Opaque(
                name,
                rows.into_iter()
                    .map(|row| Expression::Bracketed(Bracket::Round, Bracket::Round, row))
                    .collect(),
            )),
        }
    }

    pub(super) fn environment_name(&mut self) -> Option<String> {
        let [Kind::Mark('{'), Kind::Word(name), Kind::Mark('}')] = &self.kinds::<3>()[..] else {
            return self.split_environment_name();
        };
        let name = name.clone();
        self.at += 3;
        Some(name)
    }

    /// A name that the last step before parsing has cut into letters.
    pub(super) fn split_environment_name(&mut self) -> Option<String> {
        self.take_mark('{').then_some(())?;
        let mut name = String::new();
        while let Some(Kind::Word(letters)) = self.peek() {
            name.push_str(letters);
            self.at += 1;
        }
        self.take_mark('}').then_some(name)
    }

    pub(super) fn rows(&mut self) -> Option<Vec<Vec<Expression>>> {
        let mut rows = Vec::new();
        loop {
            if self.is_command("end") {
                return (!rows.is_empty()).then_some(rows);
            }
            let mut row = vec![self.list()?];
            while self.take_mark('&') {
                row.push(self.list()?);
            }
            rows.push(row);
            if !self.take_command("\\") && !self.is_command("end") {
                return None;
            }
        }
    }

    /// `\sum_{k=0}^{n} a_k`: the operator with what stands below, above and behind it.
    pub(super) fn with_bounds(&mut self, name: &str) -> Option<Expression> {
        let mut parts = Vec::new();
        let mut label = name.to_owned();
        for (mark, tag) in [('_', "_"), ('^', "^")] {
            if self.take_mark(mark) {
                label.push_str(tag);
                parts.push(self.deeper(Parser::primary)?);
            }
        }
        parts.push(self.binary(PRODUCT)?);
        Some(Expression::Opaque(label, parts))
    }

    pub(super) fn logarithm(&mut self, name: &str) -> Option<Expression> {
        let base = if self.take_mark('_') { Some(self.argument_of_base()?) } else { None };
        let power = self.function_power()?;
        let argument = self.function_argument()?;
        let call = match (base, name) {
            (Some(base), _) => Expression::Call(Function::LogarithmTo, vec![base, argument]),
            (None, "lg") => Expression::Call(Function::LogarithmTo, vec![Expression::integer(10), argument]),
            (None, _) => Expression::Call(Function::Logarithm, vec![argument]),
        };
        Some(raised(call, power))
    }

    pub(super) fn argument_of_base(&mut self) -> Option<Expression> {
        match self.kind_at(0)? {
            // `\log_2 8` has a blank between base and argument, `\log_28` has not.
            Kind::Number(_) if self.tokens.get(self.at + 1).is_some_and(|token| token.spaced) => {
                self.deeper(Parser::primary)
            }
            Kind::Number(digits) if digits == "10" => self.deeper(Parser::primary),
            _ => self.argument(),
        }
    }

    pub(super) fn function(&mut self, function: Function) -> Option<Expression> {
        // `\sin^{-1}` is the inverse function, `\sin^2` a power of the value.
        if self.is_mark('^') && self.is_inverse_power() {
            let inverse = inverse_of(function)?;
            self.function_power()?;
            return Some(Expression::Call(inverse, self.function_arguments()?));
        }
        let power = self.function_power()?;
        let arguments = self.function_arguments()?;
        let call = match (function, arguments.as_slice()) {
            (Function::Determinant, [Expression::Matrix(rows)]) => matrix::determinant(rows.clone()),
            _ => Expression::Call(function, arguments),
        };
        Some(raised(call, power))
    }

    pub(super) fn is_inverse_power(&self) -> bool {
        let [_, Kind::Mark('{'), Kind::Mark('-'), Kind::Number(one), Kind::Mark('}')] =
            &self.kinds::<5>()[..]
        else {
            return false;
        };
        one == "1"
    }

    /// `\sin^2 x`: `None` without one.
    pub(super) fn function_power(&mut self) -> Option<Option<Expression>> {
        if self.take_mark('^') { Some(Some(self.exponent()?)) } else { Some(None) }
    }

    pub(super) fn function_arguments(&mut self) -> Option<Vec<Expression>> {
        Some(match self.function_argument()? {
            Expression::Bracketed(Bracket::Round, Bracket::Round, parts) => parts,
            single => vec![single],
        })
    }

    /// A bracket, or the product up to the next function.
    pub(super) fn function_argument(&mut self) -> Option<Expression> {
        if matches!(self.peek(), Some(Kind::Mark('(' | '{' | '['))) {
            return self.deeper(Parser::primary);
        }
        let mut argument =
            if self.take_mark('-') { Expression::negative(self.operand()?) } else { self.operand()? };
        // `\sin 2x\cos x` is `\sin(2x) \cos(x)`: the argument goes on until a bracket or another function.
        while self.operator() == Some(Operator::Beside) && !self.is_mark('(') && !self.starts_function() {
            argument = self.beside(argument)?;
        }
        Some(argument)
    }

    pub(super) fn starts_function(&self) -> bool {
        let is_function = |name: &str| matches!(name, "log" | "lg" | "exp") || function_named(name).is_some();
        matches!(self.peek(), Some(Kind::Command(name)) if is_function(name))
    }
}

const GREEK: [&str; 24] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "omicron", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "ell",
];

fn function_named(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sine,
        "cos" => Function::Cosine,
        "tan" => Function::Tangent,
        "cot" => Function::Cotangent,
        "sec" => Function::Secant,
        "csc" => Function::Cosecant,
        "arcsin" => Function::ArcSine,
        "arccos" => Function::ArcCosine,
        "arctan" => Function::ArcTangent,
        "sinh" => Function::HyperbolicSine,
        "cosh" => Function::HyperbolicCosine,
        "tanh" => Function::HyperbolicTangent,
        "ln" => Function::Logarithm,
        "min" => Function::Minimum,
        "max" => Function::Maximum,
        "gcd" => Function::GreatestDivisor,
        "lcm" => Function::LeastMultiple,
        "det" => Function::Determinant,
        "abs" => Function::Absolute,
        _ => return None,
    })
}

fn inverse_of(function: Function) -> Option<Function> {
    Some(match function {
        Function::Sine => Function::ArcSine,
        Function::Cosine => Function::ArcCosine,
        Function::Tangent => Function::ArcTangent,
        _ => return None,
    })
}

fn raised(base: Expression, power: Option<Expression>) -> Expression {
    match power {
        Some(power) => Expression::power(base, power),
        None => base,
    }
}
