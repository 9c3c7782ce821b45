//! One part of a table as a Parquet file: batches of records in and out, never more of them decoded at once
//! than a batch.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::record::{Record, View, check_schema};
use crate::failure::Failure;

/// Version of the records' layout; another one is not read.
pub(super) const SCHEMA_VERSION: &str = "2";
const SCHEMA_KEY: &str = "latrace.schema";
const RECORD_KEY: &str = "latrace.record";
const STAGE_KEY: &str = "latrace.stage_key";

/// Records that are columns at once, on their way in and out: with traces of 5,000 tokens, 4 MB.
const BATCH: usize = 64;

/// Writes records as one Parquet file, with the key of the stage that they are of.
///
/// # Errors
/// I/O errors.
pub(super) fn write<R: Record>(writer: impl Write + Send, records: &[R], stage_key: &str) -> Result<()> {
    let options = ArrowWriterOptions::new()
        .with_properties(properties::<R>(stage_key)?)
        // Parquet's own types say all that there is to say.
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(writer, R::schema(), options)?;
    for records in records.chunks(BATCH) {
        writer.write(&R::to_batch(records)?)?;
    }
    writer.close()?;
    Ok(())
}

/// Lists lie as they are: no dictionary, no statistics, no compression. Token ids and log-probs are almost all
/// of a part, and compress by a quarter at most: one of 512 traces of 5,000 tokens takes 20.5 MB, written in
/// 39 ms and read in 17 ms; under lz4 18.0 MB, 59 ms and 22 ms; under snappy 17.9 MB, 67 ms and 31 ms; under
/// zstd 1 15.0 MB, 81 ms and 39 ms; under zstd 3 (as before) 15.1 MB, 111 ms and 39 ms (`benches/parts.rs`, one
/// core, no wait for the disk). Each part is read several times, and even a disk of 200 MB/s spends less on
/// those 5 MB than zstd does. Texts, which compress well, take zstd 1.
///
/// One row group holds the part: pages of at most a megabyte are read one after another, so that a reader
/// holds a batch and no more.
fn properties<R: Record>(stage_key: &str) -> Result<WriterProperties> {
    let metadata = [(SCHEMA_KEY, SCHEMA_VERSION), (RECORD_KEY, R::NAME), (STAGE_KEY, stage_key)];
    let metadata =
        metadata.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned())).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_key_value_metadata(Some(metadata));
    let lists = R::fields().into_iter().filter(|field| matches!(field.data_type(), DataType::List(_)));
    let properties = lists.fold(properties, |properties, field| {
        let items = ColumnPath::new(vec![field.name().clone(), "list".to_owned(), "element".to_owned()]);
        properties
            .set_column_compression(items.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(items.clone(), false)
            .set_column_statistics_enabled(items, EnabledStatistics::None)
    });
    Ok(properties.build())
}

/// The records of a part, batch by batch.
#[derive(Debug)]
pub(super) struct Batches<V> {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// Rows of the batches before.
    before: u64,
    view: std::marker::PhantomData<V>,
}

impl<V: View> Batches<V> {
    /// Opens a part and checks what it is said to hold.
    ///
    /// # Errors
    /// A file that cannot be read, of another layout or of other records.
    pub(super) fn open(path: &Path) -> Result<Batches<V>> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let damaged =
            |error: parquet::errors::ParquetError| anyhow::Error::from(error).context(damaged(path));
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(damaged)?;
        check_kind::<V>(path, &metadata)?;
        check_schema::<V>(metadata.schema()).map_err(|problem| other_layout(path, problem))?;
        let columns = columns_of::<V>(&metadata);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let reader = reader.with_projection(columns).with_batch_size(BATCH).build().map_err(damaged)?;
        Ok(Batches { path: path.to_owned(), reader, before: 0, view: std::marker::PhantomData })
    }
}

impl<V: View> Iterator for Batches<V> {
    type Item = Result<Vec<V>>;

    fn next(&mut self) -> Option<Result<Vec<V>>> {
        let batch = match self.reader.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(anyhow::Error::from(error).context(damaged(&self.path)))),
        };
        let before = self.before;
        self.before += batch.num_rows() as u64;
        let records = V::from_batch(&batch);
        Some(
            records
                .map_err(|problem| anyhow::Error::from(problem.after(before)).context(damaged(&self.path))),
        )
    }
}

/// The columns that a view reads; a record also reads those that are derived, which it checks.
fn columns_of<V: View>(metadata: &ArrowReaderMetadata) -> ProjectionMask {
    let fields = V::fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let roots = metadata.schema().fields().iter().enumerate();
    let read = roots.filter(|(_, field)| names.contains(&field.name().as_str())).map(|(at, _)| at);
    ProjectionMask::roots(metadata.metadata().file_metadata().schema_descr(), read)
}

/// Whether a file holds records of that name in this layout.
fn check_kind<V: View>(path: &Path, metadata: &ArrowReaderMetadata) -> Result<()> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let known: HashMap<&str, &str> =
        pairs.filter_map(|pair| Some((pair.key.as_str(), pair.value.as_deref()?))).collect();
    let (record, version) = (known.get(RECORD_KEY).copied(), known.get(SCHEMA_KEY).copied());
    if (record, version) == (Some(V::NAME), Some(SCHEMA_VERSION)) {
        return Ok(());
    }
    let (record, version) = (record.unwrap_or("rows"), version.unwrap_or("none"));
    let problem = format!(
        "expected records of kind \"{}\" in layout {SCHEMA_VERSION}, got \"{record}\" in layout {version}",
        V::NAME
    );
    Err(other_layout(path, problem))
}

fn other_layout(path: &Path, problem: impl std::fmt::Display) -> anyhow::Error {
    let hint = "it was written by another version of latrace, or by another program; \
                `latrace run RECIPE --run-dir NEW` makes a new run";
    Failure::work(format!("{}: {problem}", path.display())).hint(hint).into()
}

fn damaged(path: &Path) -> Failure {
    let hint = format!("remove {} and run again: it will be redone", path.display());
    Failure::work(format!("cannot read {}", path.display())).hint(hint)
}
