//! The command `latrace`: its arguments and output, with one file for each verb.

pub mod cli;
pub mod doctor;
pub mod setting_flags;
pub mod tiny_job;
pub mod verbs;
