//! Fields of records as columns: their Arrow types, and how values go in and out.
//!
//! A list goes in and comes out as one slice of the column's buffer of values: tokens are never handled one
//! by one.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, PrimitiveBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, ListArray, PrimitiveArray, StringArray};
use arrow_schema::{DataType, Field};
use latrace_core::{Reason, Split};
use thiserror::Error;

/// What Parquet's specification calls the items of a list.
const ITEM: &str = "element";

/// An unknown name of an enum value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}, got {got:?}")]
pub struct UnknownName {
    /// The names there are.
    pub expected: String,
    /// What is there.
    pub got: String,
}

/// A field's type, as a column of a table.
pub trait Column: Sized {
    /// The array that holds a column of it.
    type Array: Array + 'static;

    /// Whether a value may be missing.
    const NULLABLE: bool = false;

    /// The column's Arrow type.
    fn data_type() -> DataType;

    /// A column of values, `None` for those that are missing.
    fn to_array<'a>(values: impl Iterator<Item = Option<&'a Self>>) -> ArrayRef
    where
        Self: 'a;

    /// The value of a row, which must not be missing unless the type says that it may be.
    ///
    /// # Errors
    /// A text that names no value of the type.
    fn value(array: &Self::Array, row: usize) -> Result<Self, UnknownName>;
}

impl<T: Column> Column for Option<T> {
    type Array = T::Array;

    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn to_array<'a>(values: impl Iterator<Item = Option<&'a Self>>) -> ArrayRef
    where
        Self: 'a,
    {
        T::to_array(values.map(|value| value.and_then(Option::as_ref)))
    }

    fn value(array: &Self::Array, row: usize) -> Result<Self, UnknownName> {
        if array.is_null(row) { Ok(None) } else { T::value(array, row).map(Some) }
    }
}

impl Column for String {
    type Array = StringArray;

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn to_array<'a>(values: impl Iterator<Item = Option<&'a Self>>) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }

    fn value(array: &StringArray, row: usize) -> Result<String, UnknownName> {
        Ok(array.value(row).to_owned())
    }
}

impl Column for bool {
    type Array = BooleanArray;

    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn to_array<'a>(values: impl Iterator<Item = Option<&'a Self>>) -> ArrayRef {
        Arc::new(values.map(|value| value.copied()).collect::<BooleanArray>())
    }

    fn value(array: &BooleanArray, row: usize) -> Result<bool, UnknownName> {
        Ok(array.value(row))
    }
}

/// Numbers, and lists of them.
macro_rules! numbers {
    ($($number:ty: $arrow:ty),+) => {$(
        impl Column for $number {
            type Array = PrimitiveArray<$arrow>;

            fn data_type() -> DataType {
                <$arrow>::DATA_TYPE
            }

            fn to_array<'a>(values: impl Iterator<Item = Option<&'a Self>>) -> ArrayRef {
                Arc::new(values.map(|value| value.copied()).collect::<PrimitiveArray<$arrow>>())
            }

            fn value(array: &Self::Array, row: usize) -> Result<Self, UnknownName> {
                Ok(array.value(row))
            }
        }
    )+};
}

macro_rules! lists {
    ($($number:ty: $arrow:ty),+) => {$(
        impl Column for Vec<$number> {
            type Array = ListArray;

            fn data_type() -> DataType {
                DataType::List(Arc::new(item::<$arrow>()))
            }

            fn to_array<'a>(values: impl Iterator<Item = Option<&'a Self>>) -> ArrayRef {
                list_array::<$arrow>(values.map(|list| list.map(Vec::as_slice)))
            }

            fn value(array: &ListArray, row: usize) -> Result<Self, UnknownName> {
                Ok(slice::<$arrow>(array, row).to_vec())
            }
        }
    )+};
}

numbers!(u64: UInt64Type, i64: Int64Type, f64: Float64Type, f32: Float32Type);
lists!(u32: UInt32Type, f32: Float32Type, f64: Float64Type);

fn item<T: ArrowPrimitiveType>() -> Field {
    Field::new(ITEM, T::DATA_TYPE, false)
}

