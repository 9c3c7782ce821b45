//! Integer expressions: parsing, printing and step-by-step evaluation.

use std::fmt;

use super::{LARGEST, number};

/// Maximum words of an expression to parse: bounds the work and the nesting depth.
const MOST_WORDS: usize = 64;

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    pub(super) const ALL: [Operator; 4] =
        [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide];

    pub(super) fn word(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
        }
    }

    fn of_word(word: &str) -> Option<Operator> {
        Operator::ALL.into_iter().find(|operator| operator.word() == word)
    }

    /// Whether it binds more tightly than a sum.
    pub(super) fn is_product(self) -> bool {
        matches!(self, Operator::Multiply | Operator::Divide)
    }

    /// The result, if it is an integer that has a token.
    pub(super) fn apply(self, left: u8, right: u8) -> Option<u8> {
        let result = match self {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            // Division by zero has no remainder, and so no result.
            Operator::Divide if left.checked_rem(right) == Some(0) => left.checked_div(right),
            Operator::Divide => None,
        };
        result.filter(|&result| result <= LARGEST)
    }
}

/// One evaluated operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) left: u8,
    pub(super) operator: Operator,
    pub(super) right: u8,
    pub(super) result: u8,
}

impl Step {
    /// The words of a step, whose result may be wrong.
    fn read(words: &[&str]) -> Option<Step> {
        let &[left, operator, right, "=", result] = words else { return None };
        let operator = Operator::of_word(operator)?;
        Some(Step { left: number(left)?, operator, right: number(right)?, result: number(result)? })
    }

    /// Whether its result is that of its operation.
    pub(super) fn is_right(&self) -> bool {
        self.operator.apply(self.left, self.right) == Some(self.result)
    }

    /// Whether both are the same operation, whatever their results.
    pub(super) fn repeats(&self, other: &Step) -> bool {
        Step { result: self.result, ..*other } == *self
    }

    /// The operation, if its result has a token.
    pub(super) fn of(left: u8, operator: Operator, right: u8) -> Option<Step> {
        operator.apply(left, right).map(|result| Step { left, operator, right, result })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} = {}", self.left, self.operator.word(), self.right, self.result)
    }
}

/// Steps in the format of a trace.
pub(super) fn told(steps: &[Step]) -> String {
    steps.iter().map(Step::to_string).collect::<Vec<_>>().join(" , ")
}

/// Steps as a trace tells them, right or wrong; none where the words are not steps.
pub(super) fn read_steps(words: &[&str]) -> Option<Vec<Step>> {
    words.split(|word| *word == ",").map(Step::read).collect()
}

/// A number, or an operation on two expressions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Expression {
    Number(u8),
    Operation(Box<Expression>, Operator, Box<Expression>),
}

impl Expression {
    pub(super) fn operation(left: Expression, operator: Operator, right: Expression) -> Expression {
        Expression::Operation(Box::new(left), operator, Box::new(right))
    }

    /// Parses words separated by spaces: products bind more tightly than sums, and operators are
    /// left-associative.
    pub(super) fn parse(text: &str) -> Option<Expression> {
        let words = words(text)?;
        let mut rest = words.as_slice();
        let expression = sum(&mut rest)?;
        rest.is_empty().then_some(expression)
    }

    /// The numbers in it, from left to right.
    pub(super) fn numbers(&self) -> Vec<u8> {
        match self {
            Expression::Number(number) => vec![*number],
            Expression::Operation(left, _, right) => [left.numbers(), right.numbers()].concat(),
        }
    }

    /// Its evaluated operations, from the inside out and from left to right; `None` if a result has no token.
    pub(super) fn steps(&self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        self.work_out(&mut steps)?;
        Some(steps)
    }

    /// Its value, if it and all intermediate values have tokens.
    pub(super) fn value(&self) -> Option<u8> {
        self.work_out(&mut Vec::new())
    }

    /// What a step makes of it: as many expressions as it has operations on two numbers that are the step's.
    pub(super) fn after(&self, step: &Step) -> Vec<Expression> {
        let Expression::Operation(left, operator, right) = self else { return Vec::new() };
        if let (Expression::Number(a), Expression::Number(b)) = (&**left, &**right) {
            let is_step = (*a, *operator, *b) == (step.left, step.operator, step.right);
            return if is_step { vec![Expression::Number(step.result)] } else { Vec::new() };
        }
        let on_left = left.after(step).into_iter();
        let on_left = on_left.map(|left| Expression::operation(left, *operator, (**right).clone()));
        let on_right = right.after(step).into_iter();
        on_left
            .chain(on_right.map(|right| Expression::operation((**left).clone(), *operator, right)))
            .collect()
    }

