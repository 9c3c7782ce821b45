//! Where questions come from — files, data sets, built-in tasks, benchmarks — and who judges their answers.
//!
//! Knows no model and no engine: texts go in and come out.

pub mod benchmarks;
pub mod judge;
pub mod query;
pub mod source;
pub mod tasks;
pub mod verdict_journal;
