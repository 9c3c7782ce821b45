//! Operators with bounds: sums, products, integrals, limits.

use super::command::is_greek;
use super::operator::{PRODUCT, SUM};
use super::parser::Parser;
use crate::maths::syntax::Expression;
use crate::maths::token::{Kind, Token};

impl Parser {
    /// `\sum_{k=0}^{n} a_k`: the operator with what stands below, above and behind it.
    pub(super) fn with_bounds(&mut self, name: &str) -> Option<Expression> {
        let (mut label, mut parts) = self.bounds(name)?;
        let start = self.at;
        if name == "int" && self.has_differential() {
            parts.extend(self.integrand()?);
        } else {
            let body = self.binary(PRODUCT)?;
            parts.extend(if name == "int" { without_differential(body) } else { vec![body] });
        }
        // The values of `f(k)` are not known, and it is no product.
        if self.calls_a_name(start, &parts) {
            label.push_str(" of values");
        }
        Some(Expression::Opaque(label, parts))
    }

    /// The name with the marks of its bounds, and the bounds, the lower one first in whichever order they are
    /// written.
    fn bounds(&mut self, name: &str) -> Option<(String, Vec<Expression>)> {
        let above_first = if self.is_mark('^') { self.bound('^')? } else { None };
        let below = self.bound('_')?;
        let above = if above_first.is_some() { above_first } else { self.bound('^')? };
        let mut label = name.to_owned();
        let mut parts = Vec::new();
        for (mark, bound) in [('_', below), ('^', above)] {
            if let Some(bound) = bound {
                label.push(mark);
                parts.push(bound);
            }
        }
        Some((label, parts))
    }

    /// The bound behind a mark: the inner `None` without one.
    fn bound(&mut self, mark: char) -> Option<Option<Expression>> {
        if !self.take_mark(mark) {
            return Some(None);
        }
        if self.take_mark('-') {
            return Some(Some(Expression::negative(self.deeper(Parser::primary)?)));
        }
        self.deeper(Parser::primary).map(Some)
    }

    /// What is integrated, and over which variable.
    fn integrand(&mut self) -> Option<[Expression; 2]> {
        let outside = std::mem::replace(&mut self.before_differential, true);
        let body = if self.is_differential() { Some(Expression::integer(1)) } else { self.binary(SUM) };
        self.before_differential = outside;
        let body = body?;
        self.is_differential().then_some(())?;
        self.at += 1;
        let variable = self.primary()?;
        Some([body, variable])
    }

    /// Whether `dx` comes next, with an upright or an italic d.
    pub(super) fn is_differential(&self) -> bool {
        self.is_differential_at(self.at)
    }

    fn is_differential_at(&self, at: usize) -> bool {
        let is_d = |kind: &Kind| matches!(kind, Kind::Word(letter) | Kind::Text(letter) if letter == "d");
        match self.tokens.get(at..at + 2) {
            Some([d, Token { kind: Kind::Word(_), .. }]) => is_d(&d.kind),
            Some([d, Token { kind: Kind::Command(name), .. }]) => is_d(&d.kind) && is_greek(name),
            _ => false,
        }
    }

    /// Whether a differential comes before the brackets that this stands in end.
    fn has_differential(&self) -> bool {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(self.at) {
            match token.kind {
                Kind::Mark('(' | '[' | '{') => depth += 1,
                Kind::Mark(')' | ']' | '}') if depth == 0 => return false,
                Kind::Mark(')' | ']' | '}') => depth -= 1,
                _ if depth == 0 && self.is_differential_at(at) => return true,
                _ => {}
            }
        }
        false
    }

    /// Whether a bracket follows a letter that is neither the index of the operator nor its variable.
    fn calls_a_name(&self, start: usize, parts: &[Expression]) -> bool {
        let is_index = |letter: &str| {
            let index = Expression::Symbol(letter.to_owned());
            let is_bound =
                |part: &Expression| matches!(part, Expression::Chain(sides, _) if sides[0] == index);
            parts.last() == Some(&index) || parts.iter().any(is_bound)
        };
        self.tokens[start..self.at].windows(2).any(|pair| match (&pair[0].kind, &pair[1]) {
            (Kind::Word(letter), next) => next.kind == Kind::Mark('(') && !next.spaced && !is_index(letter),
            _ => false,
        })
    }
}

/// `\frac{dx}{x}` as what is integrated and the variable; what holds no differential stays as it is.
fn without_differential(body: Expression) -> Vec<Expression> {
    let Expression::Quotient(pair) = &body else {
        return vec![body];
    };
    match &pair.0 {
        Expression::Product(parts) => match parts.as_slice() {
            [rest @ .., Expression::Symbol(d), variable @ Expression::Symbol(_)] if d == "d" => {
                let above =
                    if rest.is_empty() { Expression::integer(1) } else { Expression::Product(rest.to_vec()) };
                vec![Expression::quotient(above, pair.1.clone()), variable.clone()]
            }
            _ => vec![body],
        },
        _ => vec![body],
    }
}
