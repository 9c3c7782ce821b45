//! Executes a run's plan in a folder, from questions to an evaluated model.

pub mod context;
pub mod currency;
pub mod folder;
pub mod inputs;
pub mod provenance;
pub mod records;
pub mod runner;
mod stage_line;
pub mod summary;
pub mod views;
mod words;
