//! Parquet in and out as rows of JSON values.

mod assemble;
mod shape;
mod shred;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use serde_json::Value;

use super::{Place, Row};
use crate::columnar::{ParquetFile, Rows};
use shape::Shape;

/// Rows of a row group.
const GROUP: usize = 1 << 20;

/// The rows of a Parquet file, in order.
pub(super) fn read(path: &Path) -> Result<impl Iterator<Item = Result<(Place, Row)>> + use<>> {
    let file = ParquetFile::open(path)?;
    let path = path.to_owned();
    let rows = Rows::new(file, |file, group, _| assemble::open(&group, file.fields()));
    Ok(rows.zip(1..).map(move |(row, number)| {
        let row = row.with_context(|| format!("cannot read {}", path.display()))?;
        Ok((Place::Row(number), row))
    }))
}

/// Writes `rows`, all objects, as one Parquet file; the schema is that of all rows.
pub(super) fn write(writer: impl Write + Send, rows: &[Value]) -> Result<()> {
    let shape = Shape::of(rows).context("the rows have no common schema")?;
    let compression = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut file = SerializedFileWriter::new(writer, Arc::new(shape.schema()?), properties)?;
    let mut leaves = shred::leaves(&shape);
    // Rows without fields have no columns to be counted by.
    let rows = if leaves.is_empty() { &[] } else { rows };
    for rows in rows.chunks(GROUP) {
        let mut group = file.next_row_group()?;
        for leaf in &mut leaves {
            let column = group.next_column()?.context("a leaf has a column")?;
            leaf.write(column, rows)?;
        }
        group.close()?;
    }
    file.close()?;
    Ok(())
}

#[cfg(test)]
mod tests;
