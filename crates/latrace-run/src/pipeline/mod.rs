//! A run: its plan carried out in a folder, from questions to a measured model.

pub mod context;
pub mod folder;
pub mod records;
pub mod runner;
pub mod summary;
