//! Is the answer right? Verdicts on mathematics, multiple choice, words and programs.
//!
//! [`maths::judge`], [`choice::judge`] and [`words::judge`] are pure functions of reference, response,
//! options and [`Convention`]: no state, no files, no clock, bounded work. [`code`] alone runs something, in
//! a sandbox or not at all.

pub mod choice;
#[cfg(target_os = "linux")]
pub mod code;
pub mod maths;
mod response;
mod verdict;
pub mod words;

pub use response::{Convention, UnknownConvention};
pub use verdict::{Judgement, Reason, Verdict};
