//! A stage's records: Parquet parts in its folder, all of one schema, each with that schema's version and the
//! key of the stage that wrote it.
//!
//! Part i of a stage comes from part i of the one before it, so that records join within a part and memory
//! holds one part at a time. Tokens and log-probs go from a record's lists into columns and back as slices;
//! none ever becomes a JSON value.

mod column;
mod part;
mod record;
mod stored;

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::files::write_atomically;

pub use column::{Column, ColumnProblem, ScalarColumn, UnknownName};
pub use record::{Record, RecordProblem, View};
pub use stored::{ListItem, Stored};

// What `record!` expands to names these.
#[doc(hidden)]
pub use crate::columnar::NextRow;
#[doc(hidden)]
pub use anyhow::Result;
#[doc(hidden)]
pub use parquet::errors::ParquetError;
#[doc(hidden)]
pub use parquet::schema::types::TypePtr;
#[doc(hidden)]
pub use record::{ColumnReader, GroupReader, GroupWriter, check_derived, derived_field, field, read_later};
#[doc(hidden)]
pub use stored::ScalarReader;

/// The parts of one kind of record in a folder, read as such records or as a view of them.
pub struct Table<R> {
    folder: PathBuf,
    /// The stage's key, if this stage writes it; a reader takes any.
    key: Option<String>,
    // A function's type: the table can be shared between threads whatever the records hold.
    record: PhantomData<fn() -> R>,
}

impl<R> Table<R> {
    /// The table of a finished stage.
    pub fn open(folder: &Path) -> Table<R> {
        Table { folder: folder.to_owned(), key: None, record: PhantomData }
    }

    /// The table that the stage of `key` writes.
    pub fn create(folder: &Path, key: &str) -> Table<R> {
        Table { key: Some(key.to_owned()), ..Table::open(folder) }
    }

    /// How many parts there are, all of them from 0 on.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn parts(&self) -> Result<usize> {
        let mut parts = 0;
        while self.exists(parts)? {
            parts += 1;
        }
        Ok(parts)
    }

    /// Unlike [`Table::has`], fails where this cannot be known: the last parts must not go missing unnoticed.
    fn exists(&self, part: usize) -> Result<bool> {
        let exists = self.path(part).try_exists();
        exists.with_context(|| format!("cannot read {}", self.folder.display()))
    }

    /// Whether the part is written.
    pub fn has(&self, part: usize) -> bool {
        self.path(part).is_file()
    }

    fn path(&self, part: usize) -> PathBuf {
        self.folder.join(format!("part-{part:05}.parquet"))
    }
}

impl<R: Record> Table<R> {
    /// Writes a part atomically.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, part: usize, records: &[R]) -> Result<()> {
        let path = self.path(part);
        let key = self.key.as_deref().unwrap_or_default();
        write_atomically(&path, |writer| part::write(writer, records, key))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl<V: View> Table<V> {
    /// Reads a part.
    ///
    /// # Errors
    /// A file that cannot be read, of another layout, or of other records: named, with what was expected.
    pub fn read(&self, part: usize) -> Result<Vec<V>> {
        part::read(&self.path(part))?.collect()
    }

    /// All records, part by part; memory holds one of them.
    ///
    /// # Errors
    /// A folder that cannot be read. Each record may be an error as those of [`Table::read`].
    pub fn records(&self) -> Result<impl Iterator<Item = Result<V>> + '_> {
        let rows = |part| match part::read(&self.path(part)) {
            Ok(rows) => Box::new(rows) as Box<dyn Iterator<Item = Result<V>>>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        Ok((0..self.parts()?).flat_map(rows))
    }
}

// Implemented by hand, because derives would require the same traits of the record type, which the table does
// not contain.
impl<R> Clone for Table<R> {
    fn clone(&self) -> Table<R> {
        Table { folder: self.folder.clone(), key: self.key.clone(), record: PhantomData }
    }
}

impl<R> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("folder", &self.folder).field("key", &self.key).finish()
    }
}

#[cfg(test)]
mod tests;
