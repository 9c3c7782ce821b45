//! The command `latrace`: its arguments, one file for each verb, and what it prints.

pub mod cli;
pub mod doctor;
pub mod verbs;
