//! Lists of numbers, row by row, as slices of the column's values.

use std::fmt;

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{DataType, DoubleType, FloatType};
use parquet::errors::{ParquetError, Result};

use super::file::RowGroup;
use super::scalar::Scalar;
use super::schema::{Field, FieldKind};

/// What a row holds where a list is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListRow {
    /// No list.
    Null,
    /// A list, so many of whose items are null.
    Items {
        /// The number of nulls.
        nulls: usize,
    },
}

/// The lists of a column, row by row.
pub struct ListReader<T: DataType> {
    reader: ColumnReaderImpl<T>,
    /// The definition level of an empty list.
    empty: i16,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl<T: DataType> fmt::Debug for ListReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListReader").field("empty", &self.empty).finish_non_exhaustive()
    }
}

impl<T: DataType> ListReader<T> {
    /// The lists of a field, whose items must be stored as `T`.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn open(group: &RowGroup<'_>, field: &Field) -> Result<Self> {
        Ok(Self {
            reader: group.leaf(field.first_leaf())?,
            empty: field.definition,
            definitions: vec![],
            repetitions: vec![],
        })
    }

    /// Appends the items of the next row to `items`, but for those that are null.
    ///
    /// One row at a time: its levels stay in the processor's cache, and its items need not be copied again.
    ///
    /// # Shapes
    /// `items` grows by the row's number of items without its nulls.
    ///
    /// # Errors
    /// A column that cannot be read, or has no more rows.
    pub fn read(&mut self, items: &mut Vec<T::T>) -> Result<ListRow> {
        self.definitions.clear();
        self.repetitions.clear();
        let levels = (Some(&mut self.definitions), Some(&mut self.repetitions));
        let (rows, values, levels) = self.reader.read_records(1, levels.0, levels.1, items)?;
        if rows == 0 {
            return Err(ParquetError::EOF("a column has fewer rows than its row group".to_owned()));
        }
        // A row without items has an entry all the same, which only its level tells from a single item.
        Ok(match self.definitions[..] {
            [only] if only < self.empty => ListRow::Null,
            [only] if only == self.empty => ListRow::Items { nulls: 0 },
            _ => ListRow::Items { nulls: levels - values },
        })
    }
}

/// The lists of a column of floating-point numbers of either width.
#[derive(Debug)]
pub enum FloatListReader {
    /// f32.
    Single(ListReader<FloatType>, Vec<f32>),
    /// f64.
    Double(ListReader<DoubleType>),
}

impl FloatListReader {
    /// The lists of a field; `None` if it holds anything else.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn open(group: &RowGroup<'_>, field: &Field) -> Result<Option<FloatListReader>> {
        let FieldKind::List(list) = &field.kind else { return Ok(None) };
        Ok(match list.item.kind {
            // The keys of a map would pass for a list, and its values be lost.
            _ if list.value.is_some() => None,
            FieldKind::Scalar(Scalar::Float { bits: 32 }, _) => {
                Some(FloatListReader::Single(ListReader::open(group, field)?, Vec::new()))
            }
            FieldKind::Scalar(Scalar::Float { bits: 64 }, _) => {
                Some(FloatListReader::Double(ListReader::open(group, field)?))
            }
            _ => None,
        })
    }

    /// Puts the next row's numbers into `numbers`, but for those that are null.
    ///
    /// # Errors
    /// As [`ListReader::read`].
    pub fn read(&mut self, numbers: &mut Vec<f64>) -> Result<ListRow> {
        numbers.clear();
        match self {
            FloatListReader::Double(reader) => reader.read(numbers),
            FloatListReader::Single(reader, singles) => {
                singles.clear();
                let row = reader.read(singles)?;
                numbers.extend(singles.iter().map(|&single| f64::from(single)));
                Ok(row)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columnar::ParquetFile;
    use crate::columnar::testing::{Column, column, write_file};

    /// The lists of the file's field `v`, as nulls and numbers.
    fn read(fields: &str, columns: &[Column<'_>], rows: usize) -> Option<Vec<(ListRow, Vec<f64>)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_file(file.path(), fields, &[], &[columns]);
        let file = ParquetFile::open(file.path()).unwrap();
        let group = file.group(0).unwrap();
        let mut reader = FloatListReader::open(&group, file.field("v").unwrap()).unwrap()?;
        let mut numbers = Vec::new();
        let row = |_| (reader.read(&mut numbers).unwrap(), numbers.clone());
        let lists = (0..rows).map(row).collect();
        assert!(reader.read(&mut numbers).unwrap_err().to_string().contains("fewer rows"));
        Some(lists)
    }

    #[track_caller]
    fn check(fields: &str, columns: &[Column<'_>], expected: &[(ListRow, &[f64])]) {
        let expected: Vec<_> = expected.iter().map(|(row, numbers)| (*row, numbers.to_vec())).collect();
        assert_eq!(read(fields, columns, expected.len()), Some(expected), "{fields}");
    }

    const WHOLE: ListRow = ListRow::Items { nulls: 0 };

    #[test]
    fn lists_are_read_however_their_writer_spells_them() {
        let numbers = [0.5, -2.0, 4.0];
        check(
            "optional group v (LIST) { repeated group list { optional double element; } }",
            &[column::<DoubleType>(&numbers, &[0, 1, 3, 2, 3, 2, 3], &[0, 0, 0, 1, 1, 0, 0])],
            &[
                (ListRow::Null, &[]),
                (WHOLE, &[]),
                (ListRow::Items { nulls: 1 }, &[0.5, -2.0]),
                (ListRow::Items { nulls: 1 }, &[]),
                (WHOLE, &[4.0]),
            ],
        );
        check(
            "required group v (LIST) { repeated group bag { required double item; } }",
            &[column::<DoubleType>(&numbers, &[0, 1, 1, 1], &[0, 0, 1, 0])],
            &[(WHOLE, &[]), (WHOLE, &[0.5, -2.0]), (WHOLE, &[4.0])],
        );
        check(
            "optional group v (LIST) { repeated double array; }",
            &[column::<DoubleType>(&numbers, &[0, 1, 2, 2, 2], &[0, 0, 0, 1, 0])],
            &[(ListRow::Null, &[]), (WHOLE, &[]), (WHOLE, &[0.5, -2.0]), (WHOLE, &[4.0])],
        );
        check(
            "repeated float v;",
            &[column::<FloatType>(&[0.5, -2.0], &[1, 1, 0], &[0, 1, 0])],
            &[(WHOLE, &[0.5, -2.0]), (WHOLE, &[])],
        );
    }

    #[test]
    fn other_columns_hold_no_lists_of_numbers() {
        let one = || column::<DoubleType>(&[0.5], &[1], &[0]);
        assert_eq!(read("required double v;", &[column::<DoubleType>(&[0.5], &[], &[])], 1), None);
        assert_eq!(read("repeated group v { required double a; }", &[one()], 1), None);
    }
}
