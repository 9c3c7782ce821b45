//! Files and folders that may be absent.

use std::io::{self, ErrorKind};

/// `None` for a file or folder that does not exist, which is no error where a run may be new.
pub(crate) fn if_present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
