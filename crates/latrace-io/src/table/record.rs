//! Records: structs of which every field is a column, with one schema for all tables that hold them.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use parquet::basic::Repetition;
use parquet::data_type::ByteArrayType;
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedColumnWriter, SerializedRowGroupWriter};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use thiserror::Error;

use super::column::{Column, ColumnProblem, UnknownName};
use super::stored::write_scalars;
use crate::columnar::{Field, NextRow, RowGroup, fields_of};

/// What the rows of a table are read as: its whole records, or some of their columns. A stage that needs only
/// token ids does not read log-probs, which take as many bytes.
pub trait View: Sized {
    /// The records' name, kept in each part.
    const NAME: &'static str;

    /// Whether these are all of the records' columns.
    const WHOLE: bool;

    /// Columns that parts of before may lack, whose values are then null.
    const LATER: &'static [&'static str] = &[];

    /// The columns, in the records' order.
    fn fields() -> Vec<TypePtr>;

    /// Opens the columns of [`View::fields`], to be read row by row.
    ///
    /// # Errors
    /// A missing column, or a damaged file.
    fn open(columns: &GroupReader<'_>) -> Result<NextRow<Self>>;
}

/// What a table holds; [`record!`](crate::record) makes a struct one.
pub trait Record: View {
    /// Writes records as columns, in the order of [`View::fields`].
    ///
    /// # Errors
    /// I/O errors.
    fn write<W: Write + Send>(records: &[Self], group: &mut GroupWriter<'_, W>) -> Result<(), ParquetError>;
}

/// The schema of every table of these columns, with or without records.
pub(super) fn schema_of<V: View>() -> Result<TypePtr, ParquetError> {
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(V::fields()).build()?))
}

/// Why columns are not valid records.
#[derive(Debug, Error)]
pub enum RecordProblem {
    /// A column is missing, superfluous, or of another type.
    #[error("column \"{column}\": expected {expected}, got {got}")]
    Column {
        /// Its name.
        column: String,
        /// The type that it should have.
        expected: String,
        /// The type that it has.
        got: String,
    },
    /// A row holds what its field cannot.
    #[error("row {row}, column \"{column}\": expected {expected}, got {got:?}")]
    Value {
        /// The row, from 1.
        row: u64,
        /// The column's name.
        column: String,
        /// What the field can hold.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A column cannot be read.
    #[error("column \"{column}\"")]
    File {
        /// Its name.
        column: String,
        /// The reason.
        source: ParquetError,
    },
}

/// Checks that a table has the columns of `V`: the same names in the same order, with the same types. Only a
/// view allows others beside them, and only columns that came later may be missing.
///
/// # Errors
/// The first column that differs.
pub(super) fn check_fields<V: View>(fields: &[Field]) -> Result<()> {
    let mut all_expected = fields_of(&SchemaDescriptor::new(schema_of::<V>()?))?;
    let is_there = |name: &str| fields.iter().any(|field| field.name == name);
    all_expected.retain(|field| !V::LATER.contains(&field.name.as_str()) || is_there(&field.name));
    let is_read = |field: &&Field| V::WHOLE || all_expected.iter().any(|read| read.name == field.name);
    let all_got: Vec<&Field> = fields.iter().filter(is_read).collect();
    for at in 0..all_expected.len().max(all_got.len()) {
        let (expected, got) = (all_expected.get(at), all_got.get(at).copied());
        if !expected.zip(got).is_some_and(|(expected, got)| is_same(expected, got)) {
            return Err(differing(expected, got).into());
        }
    }
    Ok(())
}

fn is_same(expected: &Field, got: &Field) -> bool {
    // As words, which leave out the names that other writers give to the levels of a list.
    expected.name == got.name && expected.to_string() == got.to_string()
}

fn differing(expected: Option<&Field>, got: Option<&Field>) -> RecordProblem {
    RecordProblem::Column {
        column: expected.or(got).map_or_else(String::new, |field| field.name.clone()),
        expected: expected.map_or_else(|| "no such column".to_owned(), Field::to_string),
        got: got_instead(expected, got),
    }
}

/// What stands in an expected column's place.
fn got_instead(expected: Option<&Field>, got: Option<&Field>) -> String {
    match (expected, got) {
        (_, None) => "nothing".to_owned(),
        (Some(expected), Some(got)) if expected.name != got.name => {
            format!("column \"{}\" of {got}", got.name)
        }
        (_, Some(got)) => got.to_string(),
    }
}

/// Makes a struct a [`Record`](crate::table::Record) of a name in files. All of its fields are listed, each a
/// [`Column`](crate::table::Column); one that is missing does not compile. Those that came `later`, each an `Option`,
/// are `None` in parts that lack them. Columns of text that follow from the others, for readers of the file, may be
/// added: they are checked when a record is read.
///
/// ```
/// struct Pair { id: String, ids: Vec<u32>, note: Option<String> }
/// latrace_io::record!(Pair, "pair", { id, ids }, later { note }, derived {
///     length: |pair: &Pair| if pair.ids.is_empty() { "empty" } else { "some" }
/// });
/// ```
#[macro_export]
macro_rules! record {
    (
        $record:ident, $name:literal, { $($field:ident),+ $(,)? }
        $(, later { $($later:ident),+ $(,)? })?
        $(, derived { $($column:ident: $text:expr),+ $(,)? })?
    ) => {
        impl $crate::table::View for $record {
            const NAME: &'static str = $name;
            const WHOLE: bool = true;
            $(const LATER: &'static [&'static str] = &[$(stringify!($later)),+];)?

            fn fields() -> Vec<$crate::table::TypePtr> {
                vec![
                    $($crate::table::field(stringify!($field), |record: &$record| &record.$field),)+
                    $($($crate::table::field(stringify!($later), |record: &$record| &record.$later),)+)?
                    $($($crate::table::derived_field(stringify!($column)),)+)?
                ]
            }

            fn open(
                columns: &$crate::table::GroupReader<'_>,
            ) -> $crate::table::Result<$crate::table::NextRow<$record>> {
                $(let mut $field = columns.open(stringify!($field))?;)+
                $($(let mut $later = columns.open_later(stringify!($later))?;)+)?
                $($(let mut $column = columns.open(stringify!($column))?;)+)?
                Ok(Box::new(move || {
                    let record = $record {
                        $($field: $field.read()?,)+
                        $($($later: $crate::table::read_later(&mut $later)?,)+)?
                    };
                    $($($crate::table::check_derived(&mut $column, $text(&record))?;)+)?
                    Ok(record)
                }))
            }
        }

        impl $crate::table::Record for $record {
            fn write<W: std::io::Write + Send>(
                records: &[$record],
                group: &mut $crate::table::GroupWriter<'_, W>,
            ) -> Result<(), $crate::table::ParquetError> {
                $(group.write(records, |record: &$record| &record.$field)?;)+
                $($(group.write(records, |record: &$record| &record.$later)?;)+)?
                $($(group.write_derived(records, $text)?;)+)?
                Ok(())
            }
        }
    };
}

