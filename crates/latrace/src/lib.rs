//! Variational reasoning from questions to a trained, measured model.
//!
//! The command's parts: rows and model folders in, files and folders out. Tensors stay in `latrace-lm`.

pub mod benchmarks;
pub mod cli;
pub mod columns;
pub mod comparison;
pub mod doctor;
pub mod evaluation;
pub mod export;
pub mod failure;
pub mod files;
pub mod hub;
pub mod judge;
pub mod memory;
pub mod model_folder;
mod parquet_rows;
pub mod pipeline;
pub mod progress;
pub mod questions;
pub mod recipe;
pub mod report;
pub mod rows;
pub mod sampling;
pub mod stages;
pub mod statistics;
pub mod status;
pub mod tables;
pub mod tasks;
pub mod tensorboard;
pub mod train_rows;
pub mod training;
pub mod verbs;
pub mod verdict_journal;
pub mod weigh;
