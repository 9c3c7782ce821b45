//! The command's verbs, one file each.

pub mod init;
pub mod score;
pub mod train;
pub mod verify;