    fn work_out(&self, steps: &mut Vec<Step>) -> Option<u8> {
        match self {
            Expression::Number(number) => Some(*number),
            Expression::Operation(left, operator, right) => {
                // The left side first, whose steps a trace tells first.
                let step = Step::of(left.work_out(steps)?, *operator, right.work_out(steps)?)?;
                steps.push(step);
                Some(step.result)
            }
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, bracketed: bool) -> fmt::Result {
        match self {
            Expression::Number(number) => write!(f, "{number}"),
            Expression::Operation(left, operator, right) => {
                f.write_str(if bracketed { "( " } else { "" })?;
                left.write(f, true)?;
                write!(f, " {} ", operator.word())?;
                right.write(f, true)?;
                f.write_str(if bracketed { " )" } else { "" })
            }
        }
    }
}

/// Every operation except the outermost is in brackets, so that no precedence has to be learned.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

fn words(text: &str) -> Option<Vec<&str>> {
    // One word too many shows that there are more; the rest of a long answer is not even split.
    let words: Vec<&str> = text.split_whitespace().take(MOST_WORDS + 1).collect();
    (words.len() <= MOST_WORDS).then_some(words)
}

fn sum(words: &mut &[&str]) -> Option<Expression> {
    chain(words, product, |operator| !operator.is_product())
}

fn product(words: &mut &[&str]) -> Option<Expression> {
    chain(words, operand, Operator::is_product)
}

/// Operands with `wanted` operators between them, from left to right.
fn chain(
    words: &mut &[&str],
    operand: fn(&mut &[&str]) -> Option<Expression>,
    wanted: fn(Operator) -> bool,
) -> Option<Expression> {
    let mut left = operand(words)?;
    while let Some(operator) = next_operator(words, wanted) {
        left = Expression::operation(left, operator, operand(words)?);
    }
    Some(left)
}

fn operand(words: &mut &[&str]) -> Option<Expression> {
    let first = next(words)?;
    if first != "(" {
        return number(first).map(Expression::Number);
    }
    sum(words).filter(|_| next(words) == Some(")"))
}

fn next_operator(words: &mut &[&str], wanted: fn(Operator) -> bool) -> Option<Operator> {
    let operator = Operator::of_word(words.first()?).filter(|&operator| wanted(operator))?;
    // Passed only now: an operator that is not wanted here belongs to the chain outside.
    next(words);
    Some(operator)
}

fn next<'a>(words: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, written: &str, value: Option<u8>) {
        let expression = Expression::parse(text).unwrap();
        assert_eq!((expression.to_string().as_str(), expression.value()), (written, value));
        assert_eq!(Expression::parse(written), Some(expression));
    }

    #[test]
    fn products_come_before_sums_and_equals_from_left_to_right() {
        check("7", "7", Some(7));
        check("8 - 3 - 2", "( 8 - 3 ) - 2", Some(3));
        check("8 - ( 3 - 2 )", "8 - ( 3 - 2 )", Some(7));
        check("2 + 3 * 4", "2 + ( 3 * 4 )", Some(14));
        check("( ( 2 + 3 ) ) * 4", "( 2 + 3 ) * 4", Some(20));
        check("8 / 4 * 2 + 1", "( ( 8 / 4 ) * 2 ) + 1", Some(5));
    }

    #[test]
    fn values_are_whole_and_have_tokens() {
        check("2 - 3 + 4", "( 2 - 3 ) + 4", None);
        check("7 / 2", "7 / 2", None);
        check("7 / 0", "7 / 0", None);
        check("50 * 2", "50 * 2", None);
        check("50 * 6 - 99", "( 50 * 6 ) - 99", None);
        check("99 + 1 - 1", "( 99 + 1 ) - 1", None);
        check("0 / 7", "0 / 7", Some(0));
    }

    #[test]
    fn steps_go_from_within_from_left_to_right() {
        let steps = Expression::parse("( 9 - ( 2 + 1 ) ) * ( 4 + 3 )").unwrap().steps().unwrap();
        assert_eq!(told(&steps), "2 + 1 = 3 , 9 - 3 = 6 , 4 + 3 = 7 , 6 * 7 = 42");
    }

    #[test]
    fn what_is_no_expression_is_not_read() {
        for text in
            ["", "+", "1 +", "1 2", "( 1", "1 )", "( )", "- 1", "1 - - 1", "1+1", "100", "01", "x", "1 x 2"]
        {
            assert_eq!(Expression::parse(text), None, "{text}");
        }
    }

    #[test]
    fn long_texts_are_not_read() {
        let nested = |depth: usize| format!("{}1{}", "( ".repeat(depth), " )".repeat(depth));
        assert!(Expression::parse(&nested(31)).is_some());
        assert_eq!(Expression::parse(&nested(32)), None);
        assert_eq!(Expression::parse(&nested(100_000)), None);
    }
}
