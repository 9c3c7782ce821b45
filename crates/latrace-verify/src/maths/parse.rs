//! A Pratt parser for answers: LaTeX as models write it, and plain text.

use num_bigint::BigInt;
use num_traits::{Num, One, Pow, Zero};

use super::exact;
use super::prepare::{is_prose, raw_tokens, refine, undress};
use super::syntax::{Bracket, Constant, Expression, Function, Joint, Rational, Relation, Written};
use super::token::{Kind, Token};

/// How deep brackets, roots and powers may nest.
const MOST_DEPTH: usize = 200;
/// The most digits that a number may have.
const MOST_DIGITS: usize = 20_000;

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
    let words = tokens.iter().filter(|token| matches!(&token.kind, Kind::Word(word) | Kind::Text(word) if word.len() > 1)).count();
    let formula = text.contains(['\\', '_', '^', '{', '(', '[', '=', '<', '>']);
    words > 0 && !formula && tokens.first().is_some_and(|token| !matches!(token.kind, Kind::Mark(_)))
}

/// Whether reading commas the other way makes a difference.
pub(crate) fn has_grouped_digits(text: &str) -> bool {
    text.as_bytes().windows(5).any(|five| five[0].is_ascii_digit() && five[1] == b',' && five[2..].iter().all(u8::is_ascii_digit))
}

