//! The common schema of rows of JSON.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use crate::rows::{FieldProblem, Row, describe, is_bytes, number_text};

/// What values have in common.
#[derive(Debug)]
pub(super) enum Shape {
    /// Nothing but nulls so far.
    Unknown,
    Scalar(Scalar),
    List(Box<Shape>),
    Object(Fields),
}

/// A type that takes every scalar so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Boolean,
    /// At least 0, and within 63 bits.
    Natural,
    /// Within 63 bits and a sign.
    Integer,
    /// At least 0, and within 64 bits.
    Unsigned,
    Float,
    Text,
    Bytes,
}

/// Fields of objects, in the order in which they first appear.
#[derive(Debug, Default)]
pub(super) struct Fields {
    list: Vec<(String, Shape)>,
    places: HashMap<String, usize>,
}

impl Fields {
    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, Shape)> {
        self.list.iter()
    }

    fn shape_of(&mut self, name: &str) -> &mut Shape {
        let known = self.places.get(name).copied();
        let place = known.unwrap_or_else(|| self.add(name));
        &mut self.list[place].1
    }

    fn add(&mut self, name: &str) -> usize {
        let place = self.list.len();
        self.list.push((name.to_owned(), Shape::Unknown));
        self.places.insert(name.to_owned(), place);
        place
    }
}

/// A value that does not fit in with those before it.
struct Conflict {
    /// Names of the fields around it, from the inside out.
    path: Vec<String>,
    expected: &'static str,
    got: String,
}

impl Conflict {
    /// The conflict as one of the object that has the field `name`.
    fn within(mut self, name: &str) -> Conflict {
        self.path.push(name.to_owned());
        self
    }
}

impl From<Conflict> for FieldProblem {
    fn from(Conflict { mut path, expected, got }: Conflict) -> FieldProblem {
        path.reverse();
        FieldProblem::new(path.join("."), format!("{expected}, as in rows before"), got)
    }
}

impl Shape {
    /// The shape of rows.
    ///
    /// # Errors
    /// Values that cannot be in one column, named by their field.
    pub(super) fn of(rows: &[Value]) -> Result<Shape, FieldProblem> {
        let mut shape = Shape::Object(Fields::default());
        rows.iter().try_for_each(|row| shape.add(row))?;
        Ok(shape)
    }

    fn add(&mut self, value: &Value) -> Result<(), Conflict> {
        if matches!(self, Shape::Unknown) {
            *self = Shape::first(value);
        }
        match (&mut *self, value) {
            // Every column may be null.
            (_, Value::Null) => Ok(()),
            (Shape::List(item), Value::Array(items)) => items.iter().try_for_each(|value| item.add(value)),
            // Numbers and bytes that JSON has no type for are no objects.
            (Shape::Object(fields), Value::Object(row)) if Scalar::of(value).is_none() => {
                add_row(fields, row)
            }
            (Shape::Scalar(scalar), value) => match Scalar::of(value) {
                Some(other) => {
                    *scalar = scalar.with(other);
                    Ok(())
                }
                None => Err(self.conflict(value)),
            },
            _ => Err(self.conflict(value)),
        }
    }

    /// A shape that a first value fits, though what is in it is still to be added.
    fn first(value: &Value) -> Shape {
        match (Scalar::of(value), value) {
            (Some(scalar), _) => Shape::Scalar(scalar),
            (None, Value::Array(_)) => Shape::List(Box::new(Shape::Unknown)),
            (None, Value::Object(_)) => Shape::Object(Fields::default()),
            (None, _) => Shape::Unknown,
        }
    }

    fn conflict(&self, value: &Value) -> Conflict {
        Conflict { path: Vec::new(), expected: self.noun(), got: describe(value) }
    }

    /// A value of this shape, in words.
    fn noun(&self) -> &'static str {
        match self {
            Shape::Unknown => "null",
            Shape::Scalar(_) => "a scalar",
            Shape::List(_) => "a list",
            Shape::Object(_) => "an object",
        }
    }

    /// The schema of rows of this shape.
    ///
    /// # Errors
    /// An object without fields, which no Parquet column can hold.
    pub(super) fn schema(&self) -> Result<Type> {
        let types = match self {
            Shape::Object(fields) => types_of(fields)?,
            _ => vec![],
        };
        Ok(Type::group_type_builder("schema").with_fields(types).build()?)
    }

    /// The type of a column; every value may be null.
    fn parquet_type(&self, name: &str) -> Result<TypePtr> {
        Ok(match self {
            Shape::Scalar(scalar) => scalar.parquet_type(name)?,
            // Many readers of Parquet do not support columns without a type.
            Shape::Unknown => Scalar::Text.parquet_type(name)?,
            Shape::List(item) => {
                let item = item.parquet_type("element")?;
                let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
                let list = Arc::new(list.with_fields(vec![item]).build()?);
                optional_group(name, vec![list], Some(LogicalType::List))?
            }
            Shape::Object(fields) => {
                let types = types_of(fields)?;
                if types.is_empty() {
                    return Err(FieldProblem::new(name, "objects with fields", "only empty ones").into());
                }
                optional_group(name, types, None)?
            }
        })
    }
}

fn add_row(fields: &mut Fields, row: &Row) -> Result<(), Conflict> {
    for (name, value) in row {
        fields.shape_of(name).add(value).map_err(|conflict| conflict.within(name))?;
    }
    Ok(())
}

fn types_of(fields: &Fields) -> Result<Vec<TypePtr>> {
    fields.iter().map(|(name, shape)| shape.parquet_type(name)).collect()
}

fn optional_group(
    name: &str,
    fields: Vec<TypePtr>,
    logical: Option<LogicalType>,
) -> Result<TypePtr, ParquetError> {
    let group = Type::group_type_builder(name).with_repetition(Repetition::OPTIONAL);
    group.with_logical_type(logical).with_fields(fields).build().map(Arc::new)
}

impl Scalar {
    fn of(value: &Value) -> Option<Scalar> {
        match value {
            Value::Bool(_) => Some(Scalar::Boolean),
            Value::Number(number) if number.is_i64() && number.is_u64() => Some(Scalar::Natural),
            Value::Number(number) if number.is_i64() => Some(Scalar::Integer),
            Value::Number(number) if number.is_u64() => Some(Scalar::Unsigned),
            Value::Number(_) => Some(Scalar::Float),
            Value::String(_) => Some(Scalar::Text),
            // In full, since no other type of a column takes numbers of any size.
            value if number_text(value).is_some() => Some(Scalar::Text),
            value if is_bytes(value) => Some(Scalar::Bytes),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A type for both.
    fn with(self, other: Scalar) -> Scalar {
        match (self, other) {
            _ if self == other => self,
            (Scalar::Natural, wider @ (Scalar::Integer | Scalar::Unsigned | Scalar::Float))
            | (wider @ (Scalar::Integer | Scalar::Unsigned | Scalar::Float), Scalar::Natural)
            | (Scalar::Integer, wider @ Scalar::Float)
            | (wider @ Scalar::Float, Scalar::Integer) => wider,
            // Every scalar has a text.
            _ => Scalar::Text,
        }
    }

    fn parquet_type(self, name: &str) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self {
            Scalar::Boolean => (Physical::BOOLEAN, None),
            Scalar::Natural | Scalar::Integer => (Physical::INT64, None),
            Scalar::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Scalar::Float => (Physical::DOUBLE, None),
            Scalar::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Scalar::Bytes => (Physical::BYTE_ARRAY, None),
        };
        let scalar = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        scalar.with_logical_type(logical).build().map(Arc::new)
    }
}
