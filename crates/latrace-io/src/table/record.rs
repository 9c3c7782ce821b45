//! Records: structs of which every field is a column, with one schema for all tables that hold them.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use thiserror::Error;

use super::column::Column;

/// What the rows of a table are read as: its whole records, or some of their columns. A stage that needs only
/// token ids does not read log-probs, which take as many bytes.
pub trait View: Sized {
    /// The records' name, kept in each part.
    const NAME: &'static str;

    /// Whether these are all of the records' columns.
    const WHOLE: bool;

    /// The columns, in the records' order.
    fn fields() -> Vec<Field>;

    /// The rows of columns whose types are those of [`View::fields`].
    ///
    /// # Errors
    /// A missing column or one of another type; a value that the field cannot have.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, RecordProblem>;
}

/// What a table holds; [`record!`](crate::record) makes a struct one.
pub trait Record: View {
    /// Records as columns, in the order of [`View::fields`], each with a value for every record.
    fn to_arrays(records: &[Self]) -> Vec<ArrayRef>;

    /// The schema of every table of these records, with or without any.
    fn schema() -> SchemaRef {
        Arc::new(Schema::new(Self::fields()))
    }

    /// Records as columns.
    ///
    /// # Errors
    /// None but mistakes in this trait's other functions.
    fn to_batch(records: &[Self]) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Self::schema(), Self::to_arrays(records))
    }
}

/// Why columns are not valid records.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
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
}

impl RecordProblem {
    /// The same of rows that come after `rows` others.
    #[must_use]
    pub fn after(mut self, rows: u64) -> RecordProblem {
        if let RecordProblem::Value { row, .. } = &mut self {
            *row += rows;
        }
        self
    }
}

/// Checks that a table has the columns of `V`: the same names in the same order, with the same types. Only a
/// view allows others beside them.
///
/// # Errors
/// The first column that differs.
pub fn check_schema<V: View>(schema: &Schema) -> Result<(), RecordProblem> {
    let fields = V::fields();
    let is_read = |name: &str| V::WHOLE || fields.iter().any(|field| field.name() == name);
    let there: Vec<&Field> =
        schema.fields().iter().map(AsRef::as_ref).filter(|field| is_read(field.name())).collect();
    for at in 0..fields.len().max(there.len()) {
        let (expected, got) = (fields.get(at), there.get(at).copied());
        let is_same = expected.zip(got).is_some_and(|(expected, got)| {
            expected.name() == got.name() && describe(expected) == describe(got)
        });
        if !is_same {
            return Err(RecordProblem::Column {
                column: expected.or(got).map_or_else(String::new, |field| field.name().clone()),
                expected: expected.map_or_else(|| "no such column".to_owned(), describe),
                got: got_instead(expected, got),
            });
        }
    }
    Ok(())
}

/// What stands in an expected column's place.
fn got_instead(expected: Option<&Field>, got: Option<&Field>) -> String {
    match (expected, got) {
        (_, None) => "nothing".to_owned(),
        (Some(expected), Some(got)) if expected.name() != got.name() => {
            format!("column \"{}\" of {}", got.name(), describe(got))
        }
        (_, Some(got)) => describe(got),
    }
}

/// A column's type in words. What readers call the items of a list is of no account.
fn describe(field: &Field) -> String {
    let kind = match field.data_type() {
        DataType::List(item) => format!("lists of {}", describe(item)),
        other => other.to_string(),
    };
    if field.is_nullable() { format!("{kind} or null") } else { kind }
}

