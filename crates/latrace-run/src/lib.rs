//! Runs: the recipe, its plan, the run folder with its records, and the stages that fill it; also evaluation,
//! comparison, sweeps, export and import.

pub mod clean;
pub mod comparison;
pub mod diagnostics;
pub mod draft;
pub mod estimate;
pub mod evaluation;
pub mod export;
pub mod import;
pub mod join;
pub mod layout;
pub mod pipeline;
pub mod plan;
pub mod preflight;
mod present;
pub mod prompting;
pub mod recipe;
pub mod release;
pub mod stages;
pub mod sweep;
pub mod weigh;
