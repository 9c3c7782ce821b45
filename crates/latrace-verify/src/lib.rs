//! Is the answer right? Verdicts on mathematics, multiple choice, words and programs.
//!
//! [`MathReferences`], [`ChoiceReferences`] and [`WordReferences`] hold what is correct for one question and
//! judge any number of responses to it. A judgement is a pure function of references, response, options and
//! [`Convention`]: no files, no clock, bounded work. [`code`] alone runs something, in a sandbox or not at
//! all.

mod braces;
mod choice;
#[cfg(target_os = "linux")]
pub mod code;
mod judgement;
mod letter;
mod lexicon;
mod maths;
mod response;
mod sentence;
mod stance;
mod statement;
mod words;

pub use choice::ChoiceReferences;
pub use judgement::Judgement;
pub use latrace_core::{Reason, Verdict};
pub use maths::MathReferences;
pub use response::{Convention, UnknownConvention};
pub use words::WordReferences;
