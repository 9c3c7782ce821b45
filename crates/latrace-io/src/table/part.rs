//! One part of a table as a Parquet file: records in and out, one row after another.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::record::{GroupReader, GroupWriter, Record, View, check_fields, schema_of};
use crate::columnar::{ParquetFile, Rows};
use crate::failure::Failure;

/// Version of the records' layout; another one is not read.
pub(super) const SCHEMA_VERSION: &str = "2";
const SCHEMA_KEY: &str = "latrace.schema";
const RECORD_KEY: &str = "latrace.record";
const STAGE_KEY: &str = "latrace.stage_key";

/// Writes records as one Parquet file, with the key of the stage that they are of.
///
/// # Errors
/// I/O errors.
pub(super) fn write<R: Record>(writer: impl Write + Send, records: &[R], stage_key: &str) -> Result<()> {
    let properties = Arc::new(properties::<R>(stage_key)?);
    let mut file = SerializedFileWriter::new(writer, schema_of::<R>()?, properties)?;
    // Without records there is no row group, but still the schema, which readers check.
    if !records.is_empty() {
        let mut group = GroupWriter::new(file.next_row_group()?);
        R::write(records, &mut group)?;
        group.close()?;
    }
    file.close()?;
    Ok(())
}

/// Lists are stored plainly: no dictionary, no statistics, no compression. Token ids and log-probs are almost
/// all of a part, and compress by a quarter at most: one of 512 traces of 5,000 tokens takes 20.5 MB, under
/// snappy 17.9 MB, under zstd 1 15.0 MB, but takes twice as long to write and to read (`benches/parts.rs`, one
/// core, no wait for the disk). Each part is read several times, and even a disk of 200 MB/s spends less on
/// those 5 MB than zstd does. Texts, which compress well, take zstd 1.
///
/// One row group holds the part: pages of about a megabyte are read one after another, so that a reader holds
/// a page of each column and no more.
fn properties<R: Record>(stage_key: &str) -> Result<WriterProperties> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_key_value_metadata(Some(metadata::<R>(stage_key)));
    let lists = R::fields().into_iter().filter(|field| field.is_group());
    Ok(lists.fold(properties, |properties, list| plain(properties, list.name())).build())
}

fn metadata<R: Record>(stage_key: &str) -> Vec<KeyValue> {
    let metadata = [(SCHEMA_KEY, SCHEMA_VERSION), (RECORD_KEY, R::NAME), (STAGE_KEY, stage_key)];
    metadata.map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned())).to_vec()
}

/// The properties, with the items of a column of lists stored plainly.
fn plain(properties: WriterPropertiesBuilder, list: &str) -> WriterPropertiesBuilder {
    let items = ColumnPath::new([list, "list", "element"].map(str::to_owned).to_vec());
    properties
        .set_column_compression(items.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(items.clone(), false)
        .set_column_statistics_enabled(items, EnabledStatistics::None)
}

/// The records of a part, row by row, once what it is said to hold is checked.
///
/// # Errors
/// A file that cannot be read, of another layout or of other records.
pub(super) fn read<V: View>(path: &Path) -> Result<impl Iterator<Item = Result<V>> + use<V>> {
    let file = ParquetFile::open(path).map_err(|error| error.context(damaged(path)))?;
    // First, because a difference in columns says little about a file of another kind.
    check_kind::<V>(&file)?;
    check_fields::<V>(file.fields()).map_err(|problem| other_layout(path, problem))?;
    let path = path.to_owned();
    let rows =
        Rows::new(file, |file, group, before| V::open(&GroupReader { fields: file.fields(), group, before }));
    Ok(rows.map(move |row| row.map_err(|error| error.context(damaged(&path)))))
}

/// Whether a file holds records of that name in this layout.
fn check_kind<V: View>(file: &ParquetFile) -> Result<()> {
    let (record, version) = (file.key_value(RECORD_KEY), file.key_value(SCHEMA_KEY));
    if (record, version) == (Some(V::NAME), Some(SCHEMA_VERSION)) {
        return Ok(());
    }
    let (record, version) = (record.unwrap_or("rows"), version.unwrap_or("none"));
    let problem = format!(
        "expected records of kind \"{}\" in layout {SCHEMA_VERSION}, got \"{record}\" in layout {version}",
        V::NAME
    );
    Err(other_layout(file.path(), problem))
}

fn other_layout(path: &Path, problem: impl Display) -> anyhow::Error {
    Failure::work(format!("{}: {problem}", path.display())).hint(OTHER_PROGRAM).into()
}

const OTHER_PROGRAM: &str = "it was written by another version of latrace, or by another program; \
                             `latrace run RECIPE --run-dir NEW` makes a new run";

fn damaged(path: &Path) -> Failure {
    let hint = format!("remove {} and run again: it will be redone", path.display());
    Failure::work(format!("cannot read {}", path.display())).hint(hint)
}
