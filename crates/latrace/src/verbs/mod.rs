//! The command's verbs, one file each.

pub mod answer;
pub mod build;
pub mod chat;
pub mod compare;
pub mod eval;
pub mod init;
pub mod questions;
pub mod report;
pub mod run;
pub mod sample;
pub mod score;
pub mod serve;
pub mod train;
pub mod verify;
pub mod weigh;