/// Makes a struct a [`View`](crate::table::View) of a record: it has some of the record's fields, in the
/// record's order; one of another type does not compile.
///
/// ```
/// struct Pair { id: String, ids: Vec<u32>, note: Option<String> }
/// latrace_io::record!(Pair, "pair", { id, ids, note });
/// struct PairIds { id: String, ids: Vec<u32> }
/// latrace_io::view!(PairIds of Pair, { id, ids });
/// ```
#[macro_export]
macro_rules! view {
    ($view:ident of $record:ident, { $($field:ident),+ $(,)? }) => {
        impl From<$record> for $view {
            fn from(record: $record) -> $view {
                $view { $($field: record.$field),+ }
            }
        }

        impl $crate::table::View for $view {
            const NAME: &'static str = <$record as $crate::table::View>::NAME;
            const WHOLE: bool = false;

            fn fields() -> Vec<$crate::table::TypePtr> {
                vec![$($crate::table::field(stringify!($field), |view: &$view| &view.$field)),+]
            }

            fn open(
                columns: &$crate::table::GroupReader<'_>,
            ) -> $crate::table::Result<$crate::table::NextRow<$view>> {
                $(let mut $field = columns.open(stringify!($field))?;)+
                Ok(Box::new(move || Ok($view { $($field: $field.read()?),+ })))
            }
        }
    };
}

/// The column of the field that `_get` gets: a function, so that its type need not be spelt.
pub fn field<R, C: Column>(name: &str, _get: fn(&R) -> &C) -> TypePtr {
    C::parquet_type(name, if C::NULLABLE { Repetition::OPTIONAL } else { Repetition::REQUIRED })
}

/// A column that follows from others.
pub fn derived_field(name: &str) -> TypePtr {
    field(name, |text: &String| text)
}

/// The columns of a part that is being written.
pub struct GroupWriter<'a, W: Write> {
    group: SerializedRowGroupWriter<'a, W>,
}

