//! The rows of a file, one row group after another.

use std::fmt;

use anyhow::Result;

use super::file::{ParquetFile, RowGroup};
use super::guard::guarded;

/// Reads the next row of a row group.
pub type NextRow<T> = Box<dyn FnMut() -> Result<T>>;

/// The rows of a file. They end at the first error, behind which columns may no longer belong together.
pub struct Rows<T, O> {
    file: ParquetFile,
    /// Opens a row group.
    open: O,
    /// Numbers and rows of the row groups that are still to be opened, the last one first.
    groups: Vec<(usize, u64)>,
    /// The open row group, with the number of its rows that are still to be read.
    group: Option<(NextRow<T>, u64)>,
    /// Rows of the groups that have been opened.
    opened: u64,
}

impl<T, O> fmt::Debug for Rows<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("file", &self.file).finish_non_exhaustive()
    }
}

impl<T, O> Rows<T, O>
where
    O: Fn(&ParquetFile, RowGroup<'_>, u64) -> Result<NextRow<T>>,
{
    /// The rows of a file. `open` also gets the number of rows before its row group.
    pub fn new(file: ParquetFile, open: O) -> Self {
        let mut groups: Vec<_> = file.group_rows().enumerate().collect();
        groups.reverse();
        Self { file, open, groups, group: None, opened: 0 }
    }

    fn read(&mut self) -> Result<Option<T>> {
        loop {
            if let Some((read, left)) = &mut self.group
                && *left > 0
            {
                *left -= 1;
                return read().map(Some);
            }
            let Some((number, rows)) = self.groups.pop() else { return Ok(None) };
            let reader = (self.open)(&self.file, self.file.group(number)?, self.opened)?;
            self.group = Some((reader, rows));
            // Only now, since `open` gets the number of rows before the group.
            self.opened += rows;
        }
    }
}

impl<T, O> Iterator for Rows<T, O>
where
    O: Fn(&ParquetFile, RowGroup<'_>, u64) -> Result<NextRow<T>>,
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let read = guarded(|| self.read());
        if read.is_err() {
            self.groups.clear();
            self.group = None;
        }
        read.transpose()
    }
}
