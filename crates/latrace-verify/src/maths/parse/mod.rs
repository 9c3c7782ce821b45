//! A Pratt parser for answers: LaTeX as models write it, and plain text.

mod command;
mod number;
mod operand;
mod quantity;

use num_bigint::BigInt;
use num_traits::{Pow, Zero};

use super::prepare::{is_prose, raw_tokens, refine, undress};
use super::syntax::{Expression, Joint, Rational, Relation, Written};
use super::token::{Kind, Token};

/// How deep brackets, roots and powers may nest.
const MOST_DEPTH: usize = 200;

/// How a comma between groups of digits is read outside brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commas {
    /// `1,234` is one number.
    InNumbers,
    /// Every comma separates.
    Separate,
}

/// Reads an answer; `None` where it is none that is understood.
pub(crate) fn parse(text: &str, commas: Commas) -> Option<Expression> {
    let plain = undress(text);
    let raw = raw_tokens(&plain)?;
    if is_prose(&raw) {
        return Some(Expression::Text(plain_text(&plain)));
    }
    let words = is_phrase(&plain, &raw);
    let mut parser = Parser { tokens: refine(raw), at: 0, depth: 0, bars: 0, commas };
    parser.skip_choice_label();
    match parser.list().filter(|_| parser.at == parser.tokens.len()) {
        None if words => Some(Expression::Text(plain_text(&plain))),
        answer => answer,
    }
}

/// Whether a text that is no formula is a phrase with values in it, such as `3 hours 30 minutes`.
fn is_phrase(text: &str, tokens: &[Token]) -> bool {
    let words = tokens
        .iter()
        .filter(|token| matches!(&token.kind, Kind::Word(word) | Kind::Text(word) if word.len() > 1))
        .count();
    let formula = text.contains(['\\', '_', '^', '{', '(', '[', '=', '<', '>']);
    words > 0 && !formula && tokens.first().is_some_and(|token| !matches!(token.kind, Kind::Mark(_)))
}

/// Whether commas between groups of digits may as well separate numbers: none begins with a zero.
pub(crate) fn has_grouped_digits(text: &str) -> bool {
    let groups = || {
        text.as_bytes().windows(5).filter(|five| {
            five[0].is_ascii_digit() && five[1] == b',' && five[2..].iter().all(u8::is_ascii_digit)
        })
    };
    groups().next().is_some() && groups().all(|five| five[2] != b'0')
}

/// A prose answer in words alone: case, markup and blanks removed.
pub(crate) fn plain_text(text: &str) -> String {
    let mut plain = text.to_lowercase();
    for name in ["\\text", "\\textbf", "\\textit", "\\mathrm", "\\mbox", "\\operatorname", "\\quad", "\\ "] {
        plain = plain.replace(&format!("{name}{{"), " {").replace(name, " ");
    }
    let point = |at: usize| {
        plain[..at].ends_with(|c: char| c.is_ascii_digit())
            && plain[at + 1..].starts_with(|c: char| c.is_ascii_digit())
    };
    let keep = |at: usize, c: char| {
        c.is_alphanumeric()
            || matches!(c, ',' | '-' | '+' | '=' | '<' | '>' | '/')
            || (matches!(c, '.' | ':') && point(at))
    };
    let kept: String = plain.char_indices().map(|(at, c)| if keep(at, c) { c } else { ' ' }).collect();
    let words = kept.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the"));
    words.collect::<Vec<_>>().join(" ")
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Absolute values that are open, so that a bar closes rather than opens.
    bars: usize,
    commas: Commas,
}

/// Binding powers of what stands between operands.
const SUM: u8 = 10;
const PRODUCT: u8 = 20;

impl Parser {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn kind_at(&self, offset: usize) -> Option<&Kind> {
        self.tokens.get(self.at + offset).map(|token| &token.kind)
    }

    fn is_mark(&self, mark: char) -> bool {
        self.peek() == Some(&Kind::Mark(mark))
    }

