//! The programs that the sandbox consists of, and the reasons why it may be unavailable.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why there is no sandbox.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// A program that the sandbox consists of is not there.
    #[error("{program} is not installed; the Debian package is `{package}`")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The sandbox does not start, so the kernel or its settings lack something.
    #[error("the sandbox does not start: {0}")]
    NotWorking(String),
}

/// The programs that the sandbox consists of.
pub(crate) struct Parts;

impl Parts {
    pub(crate) fn bubblewrap() -> Result<PathBuf, Unavailable> {
        find("bwrap").ok_or(Unavailable::Missing { program: "bwrap", package: "bubblewrap" })
    }

    pub(crate) fn python() -> Result<PathBuf, Unavailable> {
        find("python3").ok_or(Unavailable::Missing { program: "python3", package: "python3" })
    }
}

/// Only system folders are in the sandbox, so only what they hold can run there.
fn find(program: &str) -> Option<PathBuf> {
    // `PATH` is ignored, since it may name folders that do not exist in the sandbox.
    ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}
