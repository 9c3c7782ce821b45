//! A stage's records: Parquet parts in its folder, each with the schema's version and the key of the stage
//! that wrote it.
//!
//! Part i of a stage comes from part i of the one before it, so that records join within a part and memory
//! holds one part at a time.

use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;
use crate::files::write_atomically;
use crate::parquet_rows;

/// Version of the records' layout; another one is not read.
const SCHEMA_VERSION: &str = "1";
const SCHEMA_KEY: &str = "latrace.schema";
const RECORD_KEY: &str = "latrace.record";
const STAGE_KEY: &str = "latrace.stage_key";

/// What a table holds.
pub trait Record: Serialize + DeserializeOwned {
    /// The record's name, kept in each part.
    const NAME: &'static str;
}

/// The parts of one kind of record in a folder.
#[derive(Clone, Debug)]
pub struct Table<R> {
    folder: PathBuf,
    /// The stage's key, if this stage writes it; a reader takes any.
    key: Option<String>,
    record: PhantomData<R>,
}

impl<R: Record> Table<R> {
    /// The table of a finished stage.
    pub fn open(folder: &Path) -> Table<R> {
        Table { folder: folder.to_owned(), key: None, record: PhantomData }
    }

    /// The table that the stage of `key` writes.
    pub fn create(folder: &Path, key: &str) -> Table<R> {
        Table { folder: folder.to_owned(), key: Some(key.to_owned()), record: PhantomData }
    }

    /// How many parts there are, all of them from 0 on.
    pub fn parts(&self) -> Result<usize> {
        let mut parts = 0;
        while self
            .path(parts)
            .try_exists()
            .with_context(|| format!("cannot read {}", self.folder.display()))?
        {
            parts += 1;
        }
        Ok(parts)
    }

    /// Whether the part is written.
    pub fn has(&self, part: usize) -> bool {
        self.path(part).is_file()
    }

    /// Writes a part, whole or not at all.
    pub fn write(&self, part: usize, records: &[R]) -> Result<()> {
        let path = self.path(part);
        let cannot = || format!("cannot write {}", path.display());
        let rows = records
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<Vec<Value>, _>>()
            .with_context(cannot)?;
        let key = self.key.as_deref().unwrap_or_default();
        let metadata = [(SCHEMA_KEY, SCHEMA_VERSION), (RECORD_KEY, R::NAME), (STAGE_KEY, key)];
        write_atomically(&path, |writer| parquet_rows::write(writer, &rows, &metadata)).with_context(cannot)
    }

    /// Reads a part.
    pub fn read(&self, part: usize) -> Result<Vec<R>> {
        let path = self.path(part);
        let damaged = || {
            let hint = format!("remove {} and run again: what is missing is made anew", path.display());
            anyhow::Error::from(Failure::work(format!("cannot read {}", path.display())).hint(hint))
        };
        let file = fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let metadata = parquet_rows::metadata(&file).map_err(|error| error.context(damaged()))?;
        let known = |name: &str| metadata.get(name).map(String::as_str);
        if known(SCHEMA_KEY) != Some(SCHEMA_VERSION) || known(RECORD_KEY) != Some(R::NAME) {
            let expected = format!("{} of layout {SCHEMA_VERSION}", R::NAME);
            let got = format!(
                "{} of layout {}",
                known(RECORD_KEY).unwrap_or("rows"),
                known(SCHEMA_KEY).unwrap_or("none")
            );
            return Err(Failure::work(format!("{}: expected {expected}, got {got}", path.display())).into());
        }
        let parse = |row: Result<(crate::rows::Place, crate::rows::Row)>| {
            let (place, row) = row?;
            serde_json::from_value(Value::Object(row))
                .with_context(|| format!("{} row {}", path.display(), place.number()))
        };
        parquet_rows::read(&path, file)?
            .map(parse)
            .collect::<Result<Vec<R>>>()
            .map_err(|error| error.context(damaged()))
    }

    /// All records, part by part.
    pub fn records(&self) -> Result<impl Iterator<Item = Result<R>> + '_> {
        let parts = self.parts()?;
        Ok((0..parts).flat_map(|part| match self.read(part) {
            Ok(records) => records.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    fn path(&self, part: usize) -> PathBuf {
        self.folder.join(format!("part-{part:05}.parquet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair {
        id: String,
        ids: Vec<u32>,
        note: Option<String>,
    }

    impl Record for Pair {
        const NAME: &'static str = "pair";
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other {
        id: String,
    }

    impl Record for Other {
        const NAME: &'static str = "other";
    }

    fn pair(id: &str, ids: &[u32]) -> Pair {
        Pair { id: id.to_owned(), ids: ids.to_vec(), note: None }
    }

    #[test]
    fn records_come_back_part_by_part() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::<Pair>::create(folder.path(), "k");
        table.write(0, &[pair("a", &[1, 2]), pair("b", &[])]).unwrap();
        table.write(1, &[]).unwrap();
        table.write(2, &[pair("c", &[3])]).unwrap();
        let read: Vec<Pair> = Table::open(folder.path()).records().unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(read, [pair("a", &[1, 2]), pair("b", &[]), pair("c", &[3])]);
        assert_eq!(table.parts().unwrap(), 3);
    }

    #[test]
    fn equal_records_are_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::<Pair>::create(folder.path(), "k");
        for part in 0..2 {
            table.write(part, &[pair("a", &[1, 2])]).unwrap();
        }
        assert_eq!(
            fs::read(folder.path().join("part-00000.parquet")).unwrap(),
            fs::read(folder.path().join("part-00001.parquet")).unwrap()
        );
    }

    #[test]
    fn a_part_of_other_records_or_damaged_is_named() {
        let folder = tempfile::tempdir().unwrap();
        Table::<Pair>::create(folder.path(), "k").write(0, &[pair("a", &[])]).unwrap();
        let error = Table::<Other>::open(folder.path()).read(0).unwrap_err().to_string();
        assert!(
            error.contains("part-00000.parquet: expected other of layout 1, got pair of layout 1"),
            "{error}"
        );
        let path = folder.path().join("part-00000.parquet");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = Table::<Pair>::open(folder.path()).read(0).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("part-00000.parquet"), "{error}");
    }
}
