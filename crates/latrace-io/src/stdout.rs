//! Standard output, whose reader may leave before everything is written, as `head` does.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether a write has found that nobody reads any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether the reader of standard output has left: what fails for that reason is no failure to report.
pub fn is_closed() -> bool {
    CLOSED.load(Relaxed)
}

/// Standard output, noting whether its reader has left.
#[derive(Debug, Default)]
pub struct StandardOutput;

fn noted<T>(written: io::Result<T>) -> io::Result<T> {
    written.inspect_err(|error| CLOSED.store(error.kind() == ErrorKind::BrokenPipe, Relaxed))
}

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        noted(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        noted(io::stdout().flush())
    }
}
