//! Executes a run's plan in a folder, from questions to an evaluated model.

pub mod context;
pub mod folder;
pub mod inputs;
pub mod provenance;
pub mod records;
pub mod runner;
pub mod summary;
pub mod views;
mod words;
