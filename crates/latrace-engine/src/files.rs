//! Files that need not exist.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The bytes of a file, if it exists. Only its absence is no error: a file that cannot be read must not pass
/// for one that is missing.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

pub(crate) fn read_json_if_there(path: &Path) -> Result<Option<Value>> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    Ok(Some(value.with_context(|| format!("{} is not valid JSON", path.display()))?))
}