impl<W: Write> fmt::Debug for GroupWriter<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupWriter").finish_non_exhaustive()
    }
}

impl<'a, W: Write + Send> GroupWriter<'a, W> {
    /// The columns of a row group.
    pub fn new(group: SerializedRowGroupWriter<'a, W>) -> GroupWriter<'a, W> {
        GroupWriter { group }
    }

    /// Writes the next column: the values of the field that `get` gets.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write<R, C: Column>(&mut self, records: &[R], get: fn(&R) -> &C) -> Result<(), ParquetError> {
        C::write(self.next_column()?, records.iter().map(|record| Some(get(record))))
    }

    /// Writes the next column, which follows from others.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write_derived<R>(
        &mut self,
        records: &[R],
        text: fn(&R) -> &'static str,
    ) -> Result<(), ParquetError> {
        let texts = records.iter().map(|record| Some(text(record).into()));
        write_scalars::<ByteArrayType>(self.next_column()?, texts)
    }

    fn next_column(&mut self) -> Result<SerializedColumnWriter<'_>, ParquetError> {
        self.group
            .next_column()?
            .ok_or_else(|| ParquetError::General("more columns than the schema has".to_owned()))
    }

    /// Ends the row group, all of whose columns are written.
    ///
    /// # Errors
    /// I/O errors, or columns that are missing.
    pub fn close(self) -> Result<(), ParquetError> {
        self.group.close().map(|_| ())
    }
}

/// The columns of a row group that is being read.
#[derive(Debug)]
pub struct GroupReader<'a> {
    pub(super) fields: &'a [Field],
    pub(super) group: RowGroup<'a>,
    /// Rows of the groups before.
    pub(super) before: u64,
}

impl GroupReader<'_> {
    /// The column of that name, whose type has been checked.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open<C: Column>(&self, name: &'static str) -> Result<ColumnReader<C>, RecordProblem> {
        let field = self.fields.iter().find(|field| field.name == name);
        let missing = || RecordProblem::Column {
            column: name.to_owned(),
            expected: "a column".to_owned(),
            got: "nothing".to_owned(),
        };
        let reader = C::open(&self.group, field.ok_or_else(missing)?);
        let reader = reader.map_err(|source| RecordProblem::File { column: name.to_owned(), source })?;
        Ok(ColumnReader { name, reader, row: self.before })
    }

    /// The column of that name; none in a part that was written before there was one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open_later<C: Column>(
        &self,
        name: &'static str,
    ) -> Result<Option<ColumnReader<Option<C>>>, RecordProblem> {
        let is_there = self.fields.iter().any(|field| field.name == name);
        is_there.then(|| self.open(name)).transpose()
    }
}

/// A column's values, row by row.
#[derive(Debug)]
pub struct ColumnReader<C: Column> {
    name: &'static str,
    reader: C::Reader,
    /// The row last read, from 1.
    row: u64,
}

impl<C: Column> ColumnReader<C> {
    /// The next row's value.
    ///
    /// # Errors
    /// A damaged file, or a text that names no value of the type.
    pub fn read(&mut self) -> Result<C, RecordProblem> {
        self.row += 1;
        match C::read(&mut self.reader) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.wrong("a value".to_owned(), "null".to_owned())),
            Err(ColumnProblem::Name(UnknownName { expected, got })) => Err(self.wrong(expected, got)),
            Err(ColumnProblem::File(source)) => {
                Err(RecordProblem::File { column: self.name.to_owned(), source })
            }
        }
    }

    fn wrong(&self, expected: String, got: String) -> RecordProblem {
        RecordProblem::Value { row: self.row, column: self.name.to_owned(), expected, got }
    }
}

/// The next row's value of a column that came later; null where there is none.
///
/// # Errors
/// As [`ColumnReader::read`].
pub fn read_later<C: Column>(
    column: &mut Option<ColumnReader<Option<C>>>,
) -> Result<Option<C>, RecordProblem> {
    column.as_mut().map_or(Ok(None), ColumnReader::read)
}

/// Whether the next row's derived column says what follows from the others.
///
/// # Errors
/// It says something else, which the row's other columns belie.
pub fn check_derived(column: &mut ColumnReader<String>, expected: &'static str) -> Result<(), RecordProblem> {
    let got = column.read()?;
    if got == expected {
        return Ok(());
    }
    Err(column.wrong(format!("{expected:?}, which follows from the row's other columns"), got))
}