/// A prose answer in words alone: case, markup and blanks removed.
pub(crate) fn plain_text(text: &str) -> String {
    let mut plain = text.to_lowercase();
    for name in ["\\text", "\\textbf", "\\textit", "\\mathrm", "\\mbox", "\\operatorname", "\\quad", "\\ "] {
        plain = plain.replace(&format!("{name}{{"), " {").replace(name, " ");
    }
    let point = |at: usize| plain[..at].ends_with(|c: char| c.is_ascii_digit()) && plain[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let keep = |at: usize, c: char| c.is_alphanumeric() || matches!(c, ',' | '-' | '+' | '=' | '<' | '>' | '/') || (matches!(c, '.' | ':') && point(at));
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
        let (commas, bars) = (std::mem::replace(&mut self.commas, Commas::Separate), std::mem::replace(&mut self.bars, 0));
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
        if parts.len() == 1 { parts.pop() } else { Some(Expression::List(joint, parts)) }
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
            (Kind::Mark('!'), Some(Kind::Mark('='))) => (Relation::NotEqual, 2),
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
            } else if self.take_command("cap") || self.take_command("setminus") || self.take_command("backslash") {
                let Some(Kind::Command(name)) = self.tokens.get(self.at - 1).map(|token| token.kind.clone()) else {
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

    /// `12:05` and `1:02:03`.
    fn time(&mut self, first: &Expression) -> Option<Expression> {
        let Expression::Number(hours, Written::Exactly) = first else {
            return None;
        };
        let mut parts = vec![u32::try_from(hours.to_integer()).ok().filter(|_| hours.is_integer())?];
        let start = self.at;
        while let [Kind::Mark(':'), Kind::Number(digits)] = &self.kinds::<2>()[..] {
            match digits.parse::<u32>() {
                Ok(value) if digits.len() == 2 && value < 60 => parts.push(value),
                _ => break,
            }
            self.at += 2;
        }
        let is_time = parts.len() > 1 && parts[0] <= 24 && !self.is_mark(':');
        if !is_time {
            self.at = start;
            return None;
        }
        let time = Expression::Time(parts);
        Some(match self.unit() {
            Some(unit) => Expression::Quantity(Box::new(time), unit),
            None => time,
        })
    }

    /// A value with what is counted, `5 cm`.
    fn quantity(&mut self) -> Option<Expression> {
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

    fn text_operand(&mut self) -> Option<Expression> {
        let Some(Kind::Text(text)) = self.peek().cloned() else {
            return None;
        };
        self.at += 1;
        Some(Expression::Text(plain_text(&text)))
    }

    fn currency(&mut self) -> Option<String> {
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
    fn modulus(&mut self, value: Expression) -> Option<Expression> {
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
    fn unit(&mut self) -> Option<String> {
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

    fn unit_power(&mut self) -> Option<String> {
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
            Operator::Over | Operator::Beside => Expression::Quotient(Box::new((left, right))),
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
        let whole = number_before && matches!(&left, Expression::Number(value, Written::Exactly) if value.is_integer());
        if number_before && matches!(self.peek(), Some(Kind::Number(_))) {
            return if whole { self.plain_mixed(left) } else { None };
        }
        // In brackets a fraction is a factor.
        let bare_fraction = matches!(self.peek(), Some(Kind::Command(name)) if name.ends_with("frac"));
        let right = self.operand()?;
        if whole && bare_fraction && is_proper_fraction(&right) {
            return Some(sum(left, right));
        }
        Some(product(left, right))
    }

    /// `1 1/2`
    fn plain_mixed(&mut self, whole: Expression) -> Option<Expression> {
        let numerator = self.operand()?;
        if !self.take_mark('/') {
            return None;
        }
        let fraction = Expression::Quotient(Box::new((numerator, self.operand()?)));
        is_proper_fraction(&fraction).then(|| sum(whole, fraction))
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

    fn starts_operand(&self) -> bool {
        match self.peek() {
            Some(Kind::Number(_) | Kind::Word(_)) => true,
            Some(Kind::Mark('(')) => !matches!(self.kind_at(1), Some(Kind::Command(name)) if name == "mod"),
            Some(Kind::Mark('[' | '{')) => true,
            Some(Kind::Mark('|')) => self.bars == 0,
            Some(Kind::Command(name)) => !is_separator(name),
            _ => false,
        }
    }

    /// A primary with its powers and signs behind.
    fn operand(&mut self) -> Option<Expression> {
        let mut value = self.deeper(Parser::primary)?;
        loop {
            value = match self.peek() {
                Some(Kind::Mark('^')) => self.power(value)?,
                Some(Kind::Mark('!')) if self.kind_at(1) != Some(&Kind::Mark('=')) => {
                    self.at += 1;
                    Expression::Call(Function::Factorial, vec![value])
                }
                Some(Kind::Mark('%')) => {
                    self.at += 1;
                    Expression::Percent(Box::new(value))
                }
                Some(Kind::Command(name)) if matches!(name.as_str(), "degree" | "circ") => {
                    self.at += 1;
                    Expression::Degrees(Box::new(value))
                }
                _ => return Some(value),
            };
        }
    }

    fn power(&mut self, base: Expression) -> Option<Expression> {
        self.at += 1;
        let braced = self.is_mark('{');
        let first = self.kind_at(usize::from(braced));
        if matches!(first, Some(Kind::Command(name)) if matches!(name.as_str(), "circ" | "degree")) {
            self.at += 1 + 2 * usize::from(braced);
            return Some(Expression::Degrees(Box::new(base)));
        }
        // The letters of an ordinal number say nothing more.
        if matches!(first, Some(Kind::Text(ending)) if matches!(ending.as_str(), "st" | "nd" | "rd" | "th")) {
            self.at += 1 + 2 * usize::from(braced);
            return Some(base);
        }
        let exponent = self.exponent()?;
        Some(Expression::Power(Box::new((base, exponent))))
    }

    fn exponent(&mut self) -> Option<Expression> {
        if self.take_mark('-') {
            return Some(Expression::Negative(Box::new(self.exponent()?)));
        }
        let exponent = self.deeper(Parser::primary)?;
        // Powers of powers group from the right.
        if self.is_mark('^') { self.deeper(|parser| parser.power(exponent)) } else { Some(exponent) }
    }

    fn primary(&mut self) -> Option<Expression> {
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

    fn number(&mut self, digits: &str) -> Option<Expression> {
        self.at += 1;
        let mut digits = digits.to_owned();
        self.join_groups(&mut digits);
        if digits.len() > MOST_DIGITS {
            return None;
        }
        if let Some(repeating) = self.repeating(&digits) {
            return Some(repeating);
        }
        if let Some(exponent) = self.scientific(&digits) {
            let value = decimal(&digits)? * power_of_ten(exponent)?;
            return Some(Expression::Number(value, Written::Decimal));
        }
        if self.is_mark('_') {
            return self.in_base(&digits);
        }
        let written = if digits.contains('.') { Written::Decimal } else { Written::Exactly };
        Some(Expression::Number(decimal(&digits)?, written))
    }

    /// `1,234` and `12 345`: groups of three digits after at most three.
    fn join_groups(&mut self, digits: &mut String) {
        if digits.len() > 3 || digits.contains('.') {
            return;
        }
        loop {
            let comma = self.is_mark(',') && self.commas == Commas::InNumbers && !self.tokens[self.at].spaced;
            let Some(next) = self.tokens.get(self.at + usize::from(comma)) else {
                return;
            };
            let Kind::Number(group) = &next.kind else {
                return;
            };
            let whole = group.find('.').unwrap_or(group.len());
            if whole != 3 || next.spaced == comma {
                return;
            }
            digits.push_str(group);
            self.at += 1 + usize::from(comma);
            if digits.contains('.') {
                return;
            }
        }
    }

    /// `0.1\overline{6}`
    fn repeating(&mut self, digits: &str) -> Option<Expression> {
        let point = digits.find('.')?;
        let [Kind::Command(name), Kind::Mark('{'), Kind::Number(period), Kind::Mark('}')] = &self.kinds::<4>()[..] else {
            return None;
        };
        if !matches!(name.as_str(), "overline" | "bar" | "dot") || period.contains('.') {
            return None;
        }
        self.at += 4;
        let places = digits.len() - point - 1;
        let nines = BigInt::from(10).pow(period.len() as u32) - BigInt::one();
        let tail = Rational::new(period.parse().ok()?, nines * BigInt::from(10).pow(places as u32));
        Some(Expression::Number(decimal(digits)? + tail, Written::Exactly))
    }

    /// The exponent of `1.5e3`. `2e-1` is Euler's number doubled, less one.
    fn scientific(&mut self, mantissa: &str) -> Option<i64> {
        let letter = matches!(self.peek(), Some(Kind::Word(word)) if matches!(word.as_str(), "e" | "E")) && !self.tokens[self.at].spaced;
        let sign = match self.kind_at(1) {
            Some(Kind::Mark('-')) => Some(-1),
            Some(Kind::Mark('+')) => Some(1),
            _ => None,
        };
        let Some(Kind::Number(digits)) = self.kind_at(1 + usize::from(sign.is_some())) else {
            return None;
        };
        let clear = sign.is_none() || mantissa.contains('.') || mantissa == "1" || digits.len() > 1;
        if !letter || !clear || digits.contains('.') {
            return None;
        }
        let exponent = digits.parse::<i64>().ok()? * sign.unwrap_or(1);
        self.at += 2 + usize::from(sign.is_some());
        Some(exponent)
    }

    fn in_base(&mut self, digits: &str) -> Option<Expression> {
        self.at += 1;
        let Expression::Number(base, _) = self.deeper(Parser::primary)? else {
            return None;
        };
        let base = u32::try_from(base.to_integer()).ok().filter(|base| (2..=36).contains(base))?;
        let value = BigInt::from_str_radix(digits, base).ok()?;
        Some(Expression::InBase(digits.trim_start_matches('0').to_owned(), base, value))
    }

    fn symbol(&mut self, letter: &str) -> Option<Expression> {
        self.at += 1;
        let mut name = letter.to_owned();
        while self.take_mark('\'') || self.take_command("prime") {
            name.push('\'');
        }
        if self.take_mark('_') {
            let subscript = self.deeper(Parser::subscript)?;
            return Some(Expression::Symbol(format!("{name}_{subscript}")));
        }
        Some(match name.as_str() {
            "i" => Expression::Constant(Constant::Imaginary),
            "e" => Expression::Constant(Constant::Euler),
            _ => Expression::Symbol(name),
        })
    }

    fn subscript(&mut self) -> Option<String> {
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
    fn bracketed(&mut self, left: Bracket) -> Option<Expression> {
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

    fn braces(&mut self) -> Option<Expression> {
        self.at += 1;
        let content = self.inside(Parser::list)?;
        if !self.take_mark('}') {
            return None;
        }
        Some(match content {
            Expression::List(Joint::Comma, parts) => Expression::Set(parts),
            other => other,
        })
    }

    fn absolute(&mut self) -> Option<Expression> {
        self.at += 1;
        self.bars += 1;
        let content = self.binary(SUM);
        self.bars -= 1;
        (self.take_mark('|') || self.take_command("|")).then_some(())?;
        Some(Expression::Call(Function::Absolute, vec![content?]))
    }

    /// The argument of a command: a group, or one digit, letter or command.
    fn argument(&mut self) -> Option<Expression> {
        match self.peek()?.clone() {
            Kind::Number(digits) if digits.len() > 1 && !digits.contains('.') => {
                let (first, rest) = digits.split_at(1);
                self.tokens[self.at] = Token { kind: Kind::Number(rest.to_owned()), spaced: false };
                Some(Expression::Number(decimal(first)?, Written::Exactly))
            }
            _ => self.deeper(Parser::primary),
        }
    }

    fn command(&mut self, name: &str) -> Option<Expression> {
        match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" => Some(Expression::Quotient(Box::new((self.argument()?, self.argument()?)))),
            "binom" | "dbinom" | "tbinom" => Some(Expression::Call(Function::Binomial, vec![self.argument()?, self.argument()?])),
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
            "overline" | "vec" | "hat" | "bar" | "tilde" | "angle" | "triangle" | "widehat" | "overrightarrow" | "dot" | "ddot" => {
                Some(Expression::Opaque(name.to_owned(), vec![self.argument()?]))
            }
            "exp" => {
                let exponent = self.function_argument()?;
                Some(Expression::Power(Box::new((Expression::Constant(Constant::Euler), exponent))))
            }
            "log" | "lg" => self.logarithm(name),
            "ldots" | "dots" | "cdots" => Some(Expression::Symbol("…".to_owned())),
            _ => match function_named(name) {
                Some(function) => self.function(function),
                None => self.greek(name),
            },
        }
    }

    fn greek(&mut self, name: &str) -> Option<Expression> {
        let known = name.len() > 1 && name.chars().all(|c| c.is_ascii_alphabetic()) && GREEK.contains(&name.trim_start_matches("var").to_lowercase().as_str());
        if !known {
            return None;
        }
        self.at -= 1;
        self.symbol(name)
    }

    fn number_set(&mut self) -> Option<Expression> {
        match self.argument()? {
            Expression::Symbol(letter) if letter.len() == 1 => Some(Expression::Constant(Constant::NumberSet(letter.chars().next()?))),
            _ => None,
        }
    }

    fn root(&mut self) -> Option<Expression> {
        let mut index = 2;
        if self.is_mark('[') {
            self.at += 1;
            let Expression::Number(value, Written::Exactly) = self.inside(|parser| parser.binary(SUM))? else {
                return None;
            };
            index = u32::try_from(value.to_integer()).ok().filter(|index| (2..=64).contains(index))?;
            self.take_mark(']').then_some(())?;
        }
        let radicand = self.deeper(Parser::primary)?;
        Some(Expression::Root(Box::new(radicand), index))
    }

    fn set(&mut self) -> Option<Expression> {
        if self.take_command("}") || self.take_command("rbrace") {
            return Some(Expression::Constant(Constant::EmptySet));
        }
        let content = self.inside(Parser::list)?;
        if self.take_mark('|') || self.take_mark(':') || self.take_command("mid") {
            let condition = self.inside(Parser::list)?;
            (self.take_command("}") || self.take_command("rbrace")).then_some(())?;
            return Some(Expression::Opaque("such that".to_owned(), vec![content, condition]));
        }
        (self.take_command("}") || self.take_command("rbrace")).then_some(())?;
        Some(match content {
            Expression::List(_, parts) => Expression::Set(parts),
            single => Expression::Set(vec![single]),
        })
    }

    fn vector(&mut self) -> Option<Expression> {
        let content = self.inside(Parser::list)?;
        self.take_command("rangle").then_some(())?;
        match content {
            Expression::List(_, parts) => Some(Expression::Bracketed(Bracket::Angle, Bracket::Angle, parts)),
            _ => None,
        }
    }

    fn norm(&mut self) -> Option<Expression> {
        self.bars += 1;
        let content = self.binary(SUM);
        self.bars -= 1;
        let closed = ["|", "rvert", "rVert", "vert", "Vert"].iter().any(|name| self.take_command(name)) || self.take_mark('|');
        closed.then_some(())?;
        Some(Expression::Call(Function::Absolute, vec![content?]))
    }

    fn enclosed(&mut self, function: Function, end: &str) -> Option<Expression> {
        let content = self.inside(|parser| parser.binary(SUM))?;
        self.take_command(end).then_some(Expression::Call(function, vec![content]))
    }

    fn environment(&mut self) -> Option<Expression> {
        let name = self.environment_name()?;
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
            "vmatrix" => Some(Expression::Call(Function::Determinant, vec![Expression::Matrix(rows)])),
            "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" | "array" => Some(Expression::Matrix(rows)),
            _ => Some(Expression::Opaque(name, rows.into_iter().map(|row| Expression::Bracketed(Bracket::Round, Bracket::Round, row)).collect())),
        }
    }

    fn environment_name(&mut self) -> Option<String> {
        let [Kind::Mark('{'), Kind::Word(name), Kind::Mark('}')] = &self.kinds::<3>()[..] else {
            return self.split_environment_name();
        };
        let name = name.clone();
        self.at += 3;
        Some(name)
    }

    /// A name that the last step before parsing has cut into letters.
    fn split_environment_name(&mut self) -> Option<String> {
        self.take_mark('{').then_some(())?;
        let mut name = String::new();
        while let Some(Kind::Word(letters)) = self.peek() {
            name.push_str(letters);
            self.at += 1;
        }
        self.take_mark('}').then_some(name)
    }

    fn rows(&mut self) -> Option<Vec<Vec<Expression>>> {
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
    fn with_bounds(&mut self, name: &str) -> Option<Expression> {
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

    fn logarithm(&mut self, name: &str) -> Option<Expression> {
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

    fn argument_of_base(&mut self) -> Option<Expression> {
        match self.kind_at(0)? {
            // `\log_2 8` has a blank between base and argument, `\log_28` has not.
            Kind::Number(_) if self.tokens.get(self.at + 1).is_some_and(|token| token.spaced) => self.deeper(Parser::primary),
            Kind::Number(digits) if digits == "10" => self.deeper(Parser::primary),
            _ => self.argument(),
        }
    }

    fn function(&mut self, function: Function) -> Option<Expression> {
        if self.is_mark('^') && self.is_inverse_power() {
            let inverse = inverse_of(function)?;
            self.function_power()?;
            return Some(Expression::Call(inverse, self.function_arguments()?));
        }
        let power = self.function_power()?;
        let arguments = self.function_arguments()?;
        Some(raised(Expression::Call(function, arguments), power))
    }

    fn is_inverse_power(&self) -> bool {
        matches!(&self.kinds::<5>()[1..], [Kind::Mark('{'), Kind::Mark('-'), Kind::Number(one), Kind::Mark('}')] if one == "1")
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
        let mut argument = if self.take_mark('-') { Expression::Negative(Box::new(self.operand()?)) } else { self.operand()? };
        while self.operator() == Some(Operator::Beside) && !self.is_mark('(') && !self.starts_function() {
            argument = self.beside(argument)?;
        }
        Some(argument)
    }

    fn starts_function(&self) -> bool {
        matches!(self.peek(), Some(Kind::Command(name)) if matches!(name.as_str(), "log" | "lg" | "exp") || function_named(name).is_some())
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

const GREEK: [&str; 24] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "omicron", "rho", "sigma", "tau",
    "upsilon", "phi", "chi", "psi", "omega", "ell",
];

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

fn join_union(mut parts: Vec<Expression>) -> Option<Expression> {
    if parts.len() == 1 { parts.pop() } else { Some(Expression::Union(parts)) }
}

fn raised(base: Expression, power: Option<Expression>) -> Expression {
    match power {
        Some(power) => Expression::Power(Box::new((base, power))),
        None => base,
    }
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
        (Expression::Number(one, Written::Exactly), Expression::Number(other, Written::Exactly)) => !one.is_zero() && one < other,
        _ => false,
    }
}

/// Digits with at most one point, exactly.
fn decimal(digits: &str) -> Option<Rational> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let joined: BigInt = format!("0{whole}{fraction}").parse().ok()?;
    Some(Rational::new(joined, Pow::pow(BigInt::from(10), fraction.len() as u32)))
}

/// 10 to a power of at most a few thousand digits.
fn power_of_ten(exponent: i64) -> Option<Rational> {
    const MOST: u64 = 5_000;
    let size = u32::try_from(exponent.unsigned_abs()).ok().filter(|size| u64::from(*size) <= MOST)?;
    let power = Rational::from_integer(Pow::pow(BigInt::from(10), size));
    Some(if exponent < 0 { power.recip() } else { power })
}