    fn is_command(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Kind::Command(command)) if command == name)
    }

    fn take_mark(&mut self, mark: char) -> bool {
        let found = self.is_mark(mark);
        self.at += usize::from(found);
        found
    }

    fn take_command(&mut self, name: &str) -> bool {
        let found = self.is_command(name);
        self.at += usize::from(found);
        found
    }

    /// `(C)` before a value, as options are quoted.
    fn skip_choice_label(&mut self) {
        if let [Kind::Mark('('), Kind::Word(letter), Kind::Mark(')'), next] = &self.kinds::<4>()[..]
            && letter.starts_with(|c: char| c.is_ascii_uppercase())
            && matches!(next, Kind::Number(_) | Kind::Command(_))
        {
            self.at += 3;
        }
    }

    fn kinds<const N: usize>(&self) -> Vec<Kind> {
        self.tokens.iter().skip(self.at).take(N).map(|token| token.kind.clone()).collect()
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Parser) -> Option<T>) -> Option<T> {
        if self.depth >= MOST_DEPTH {
            return None;
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Inside brackets every comma separates, and bars outside are not ours to close.
    fn inside<T>(&mut self, read: impl FnOnce(&mut Parser) -> Option<T>) -> Option<T> {
        let (commas, bars) =
            (std::mem::replace(&mut self.commas, Commas::Separate), std::mem::replace(&mut self.bars, 0));
        let value = self.deeper(read);
        (self.commas, self.bars) = (commas, bars);
        value
    }

    /// Parts between commas, `and`, `or`.
    fn list(&mut self) -> Option<Expression> {
        let mut parts = vec![self.chain()?];
        let mut joint = Joint::Comma;
        while let Some(next) = self.joint() {
            if next != Joint::Comma {
                joint = next;
            }
            parts.push(self.chain()?);
        }
        // `3 hours and 20 minutes` is one value.
        let one = || parts[1..].iter().try_fold(parts[0].clone(), |sum, part| quantity::together(&sum, part));
        match (parts.len(), joint) {
            (1, _) => parts.pop(),
            (_, Joint::And) if one().is_some() => one(),
            _ => Some(Expression::List(joint, parts)),
        }
    }

    fn joint(&mut self) -> Option<Joint> {
        let comma = self.take_mark(',') || self.take_mark(';');
        if self.take_command("and") || self.take_command("land") || self.take_command("wedge") {
            return Some(Joint::And);
        }
        if self.take_command("or") || self.take_command("lor") || self.take_command("vee") {
            return Some(Joint::Or);
        }
        comma.then_some(Joint::Comma)
    }

    /// Sides between relations.
    fn chain(&mut self) -> Option<Expression> {
        let mut sides = vec![self.union()?];
        let mut relations = Vec::new();
        while let Some(relation) = self.relation() {
            relations.push(relation);
            sides.push(self.union()?);
        }
        if relations.is_empty() { sides.pop() } else { Some(Expression::Chain(sides, relations)) }
    }

    fn relation(&mut self) -> Option<Relation> {
        let (relation, length) = match (self.peek()?, self.kind_at(1)) {
            (Kind::Mark('<'), Some(Kind::Mark('='))) => (Relation::LessOrEqual, 2),
            (Kind::Mark('>'), Some(Kind::Mark('='))) => (Relation::GreaterOrEqual, 2),
            (Kind::Mark('!'), _) if self.is_unequal() => (Relation::NotEqual, 2),
            (Kind::Mark('='), Some(Kind::Mark('='))) => (Relation::Equal, 2),
            (Kind::Mark(':'), Some(Kind::Mark('='))) => (Relation::Equal, 2),
            (Kind::Mark('='), _) => (Relation::Equal, 1),
            (Kind::Mark('<'), _) => (Relation::Less, 1),
            (Kind::Mark('>'), _) => (Relation::Greater, 1),
            (Kind::Command(name), _) => (relation_named(name)?, 1),
            _ => return None,
        };
        self.at += length;
        Some(relation)
    }

    fn union(&mut self) -> Option<Expression> {
        let mut parts = vec![self.ratio()?];
        loop {
            if self.take_command("cup") {
                parts.push(self.ratio()?);
            } else if self.take_command("cap")
                || self.take_command("setminus")
                || self.take_command("backslash")
            {
                let Some(Kind::Command(name)) = self.tokens.get(self.at - 1).map(|token| token.kind.clone())
                else {
                    return None;
                };
                let left = join_union(parts)?;
                let right = self.ratio()?;
                parts = vec![Expression::Opaque(name, vec![left, right])];
            } else {
                return join_union(parts);
            }
        }
    }

    fn ratio(&mut self) -> Option<Expression> {
        let mut parts = vec![self.quantity()?];
        if let Some(time) = self.time(&parts[0]) {
            return Some(time);
        }
        while self.is_mark(':') && self.kind_at(1) != Some(&Kind::Mark('=')) {
            self.at += 1;
            parts.push(self.quantity()?);
        }
        if parts.len() == 1 { parts.pop() } else { Some(Expression::Ratio(parts)) }
    }

    /// Operands between operators that bind at least as tightly as `least`.
    fn binary(&mut self, least: u8) -> Option<Expression> {
        self.deeper(|parser| parser.binary_here(least))
    }

    fn binary_here(&mut self, least: u8) -> Option<Expression> {
        let mut left = self.prefix()?;
        loop {
            let Some(operator) = self.operator() else {
                return Some(left);
            };
            if operator.power() < least {
                return Some(left);
            }
            left = self.apply(left, operator)?;
        }
    }

    fn operator(&self) -> Option<Operator> {
        Some(match self.peek()? {
            Kind::Mark('+') => Operator::Plus,
            Kind::Mark('-') => Operator::Minus,
            Kind::Command(name) if name == "pm" => Operator::PlusMinus,
            Kind::Command(name) if name == "mp" => Operator::MinusPlus,
            Kind::Mark('*') => Operator::Times,
            Kind::Command(name) if matches!(name.as_str(), "cdot" | "times" | "ast") => Operator::Times,
            Kind::Mark('/') => Operator::Over,
            Kind::Command(name) if name == "div" => Operator::Over,
            _ if self.starts_operand() => Operator::Beside,
            _ => return None,
        })
    }

    fn apply(&mut self, left: Expression, operator: Operator) -> Option<Expression> {
        if operator != Operator::Beside {
            self.at += 1;
        }
        let right = match operator {
            Operator::Beside => return self.beside(left),
            Operator::Times | Operator::Over => self.signed_operand()?,
            _ => self.binary(PRODUCT)?,
        };
        Some(match operator {
            Operator::Plus => sum(left, right),
            Operator::Minus => sum(left, Expression::Negative(Box::new(right))),
            Operator::PlusMinus => sum(left, Expression::PlusMinus(Box::new(right), false)),
            Operator::MinusPlus => sum(left, Expression::PlusMinus(Box::new(right), true)),
            Operator::Times => product(left, right),
            Operator::Over | Operator::Beside => quotient(left, right),
        })
    }

    /// An operand after `·` or `/`, where a minus sign may stand.
    fn signed_operand(&mut self) -> Option<Expression> {
        if self.take_mark('-') {
            return Some(Expression::Negative(Box::new(self.operand()?)));
        }
        self.operand()
    }

    /// Two operands side by side: a mixed number, or a product.
    fn beside(&mut self, left: Expression) -> Option<Expression> {
        let number_before = matches!(self.tokens[self.at - 1].kind, Kind::Number(_));
        let whole = number_before
            && matches!(&left, Expression::Number(value, Written::Exactly) if value.is_integer());
        if number_before && matches!(self.peek(), Some(Kind::Number(_))) {
            return if whole { self.plain_mixed(left) } else { None };
        }
        // In brackets a fraction is a factor.
        let bare_fraction = matches!(self.peek(), Some(Kind::Command(name)) if name.ends_with("frac"));
        let right = self.operand()?;
        match right {
            // The sign behind a mixed number is that of all of it.
            Expression::Percent(fraction) if whole && bare_fraction && is_proper_fraction(&fraction) => {
                Some(Expression::Percent(Box::new(sum(left, *fraction))))
            }
            Expression::Degrees(fraction) if whole && bare_fraction && is_proper_fraction(&fraction) => {
                Some(Expression::Degrees(Box::new(sum(left, *fraction))))
            }
            fraction if whole && bare_fraction && is_proper_fraction(&fraction) => Some(sum(left, fraction)),
            right => Some(product(left, right)),
        }
    }

    fn prefix(&mut self) -> Option<Expression> {
        if self.take_mark('-') {
            return Some(Expression::Negative(Box::new(self.binary(PRODUCT)?)));
        }
        if self.take_mark('+') {
            return self.binary(PRODUCT);
        }
        if self.take_command("pm") {
            return Some(Expression::PlusMinus(Box::new(self.binary(PRODUCT)?), false));
        }
        if self.take_command("mp") {
            return Some(Expression::PlusMinus(Box::new(self.binary(PRODUCT)?), true));
        }
        self.operand()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Plus,
    Minus,
    PlusMinus,
    MinusPlus,
    Times,
    Over,
    /// Nothing between two operands.
    Beside,
}

impl Operator {
    fn power(self) -> u8 {
        match self {
            Operator::Plus | Operator::Minus | Operator::PlusMinus | Operator::MinusPlus => SUM,
            Operator::Times | Operator::Over | Operator::Beside => PRODUCT,
        }
    }
}

fn relation_named(name: &str) -> Option<Relation> {
    Some(match name {
        "lt" => Relation::Less,
        "gt" => Relation::Greater,
        "le" | "leq" | "leqslant" | "leqq" => Relation::LessOrEqual,
        "ge" | "geq" | "geqslant" | "geqq" => Relation::GreaterOrEqual,
        "ne" | "neq" => Relation::NotEqual,
        "in" => Relation::In,
        "approx" | "simeq" | "doteq" => Relation::Approximate,
        "equiv" => Relation::Congruent,
        _ => return None,
    })
}

fn join_union(mut parts: Vec<Expression>) -> Option<Expression> {
    if parts.len() == 1 { parts.pop() } else { Some(Expression::Union(parts)) }
}

fn sum(left: Expression, right: Expression) -> Expression {
    match left {
        Expression::Sum(mut parts) => {
            parts.push(right);
            Expression::Sum(parts)
        }
        left => Expression::Sum(vec![left, right]),
    }
}

/// A quotient; the sign behind `1/3\%` and `45/2^\circ` is that of all of it.
fn quotient(left: Expression, right: Expression) -> Expression {
    match right {
        Expression::Percent(right) => Expression::Percent(Box::new(quotient(left, *right))),
        Expression::Degrees(right) => Expression::Degrees(Box::new(quotient(left, *right))),
        right => Expression::Quotient(Box::new((left, right))),
    }
}

fn product(left: Expression, right: Expression) -> Expression {
    match left {
        Expression::Product(mut parts) => {
            parts.push(right);
            Expression::Product(parts)
        }
        left => Expression::Product(vec![left, right]),
    }
}

/// Whether it is written as one whole number over a greater one.
fn is_proper_fraction(value: &Expression) -> bool {
    let Expression::Quotient(pair) = value else {
        return false;
    };
    match &**pair {
        (Expression::Number(one, Written::Exactly), Expression::Number(other, Written::Exactly)) => {
            !one.is_zero() && one < other
        }
        _ => false,
    }
}

/// Digits with at most one point, exactly.
fn decimal(digits: &str) -> Option<Rational> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let joined: BigInt = format!("0{whole}{fraction}").parse().ok()?;
    Some(Rational::new(joined, Pow::pow(BigInt::from(10), fraction.len() as u32)))
}
