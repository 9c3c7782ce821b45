//! Sources of questions (files, data sets, built-in tasks, benchmarks) and the verifiers of their answers.
//!
//! Independent of models and engines: works on texts only.

pub mod benchmarks;
pub mod contamination;
pub mod hints;
pub mod judge;
pub mod query;
pub mod source;
pub mod tasks;
pub mod verdict_journal;
pub mod verifiers;
