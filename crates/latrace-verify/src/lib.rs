//! Is the answer right? Verdicts on mathematics, multiple choice, words and programs.
//!
//! [`maths::judge`], [`choice::judge`] and [`words::judge`] are pure functions of reference, response,
//! options and [`Convention`]: no state, no files, no clock, bounded work. [`code`] alone runs something, in
//! a sandbox or not at all.

mod braces;
pub mod choice;
#[cfg(target_os = "linux")]
pub mod code;
mod judgement;
mod letter;
pub mod maths;
mod response;
pub mod words;

pub use judgement::Judgement;
pub use latrace_core::{Reason, Verdict};
pub use response::{Convention, UnknownConvention};
