//! A Parquet file and its row groups, opened for reading.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use parquet::basic::Compression;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use super::guard::guarded;
use super::schema::{Field, fields_of};

/// A Parquet file of which everything but its values has been read.
#[derive(Debug)]
pub struct ParquetFile {
    path: PathBuf,
    metadata: ParquetMetaData,
    fields: Vec<Field>,
}

impl ParquetFile {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that cannot be read, or is not a Parquet file of supported types.
    pub fn open(path: &Path) -> Result<ParquetFile> {
        let read = || -> Result<ParquetFile> {
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&File::open(path)?)?;
            let fields = fields_of(metadata.file_metadata().schema_descr())?;
            Ok(ParquetFile { path: path.to_owned(), metadata, fields })
        };
        guarded(read).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The fields of its rows.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The value of a key in the file's own metadata.
    pub fn key_value(&self, key: &str) -> Option<&str> {
        let mut pairs = self.metadata.file_metadata().key_value_metadata().into_iter().flatten();
        pairs.find(|pair| pair.key == key)?.value.as_deref()
    }

    /// The number of rows of each row group.
    pub fn group_rows(&self) -> impl Iterator<Item = u64> + '_ {
        self.metadata.row_groups().iter().map(|group| group.num_rows() as u64)
    }

    /// Opens a row group. Each has a handle of the file for itself, because readers of one handle share its
    /// position.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn group(&self, number: usize) -> Result<RowGroup<'_>> {
        let file = File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(RowGroup { file: Arc::new(file), metadata: self.metadata.row_group(number) })
    }
}

/// A row group of a file, whose columns are read independently of each other.
#[derive(Debug)]
pub struct RowGroup<'a> {
    file: Arc<File>,
    metadata: &'a RowGroupMetaData,
}

impl RowGroup<'_> {
    /// The reader of a leaf column.
    ///
    /// # Errors
    /// A column of another physical type than `T`, or compressed in an unsupported way.
    pub(crate) fn leaf<T: DataType>(&self, leaf: usize) -> Result<ColumnReaderImpl<T>, ParquetError> {
        let column = self.metadata.column(leaf);
        check_compression(column.compression())?;
        // Checked here, since the reader below takes `T` on trust.
        if column.column_type() != T::get_physical_type() {
            let (expected, got) = (T::get_physical_type(), column.column_type());
            return Err(ParquetError::General(format!("expected values stored as {expected}, got {got}")));
        }
        let rows = self.metadata.num_rows() as usize;
        let pages = SerializedPageReader::new(self.file.clone(), column, rows, None)?;
        Ok(ColumnReaderImpl::new(column.column_descr_ptr(), Box::new(pages)))
    }

    /// The definition level of a leaf column's values.
    pub(super) fn definition(&self, leaf: usize) -> i16 {
        self.metadata.column(leaf).column_descr().max_def_level()
    }

    /// The physical type of a leaf column.
    pub(super) fn physical(&self, leaf: usize) -> parquet::basic::Type {
        self.metadata.column(leaf).column_type()
    }
}

fn check_compression(compression: Compression) -> Result<(), ParquetError> {
    // The codecs that are compiled in: any other would fail later, at the column's first page.
    match compression {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::ZSTD(_)
        | Compression::GZIP(_)
        | Compression::LZ4
        | Compression::LZ4_RAW
        | Compression::BROTLI(_) => Ok(()),
        other => {
            let problem = format!("expected no compression, snappy, gzip, brotli, lz4 or zstd, got {other}");
            Err(ParquetError::General(problem))
        }
    }
}
