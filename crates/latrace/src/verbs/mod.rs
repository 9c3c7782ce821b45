//! The subcommands, one file each.

pub mod answer;
pub mod build;
pub mod chat;
pub mod choices;
pub mod clean;
pub mod columns;
pub mod compare;
pub mod completions;
pub mod convert;
pub mod doctor;
pub mod engine;
pub mod eval;
pub mod export;
pub mod import;
pub mod init;
mod input;
mod interrupt;
pub mod man;
pub mod new;
mod notify;
mod output;
pub mod push;
pub mod questions;
pub mod recipe;
pub mod report;
pub mod run;
pub mod sample;
pub mod score;
pub mod serve;
pub mod status;
pub mod sweep;
pub mod train;
mod verifier;
pub mod verify;
pub mod weigh;

pub(crate) use input::at_least_one;
