//! Traces of moves between numbers: the first number, then each move and the number after it.

use super::number;

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
