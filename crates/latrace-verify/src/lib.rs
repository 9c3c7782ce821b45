//! Is the answer right? Verdicts on mathematics, multiple choice, words and programs.
//!
//! [`maths::judge`], [`choice::judge`] and [`words::judge`] are pure functions of reference, response and options: no
//! state, no files, no clock, bounded work. [`code`] alone runs something, in a sandbox or not at all.

pub mod choice;
#[cfg(target_os = "linux")]
pub mod code;
pub mod maths;
pub mod response;
mod verdict;
pub mod words;

pub use verdict::{Judgement, Reason, Verdict};
