//! Moves between numbers: answers that list them, and traces with the first number and the number after each move.

use latrace_verify::Reason;

use super::number;

/// Whether an answer's moves, at most `most` of them, lead from one number to the other. `next` gives the
/// number after a move, none where it cannot be taken there, or why its word is no move.
pub(super) fn judge(
    answer: &str,
    (from, to): (u8, u8),
    most: usize,
    next: impl Fn(u8, &str) -> Result<Option<u8>, Reason>,
) -> Reason {
    let mut at = from;
    for (count, word) in answer.split_whitespace().enumerate() {
        match next(at, word) {
            Ok(Some(next)) if count < most => at = next,
            // Moves that lead nowhere can be read; they are wrong.
            Ok(_) => return Reason::Different,
            Err(reason) => return reason,
        }
    }
    if at == to { Reason::Equal } else { Reason::Different }
}

/// The number that a trace's moves lead to; none where it does not begin at `from`, or a number is not what `next` gives for
/// the one before it and the move.
pub(super) fn end_of(from: u8, words: &[&str], next: impl Fn(u8, &str) -> Option<u8>) -> Option<u8> {
    let (start, moves) = words.split_first()?;
    let follows = |at: u8, step: &[&str]| {
        let &[step, value] = step else { return None };
        next(at, step).filter(|&next| number(value) == Some(next))
    };
    let has_moves = number(start) == Some(from) && !moves.is_empty();
    if has_moves { moves.chunks(2).try_fold(from, follows) } else { None }
}

/// The trace of moves, each with the number after it.
pub(super) fn told<'a>(from: u8, moves: impl Iterator<Item = (&'a str, u8)>) -> String {
    moves.fold(from.to_string(), |text, (name, value)| format!("{text} {name} {value}"))
}
