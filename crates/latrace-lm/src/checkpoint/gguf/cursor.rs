//! Reading numbers and texts one after another, never beyond the bytes that are there.

use super::INCOMPLETE;
use crate::error::{Error, Result};
use std::ops::Range;
use std::path::Path;

/// A place in a file's bytes.
pub(super) struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    /// Bytes that have been read.
    pub at: usize,
    /// What is being read, for messages.
    pub part: String,
}

impl<'a> Cursor<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes, at: 0, part: "header".to_owned() }
    }

    pub fn error(&self, expected: impl ToString, got: impl ToString, hint: &'static str) -> Error {
        Error::gguf(self.path, &self.part, expected, got, hint)
    }

    /// Bytes of the whole file.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The places of `length` bytes from `begin` on, if they are there.
    pub fn range(&self, begin: u64, length: u64) -> Option<Range<usize>> {
        let end = begin.checked_add(length).filter(|&end| end <= self.len() as u64)?;
        // Both fit: they are within the bytes.
        Some(begin as usize..end as usize)
    }

    /// The next bytes.
    pub fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let taken = taken.ok_or_else(|| self.too_short(count))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn too_short(&self, count: u64) -> Error {
        let rest = self.bytes.len() - self.at;
        self.error(
            format!("{count} bytes from byte {} on", self.at),
            format!("{rest}, the end of the file"),
            INCOMPLETE,
        )
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things of at least `least` bytes each, as many as there can be.
    pub fn count(&mut self, things: &str, least: usize) -> Result<usize> {
        let (count, most) = (self.u64()?, (self.bytes.len() - self.at) / least);
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(self.error(
                format!("at most {most} {things}, by the length of the file"),
                count,
                INCOMPLETE,
            )),
        }
    }

    /// A length in bytes and a text.
    pub fn text(&mut self) -> Result<&'a str> {
        let length = self.u64()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|error| self.error("a text in UTF-8", error, INCOMPLETE))
    }
}
