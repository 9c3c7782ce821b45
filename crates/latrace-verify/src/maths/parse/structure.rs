//! Structures that look like products, and are none: labels of statements, applications of functions, words.

use num_traits::Zero;

use super::build::decimal;
use super::parser::Parser;
use crate::maths::syntax::{Expression, Joint};
use crate::maths::token::{Kind, Token};

/// `(1)(3)` names the statements 1 and 3; their product would be written without brackets, or worked out. No statement is
/// named twice: `(3)(3)` is a square.
pub(super) fn labels(tokens: &[Token]) -> Option<Expression> {
    let (labels, rest) = tokens.as_chunks::<3>();
    let parts: Option<Vec<Expression>> = labels.iter().map(label).collect();
    let parts = parts.filter(|parts| parts.len() > 1 && rest.is_empty())?;
    let distinct = (1..parts.len()).all(|at| !parts[..at].contains(&parts[at]));
    distinct.then_some(Expression::List(Joint::Comma, parts))
}

/// Tokens without words in front that only announce an answer: `\text{The answer is }5`.
pub(super) fn without_announcement(mut tokens: Vec<Token>) -> Vec<Token> {
    let longest = LONGEST_ANNOUNCEMENT.min(tokens.len());
    if let Some(length) = (1..=longest).find(|length| is_announcement(&tokens[..*length])) {
        let has_colon = tokens.get(length).is_some_and(|token| token.kind == Kind::Mark(':'));
        tokens.drain(..length + usize::from(has_colon));
    }
    tokens
}

fn is_announcement(tokens: &[Token]) -> bool {
    let words: Option<Vec<&str>> = tokens.iter().map(words_of).collect();
    words.is_some_and(|words| ANNOUNCEMENTS.contains(&words.join(" ").to_lowercase().as_str()))
}

fn words_of(token: &Token) -> Option<&str> {
    match &token.kind {
        Kind::Word(words) | Kind::Text(words) => Some(words.trim_end_matches([':', ' '])),
        _ => None,
    }
}

/// How many words an announcement has at the most.
const LONGEST_ANNOUNCEMENT: usize = 4;

/// What announces an answer and says nothing of it. Nothing else may stand before a number: `not` and `about`
/// are no announcements.
const ANNOUNCEMENTS: [&str; 5] =
    ["answer", "the answer is", "final answer", "the final answer is", "our answer is"];

/// A whole number in brackets.
fn label(tokens: &[Token; 3]) -> Option<Expression> {
    match tokens.each_ref().map(|token| &token.kind) {
        [Kind::Mark('('), Kind::Number(digits), Kind::Mark(')')] if !digits.contains('.') => {
            Some(Expression::exactly(decimal(digits)?))
        }
        _ => None,
    }
}

/// Whether an answer is nothing only because something is multiplied by zero: no reader takes `0 (6)`, `not
/// 0` or `0 nope` for a product, and none leaves `0x` as it is.
pub(super) fn vanishes(read: &Expression) -> bool {
    match read {
        Expression::Product(parts) => parts.iter().any(is_nothing),
        Expression::Negative(inner) => vanishes(inner),
        // A zero in front may be a coefficient: `0x + 3`.
        Expression::Sum(parts) => parts.iter().any(|part| vanishes(part) && !begins_with_number(part)),
        _ => false,
    }
}

fn begins_with_number(part: &Expression) -> bool {
    matches!(part, Expression::Product(parts) if matches!(parts.first(), Some(Expression::Number(..))))
}

fn is_nothing(part: &Expression) -> bool {
    matches!(part, Expression::Number(value, _) if value.is_zero())
}

impl Parser {
    /// The number in brackets that a letter is applied to: `f(0)` is a value of f, not f times 0.
    pub(super) fn applied_to(&mut self) -> Option<Expression> {
        let (start, applied) =
            (self.at, self.is_mark('(') && self.is_close() && self.is_number_in_brackets());
        applied.then_some(())?;
        let argument = self.primary();
        if argument.is_none() {
            self.at = start;
        }
        argument
    }

    /// Whether nothing but a number, perhaps a fraction, stands between the bracket that comes next and the
    /// one that closes it.
    fn is_number_in_brackets(&self) -> bool {
        // No argument is longer than a fraction with its braces.
        const MOST_TOKENS: usize = 12;
        let inside = self.tokens[self.at + 1..].iter().take(MOST_TOKENS).map(|token| &token.kind);
        let mut after = inside.skip_while(|kind| is_of_number(kind));
        after.next() == Some(&Kind::Mark(')'))
    }
}

fn is_of_number(kind: &Kind) -> bool {
    match kind {
        Kind::Number(_) => true,
        Kind::Mark(mark) => matches!(mark, '-' | '/' | '{' | '}'),
        Kind::Command(name) => name.ends_with("frac"),
        _ => false,
    }
}