fn list_array<'a, T: ArrowPrimitiveType>(lists: impl Iterator<Item = Option<&'a [T::Native]>>) -> ArrayRef {
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(item::<T>());
    for list in lists {
        builder.values().append_slice(list.unwrap_or_default());
        builder.append(list.is_some());
    }
    Arc::new(builder.finish())
}

/// A row's list, as it lies in the buffer of values.
///
/// # Shapes
/// The row's number of items; none for a list that is missing.
fn slice<T: ArrowPrimitiveType>(lists: &ListArray, row: usize) -> &[T::Native] {
    let offsets = lists.value_offsets();
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    &lists.values().as_primitive::<T>().values()[start..end]
}

/// Enums that files hold by name.
macro_rules! named {
    ($($kind:ty: $name:path, $from_name:path, $all:path;)+) => {$(
        impl Column for $kind {
            type Array = StringArray;

            fn data_type() -> DataType {
                DataType::Utf8
            }

            fn to_array<'a>(values: impl Iterator<Item = Option<&'a Self>>) -> ArrayRef {
                Arc::new(values.map(|value| value.map(|&value| $name(value))).collect::<StringArray>())
            }

            fn value(array: &StringArray, row: usize) -> Result<Self, UnknownName> {
                let got = array.value(row);
                $from_name(got).ok_or_else(|| UnknownName {
                    expected: one_of($all.into_iter().map($name)),
                    got: got.to_owned(),
                })
            }
        }
    )+};
}

named! {
    Split: Split::name, Split::from_name, Split::ALL;
    Reason: Reason::code, Reason::from_code, Reason::ALL;
}

fn one_of(names: impl Iterator<Item = &'static str>) -> String {
    format!("one of {}", names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values are the same after they were a column, whose type is as declared.
    #[track_caller]
    fn check<C: Column + PartialEq + std::fmt::Debug>(values: &[C]) {
        let array = C::to_array(values.iter().map(Some));
        assert_eq!(array.data_type(), &C::data_type());
        let array = array.as_any().downcast_ref::<C::Array>().unwrap();
        let read: Vec<C> = (0..values.len()).map(|row| C::value(array, row).unwrap()).collect();
        assert_eq!(read, values);
        assert_eq!(array.null_count() > 0, C::NULLABLE);
    }

    #[test]
    fn values_come_back_from_their_columns() {
        check(&["a".to_owned(), String::new(), "ö\n".to_owned()]);
        check(&[true, false]);
        check(&[0, u64::MAX]);
        check(&[i64::MIN, -1, i64::MAX]);
        check(&[0.1_f64, f64::NEG_INFINITY, f64::MIN_POSITIVE]);
        check(&[0.1_f32, -1e-30]);
        check(&[vec![1_u32, u32::MAX], vec![], vec![3]]);
        check(&[vec![], vec![0.1_f32, -2.5]]);
        check(&[vec![0.1_f64], vec![], vec![-0.0, 7.0]]);
        check(&Split::ALL);
        check(&Reason::ALL);
    }

    #[test]
    fn what_may_be_missing_comes_back_missing() {
        check(&[Some("a".to_owned()), None]);
        check(&[None, Some(0.5_f64)]);
        check(&[Some(vec![1_u32]), None, Some(vec![]), Some(vec![2, 3])]);
        check(&[None, Some(Split::Test)]);
        assert_eq!(Option::<u64>::data_type(), DataType::UInt64);
    }

    #[test]
    fn an_unknown_name_says_what_is_expected() {
        let names = StringArray::from(vec!["train", "practice"]);
        assert_eq!(Split::value(&names, 0), Ok(Split::Train));
        assert_eq!(
            Split::value(&names, 1).unwrap_err().to_string(),
            "expected one of \"train\", \"validation\", \"test\", got \"practice\""
        );
    }

    #[test]
    fn a_list_is_read_from_a_part_of_a_column_too() {
        let whole = Vec::<u32>::to_array([vec![1, 2], vec![3], vec![4, 5]].iter().map(Some));
        let rest = whole.slice(1, 2);
        assert_eq!(Vec::<u32>::value(rest.as_list::<i32>(), 1).unwrap(), [4, 5]);
    }
}
