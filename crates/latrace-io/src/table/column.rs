//! Fields of records as columns: their Parquet types, and how values go in and out.
//!
//! A list goes in and comes out as one slice: tokens are never handled one by one.

use std::sync::Arc;

use latrace_core::{Reason, Split};
use parquet::basic::{IntType, LogicalType, Repetition};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type, TypePtr};
use thiserror::Error;

use super::stored::{ListItem, ScalarReader, Stored, write_lists, write_scalars};
use crate::columnar::{Field, ListReader, ListRow, RowGroup};

/// An unknown name of an enum value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}, got {got:?}")]
pub struct UnknownName {
    /// The valid names.
    pub expected: String,
    /// What the column holds.
    pub got: String,
}

/// Why a value could not be read from a column.
#[derive(Debug, Error)]
pub enum ColumnProblem {
    /// The file is damaged.
    #[error(transparent)]
    File(#[from] ParquetError),
    /// The value is not one of the field's type.
    #[error(transparent)]
    Name(#[from] UnknownName),
}

/// A field's type, as a column of a table.
pub trait Column: Sized {
    /// Reads the column's values one after another.
    type Reader;

    /// Whether a value may be missing.
    const NULLABLE: bool = false;

    /// The column's Parquet type.
    fn parquet_type(name: &str, repetition: Repetition) -> TypePtr;

    /// Writes the column's values, `None` for those that are missing.
    ///
    /// # Errors
    /// I/O errors.
    fn write<'a>(
        column: SerializedColumnWriter<'_>,
        values: impl Iterator<Item = Option<&'a Self>>,
    ) -> Result<(), ParquetError>
    where
        Self: 'a;

    /// Opens the column, whose type must be [`Column::parquet_type`].
    ///
    /// # Errors
    /// A damaged file.
    fn open(group: &RowGroup<'_>, field: &Field) -> Result<Self::Reader, ParquetError>;

    /// The next value; `None` if it is missing.
    ///
    /// # Errors
    /// A damaged file, or a text that names no value of the type.
    fn read(reader: &mut Self::Reader) -> Result<Option<Self>, ColumnProblem>;
}

impl<C: Column> Column for Option<C> {
    type Reader = C::Reader;

    const NULLABLE: bool = true;

    fn parquet_type(name: &str, repetition: Repetition) -> TypePtr {
        C::parquet_type(name, repetition)
    }

    fn write<'a>(
        column: SerializedColumnWriter<'_>,
        values: impl Iterator<Item = Option<&'a Self>>,
    ) -> Result<(), ParquetError>
    where
        Self: 'a,
    {
        C::write(column, values.map(|value| value.and_then(Option::as_ref)))
    }

    fn open(group: &RowGroup<'_>, field: &Field) -> Result<C::Reader, ParquetError> {
        C::open(group, field)
    }

    fn read(reader: &mut C::Reader) -> Result<Option<Self>, ColumnProblem> {
        // Null is one of this column's values, and so never missing.
        C::read(reader).map(Some)
    }
}

/// A value that is alone in its row.
pub trait ScalarColumn: Stored + Sized {
    /// The value as it is stored.
    fn to_stored(&self) -> <Self::Physical as DataType>::T;

    /// The value that is stored.
    ///
    /// # Errors
    /// A text that is not UTF-8, or names no value of the type.
    fn from_stored(stored: <Self::Physical as DataType>::T) -> Result<Self, ColumnProblem>;
}

impl<S: ScalarColumn> Column for S {
    type Reader = ScalarReader<S::Physical>;

    fn parquet_type(name: &str, repetition: Repetition) -> TypePtr {
        S::stored_type(name, repetition)
    }

    fn write<'a>(
        column: SerializedColumnWriter<'_>,
        values: impl Iterator<Item = Option<&'a Self>>,
    ) -> Result<(), ParquetError>
    where
        Self: 'a,
    {
        write_scalars::<S::Physical>(column, values.map(|value| value.map(S::to_stored)))
    }

    fn open(group: &RowGroup<'_>, field: &Field) -> Result<Self::Reader, ParquetError> {
        ScalarReader::open(group, field)
    }

    fn read(reader: &mut Self::Reader) -> Result<Option<Self>, ColumnProblem> {
        reader.read()?.map(S::from_stored).transpose()
    }
}

impl<I: ListItem> Column for Vec<I> {
    type Reader = ListReader<I::Physical>;