/// Makes a struct a [`Record`](crate::table::Record) of a name in files. All of its fields are listed, each a
/// [`Column`](crate::table::Column); one that is missing does not compile. Columns of text that follow from
/// the others, for readers of the file, may be added: they are checked when a record is read.
///
/// ```
/// struct Pair { id: String, ids: Vec<u32>, note: Option<String> }
/// latrace_io::record!(Pair, "pair", { id, ids, note }, derived {
///     length: |pair: &Pair| if pair.ids.is_empty() { "empty" } else { "some" }
/// });
/// ```
#[macro_export]
macro_rules! record {
    (
        $record:ident, $name:literal, { $($field:ident),+ $(,)? }
        $(, derived { $($column:ident: $text:expr),+ $(,)? })?
    ) => {
        impl $crate::table::View for $record {
            const NAME: &'static str = $name;
            const WHOLE: bool = true;

            fn fields() -> Vec<$crate::table::Field> {
                vec![
                    $($crate::table::field(stringify!($field), |record: &$record| &record.$field),)+
                    $($($crate::table::derived_field(stringify!($column)),)+)?
                ]
            }

            fn from_batch(
                batch: &$crate::table::RecordBatch,
            ) -> Result<Vec<$record>, $crate::table::RecordProblem> {
                $(let $field = $crate::table::ColumnReader::open(batch, stringify!($field))?;)+
                let read = |row: usize| {
                    let record = $record { $($field: $field.value(row)?),+ };
                    $($($crate::table::check_derived(batch, stringify!($column), row, $text(&record))?;)+)?
                    Ok(record)
                };
                (0..batch.num_rows()).map(read).collect()
            }
        }

        impl $crate::table::Record for $record {
            fn to_arrays(records: &[$record]) -> Vec<$crate::table::ArrayRef> {
                vec![
                    $($crate::table::array(records, |record: &$record| &record.$field),)+
                    $($($crate::table::derived_array(records, $text),)+)?
                ]
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

            fn fields() -> Vec<$crate::table::Field> {
                vec![$($crate::table::field(stringify!($field), |view: &$view| &view.$field)),+]
            }

            fn from_batch(
                batch: &$crate::table::RecordBatch,
            ) -> Result<Vec<$view>, $crate::table::RecordProblem> {
                $(let $field = $crate::table::ColumnReader::open(batch, stringify!($field))?;)+
                (0..batch.num_rows()).map(|row| Ok($view { $($field: $field.value(row)?),+ })).collect()
            }
        }
    };
}

/// The column of the field that `_get` gets: a function, so that its type need not be spelt.
pub fn field<R, C: Column>(name: &str, _get: fn(&R) -> &C) -> Field {
    Field::new(name, C::data_type(), C::NULLABLE)
}

/// The values of the field that `get` gets.
pub fn array<R, C: Column>(records: &[R], get: fn(&R) -> &C) -> ArrayRef {
    C::to_array(records.iter().map(|record| Some(get(record))))
}

/// A column that follows from others.
pub fn derived_field(name: &str) -> Field {
    field(name, |text: &String| text)
}

/// The values of a column that follows from others.
pub fn derived_array<R>(records: &[R], text: fn(&R) -> &'static str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(records.iter().map(text)))
}

/// Whether a row's derived column says what follows from the others.
///
/// # Errors
/// It says something else, which the row's other columns belie.
pub fn check_derived(
    batch: &RecordBatch,
    name: &'static str,
    row: usize,
    expected: &'static str,
) -> Result<(), RecordProblem> {
    let got: String = ColumnReader::open(batch, name)?.value(row)?;
    if got == expected {
        return Ok(());
    }
    Err(RecordProblem::Value {
        row: row as u64 + 1,
        column: name.to_owned(),
        expected: format!("{expected:?}, which follows from the row's other columns"),
        got,
    })
}

/// A column of a batch.
#[derive(Debug)]
pub struct ColumnReader<'a, C: Column> {
    name: &'static str,
    array: &'a C::Array,
}

impl<'a, C: Column> ColumnReader<'a, C> {
    /// The column of that name.
    ///
    /// # Errors
    /// There is none, or one of another type.
    pub fn open(batch: &'a RecordBatch, name: &'static str) -> Result<ColumnReader<'a, C>, RecordProblem> {
        let column = batch.column_by_name(name);
        let array = column.and_then(|column| column.as_any().downcast_ref::<C::Array>());
        let array = array.ok_or_else(|| RecordProblem::Column {
            column: name.to_owned(),
            expected: C::data_type().to_string(),
            got: column.map_or_else(|| "nothing".to_owned(), |column| column.data_type().to_string()),
        })?;
        Ok(ColumnReader { name, array })
    }

    /// A row's value.
    ///
    /// # Errors
    /// A text that names no value of the type.
    pub fn value(&self, row: usize) -> Result<C, RecordProblem> {
        C::value(self.array, row).map_err(|unknown| RecordProblem::Value {
            row: row as u64 + 1,
            column: self.name.to_owned(),
            expected: unknown.expected,
            got: unknown.got,
        })
    }
}
