//! What values are stored as, and values and levels of columns, written and read.

use std::fmt;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type, TypePtr};

use crate::columnar::{Field, RowGroup};

/// Scalars encoded or decoded at once.
const BATCH: usize = 64;

/// What a value is stored as.
pub trait Stored {
    /// The physical type.
    type Physical: DataType;

    /// Its annotation in the file.
    const LOGICAL: Option<LogicalType> = None;

    /// The Parquet type of such values.
    fn stored_type(name: &str, repetition: Repetition) -> TypePtr {
        let kind = Type::primitive_type_builder(name, Self::Physical::get_physical_type());
        let kind = kind.with_repetition(repetition).with_logical_type(Self::LOGICAL).build();
        Arc::new(kind.expect("each annotation suits its physical type"))
    }
}

/// A number of which a row has a list.
pub trait ListItem: Stored + Copy + 'static {
    /// The numbers as they are stored, in `buffer` if they are not in that form already.
    fn to_stored<'a>(
        items: &'a [Self],
        buffer: &'a mut Vec<<Self::Physical as DataType>::T>,
    ) -> &'a [<Self::Physical as DataType>::T];

    /// The numbers that are stored.
    fn from_stored(stored: Vec<<Self::Physical as DataType>::T>) -> Vec<Self>;
}

/// Writes a column of scalars.
pub(super) fn write_scalars<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<()> {
    let writer = column.typed::<T>();
    let optional = writer.get_descriptor().max_def_level() > 0;
    let (mut present, mut definitions) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    let mut values = values.peekable();
    while values.peek().is_some() {
        present.clear();
        definitions.clear();
        for value in values.by_ref().take(BATCH) {
            definitions.push(i16::from(value.is_some()));
            present.extend(value);
        }
        writer.write_batch(&present, optional.then_some(&definitions[..]), None)?;
    }
    column.close()
}

/// Writes a column of lists, each as one slice.
pub(super) fn write_lists<'a, I: ListItem>(
    mut column: SerializedColumnWriter<'_>,
    lists: impl Iterator<Item = Option<&'a [I]>>,
) -> Result<()> {
    let writer = column.typed::<I::Physical>();
    let item = writer.get_descriptor().max_def_level();
    // A list's first item starts a row, at repetition level 0, and those that follow are at level 1.
    let (mut levels, mut buffer) = (ListLevels { item, definitions: vec![], repetitions: vec![0] }, vec![]);
    for list in lists {
        match list {
            // Definition levels from the outside in: no list, an empty one, an item. Columns that may not be
            // null lack the first.
            None => writer.write_batch(&[], Some(&[0]), Some(&[0]))?,
            Some([]) => writer.write_batch(&[], Some(&[item - 1]), Some(&[0]))?,
            Some(items) => {
                let (definitions, repetitions) = levels.of(items.len());
                let items = I::to_stored(items, &mut buffer);
                writer.write_batch(items, Some(definitions), Some(repetitions))?
            }
        };
    }
    column.close()
}

/// The levels of the longest list so far: those of a shorter one are their beginning.
struct ListLevels {
    /// The definition level of an item.
    item: i16,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl ListLevels {
    fn of(&mut self, items: usize) -> (&[i16], &[i16]) {
        if self.definitions.len() < items {
            self.definitions.resize(items, self.item);
            self.repetitions.resize(items, 1);
        }
        (&self.definitions[..items], &self.repetitions[..items])
    }
}

/// The scalars of a column, row by row.
pub struct ScalarReader<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: std::vec::IntoIter<T::T>,
    /// Whether each row of the batch has a value; none of a column where all do.
    definitions: std::vec::IntoIter<i16>,
    optional: bool,
}

impl<T: DataType> fmt::Debug for ScalarReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarReader").field("optional", &self.optional).finish_non_exhaustive()
    }
}

impl<T: DataType> ScalarReader<T> {
    pub(super) fn open(group: &RowGroup<'_>, field: &Field) -> Result<ScalarReader<T>> {
        let reader = group.leaf(field.first_leaf())?;
        let (values, definitions) = (Vec::new().into_iter(), Vec::new().into_iter());
        Ok(ScalarReader { reader, values, definitions, optional: field.optional })
    }

    /// The next row's value; `None` for null.
    ///
    /// # Errors
    /// A column that cannot be read, or has no more rows.
    pub(super) fn read(&mut self) -> Result<Option<T::T>> {
        if self.values.len() == 0 && self.definitions.len() == 0 {
            self.read_batch()?;
        }
        // A column without nulls has no definition levels to take one from.
        if self.definitions.next() == Some(0) {
            return Ok(None);
        }
        let ended = || ParquetError::EOF("a column has fewer rows than its row group".to_owned());
        self.values.next().map(Some).ok_or_else(ended)
    }

    fn read_batch(&mut self) -> Result<()> {
        let (mut values, mut definitions) = (Vec::with_capacity(BATCH), Vec::new());
        let levels = self.optional.then_some(&mut definitions);
        self.reader.read_records(BATCH, levels, None, &mut values)?;
        self.values = values.into_iter();
        self.definitions = definitions.into_iter();
        Ok(())
    }
}