    /// Three levels, named as the Parquet format says.
    fn parquet_type(name: &str, repetition: Repetition) -> TypePtr {
        let items = vec![I::stored_type("element", Repetition::REQUIRED)];
        let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(items);
        let list = list.build().map(Arc::new);
        let column = list.and_then(|list| {
            let column = Type::group_type_builder(name).with_repetition(repetition);
            column.with_logical_type(Some(LogicalType::List)).with_fields(vec![list]).build()
        });
        Arc::new(column.expect("a list of one repeated field is valid"))
    }

    fn write<'a>(
        column: SerializedColumnWriter<'_>,
        values: impl Iterator<Item = Option<&'a Self>>,
    ) -> Result<(), ParquetError>
    where
        Self: 'a,
    {
        write_lists::<I>(column, values.map(|value| value.map(Vec::as_slice)))
    }

    fn open(group: &RowGroup<'_>, field: &Field) -> Result<Self::Reader, ParquetError> {
        ListReader::open(group, field)
    }

    fn read(reader: &mut Self::Reader) -> Result<Option<Self>, ColumnProblem> {
        let mut items = Vec::new();
        // No item is null: the column's type, which has been checked, makes items required.
        let row = reader.read(&mut items)?;
        Ok((row != ListRow::Null).then(|| I::from_stored(items)))
    }
}

/// Values that are stored as they are.
macro_rules! numbers {
    ($($number:ty: $physical:ty),+) => {$(
        impl Stored for $number {
            type Physical = $physical;
        }

        impl ScalarColumn for $number {
            fn to_stored(&self) -> $number {
                *self
            }

            fn from_stored(stored: $number) -> Result<$number, ColumnProblem> {
                Ok(stored)
            }
        }
    )+};
}

numbers!(bool: BoolType, i64: Int64Type, f64: DoubleType, f32: FloatType);

macro_rules! items {
    ($($number:ty),+) => {$(
        impl ListItem for $number {
            fn to_stored<'a>(items: &'a [$number], _: &'a mut Vec<$number>) -> &'a [$number] {
                items
            }

            fn from_stored(stored: Vec<$number>) -> Vec<$number> {
                stored
            }
        }
    )+};
}

items!(f32, f64);

impl Stored for u64 {
    type Physical = Int64Type;
    const LOGICAL: Option<LogicalType> =
        Some(LogicalType::Integer(IntType { bit_width: 64, is_signed: false }));
}

impl ScalarColumn for u64 {
    fn to_stored(&self) -> i64 {
        // By its bits: the annotation says that they are of an unsigned number.
        self.cast_signed()
    }

    fn from_stored(stored: i64) -> Result<u64, ColumnProblem> {
        Ok(stored.cast_unsigned())
    }
}

impl Stored for u32 {
    type Physical = Int32Type;
    const LOGICAL: Option<LogicalType> =
        Some(LogicalType::Integer(IntType { bit_width: 32, is_signed: false }));
}

impl ListItem for u32 {
    fn to_stored<'a>(items: &'a [u32], buffer: &'a mut Vec<i32>) -> &'a [i32] {
        buffer.clear();
        buffer.extend(items.iter().map(|item| item.cast_signed()));
        buffer
    }

    fn from_stored(stored: Vec<i32>) -> Vec<u32> {
        stored.into_iter().map(i32::cast_unsigned).collect()
    }
}

impl Stored for String {
    type Physical = ByteArrayType;
    const LOGICAL: Option<LogicalType> = Some(LogicalType::String);
}

impl ScalarColumn for String {
    fn to_stored(&self) -> ByteArray {
        self.as_str().into()
    }

    fn from_stored(stored: ByteArray) -> Result<String, ColumnProblem> {
        Ok(stored.as_utf8()?.to_owned())
    }
}

/// Enums that files hold by name.
macro_rules! named {
    ($($kind:ty: $name:path, $from_name:path, $all:path;)+) => {$(
        impl Stored for $kind {
            type Physical = ByteArrayType;
            const LOGICAL: Option<LogicalType> = Some(LogicalType::String);
        }

        impl ScalarColumn for $kind {
            fn to_stored(&self) -> ByteArray {
                $name(*self).into()
            }

            fn from_stored(stored: ByteArray) -> Result<$kind, ColumnProblem> {
                let got = stored.as_utf8()?;
                Ok($from_name(got).ok_or_else(|| unknown_name($all.map($name), got))?)
            }
        }
    )+};
}

named! {
    Split: Split::name, Split::from_name, Split::ALL;
    Reason: Reason::code, Reason::from_code, Reason::ALL;
}

fn unknown_name<const N: usize>(known: [&str; N], got: &str) -> UnknownName {
    let known = known.map(|name| format!("{name:?}")).join(", ");
    UnknownName { expected: format!("one of {known}"), got: got.to_owned() }
}
