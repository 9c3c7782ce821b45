//! `for all x` behind an equation.

use super::parser::Parser;
use crate::maths::syntax::{Constant, Expression};
use crate::maths::token::Kind;

/// Words that say that an equation holds everywhere.
const UNIVERSAL: [&str; 14] = [
    "for all",
    "for every",
    "for any",
    "for each",
    "for all real",
    "for every real",
    "for any real",
    "for each real",
    "for all real numbers",
    "for every real number",
    "for any real number",
    "for each real number",
    "for all values of",
    "for all real values of",
];

/// What stands behind `for` in them.
pub(crate) const EACH: [&str; 4] = ["all", "every", "any", "each"];

impl Parser {
    /// Skips the end of `f(x) = x^2 \text{ for all }x \in \mathbb{R}`, which is what an equation says without
    /// it. Of what restricts the variable nothing is skipped.
    pub(super) fn skip_quantifier(&mut self, formula: &Expression) {
        let start = self.at;
        if matches!(formula, Expression::Chain(..)) && self.quantifier(formula).is_none() {
            self.at = start;
        }
    }

    fn quantifier(&mut self, formula: &Expression) -> Option<()> {
        self.take_mark(',');
        let in_brackets = self.take_mark('(');
        let variable = self.quantified()?;
        let reals = Expression::Constant(Constant::NumberSet('R'));
        if self.take_command("in") && self.primary()? != reals {
            return None;
        }
        if in_brackets {
            self.expect_mark(')')?;
        }
        formula.any(&|part| *part == variable).then_some(())
    }

    /// The variable behind `for all`, or at the end of the words.
    fn quantified(&mut self) -> Option<Expression> {
        let within = match self.peek()? {
            Kind::Text(words) if is_universal(words) => None,
            Kind::Text(words) => {
                let (_, name) = words.rsplit_once(' ').filter(|(quantifier, _)| is_universal(quantifier))?;
                Some(Expression::Symbol(name.to_owned()))
            }
            kind if kind.is_command(&["forall"]) => None,
            _ => return None,
        };
        self.at += 1;
        within.map_or_else(|| self.primary(), Some)
    }
}

fn is_universal(words: &str) -> bool {
    UNIVERSAL.contains(&words.to_lowercase().as_str())
}

/// Whether a quantifier begins with this.
pub(super) fn is_quantifier(kind: &Kind) -> bool {
    kind.is_command(&["forall"]) || matches!(kind, Kind::Text(words) if quantifies(words))
}

/// Whether words begin with `for all`, and so are no unit.
pub(super) fn quantifies(words: &str) -> bool {
    let mut words = words.split(' ').map(str::to_lowercase);
    words.next().as_deref() == Some("for") && words.next().is_some_and(|word| EACH.contains(&word.as_str()))
}
