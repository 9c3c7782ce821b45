//! The subcommands, one file each.

pub mod answer;
pub mod build;
pub mod chat;
pub mod choices;
pub mod columns;
pub mod compare;
pub mod completions;
pub mod doctor;
pub mod engine;
pub mod eval;
pub mod export;
pub mod import;
pub mod init;
mod input;
mod interrupt;
pub mod man;
mod output;
pub mod questions;
pub mod report;
pub mod run;
pub mod sample;
pub mod score;
pub mod serve;
pub mod status;
pub mod train;
pub mod verify;
pub mod weigh;
