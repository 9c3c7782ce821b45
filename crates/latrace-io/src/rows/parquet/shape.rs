//! The common schema of rows of JSON.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use crate::rows::{FieldProblem, Row, describe};

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
    Integer,
    Float,
    Text,
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
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.list.push((name.to_owned(), Shape::Unknown));
                self.places.insert(name.to_owned(), self.list.len() - 1);
                self.list.len() - 1
            }
        };
        &mut self.list[place].1
    }
}

/// A value that does not fit in with those before it.
struct Conflict {
    /// Names of the fields around it, from the inside out.
    path: Vec<String>,
    expected: &'static str,
    got: String,
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
        rows.iter().try_for_each(|row| shape.add(row)).map_err(FieldProblem::from)?;
        Ok(shape)
    }

    fn add(&mut self, value: &Value) -> Result<(), Conflict> {
        if matches!(self, Shape::Unknown) {
            *self = Shape::first(value);
        }
        match (&mut *self, value) {
            (_, Value::Null) => Ok(()),
            (Shape::List(item), Value::Array(items)) => items.iter().try_for_each(|value| item.add(value)),
            (Shape::Object(fields), Value::Object(row)) => add_row(fields, row),
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
        match value {
            Value::Array(_) => Shape::List(Box::new(Shape::Unknown)),
            Value::Object(_) => Shape::Object(Fields::default()),
            scalar => Scalar::of(scalar).map_or(Shape::Unknown, Shape::Scalar),
        }
    }

    fn conflict(&self, value: &Value) -> Conflict {
        let expected = match self {
            Shape::Unknown => "null",
            Shape::Scalar(_) => "a scalar",
            Shape::List(_) => "a list",
            Shape::Object(_) => "an object",
        };
        Conflict { path: Vec::new(), expected, got: describe(value) }
    }

    /// The schema of rows of this shape.
    ///
    /// # Errors
    /// An object without fields, which no Parquet column can hold.
    pub(super) fn schema(&self) -> Result<Type> {
        let Shape::Object(fields) = self else { return Ok(Type::group_type_builder("schema").build()?) };
        Ok(Type::group_type_builder("schema").with_fields(types_of(fields)?).build()?)
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
        fields.shape_of(name).add(value).map_err(|mut conflict| {
            conflict.path.push(name.clone());
            conflict
        })?;
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
            Value::Number(number) if number.is_i64() => Some(Scalar::Integer),
            Value::Number(_) => Some(Scalar::Float),
            Value::String(_) => Some(Scalar::Text),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A type for both.
    fn with(self, other: Scalar) -> Scalar {
        match (self, other) {
            _ if self == other => self,
            (Scalar::Integer, Scalar::Float) | (Scalar::Float, Scalar::Integer) => Scalar::Float,
            _ => Scalar::Text,
        }
    }

    fn parquet_type(self, name: &str) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self {
            Scalar::Boolean => (Physical::BOOLEAN, None),
            Scalar::Integer => (Physical::INT64, None),
            Scalar::Float => (Physical::DOUBLE, None),
            Scalar::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let scalar = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        scalar.with_logical_type(logical).build().map(Arc::new)
    }
}
