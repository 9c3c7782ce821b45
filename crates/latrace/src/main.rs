//! The `latrace` command.
fn main() {}
