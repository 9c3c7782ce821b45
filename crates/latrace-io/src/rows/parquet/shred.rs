//! Rows of JSON taken apart into columns, one leaf at a time.
//!
//! Follows Melnik et al., Dremel (2010), "Splitting Records into Columns". Differs in: each leaf goes through
//! the rows by itself, so that memory holds a batch of one column beside the rows.

use anyhow::Result;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use serde_json::Value;

use super::shape::{Scalar, Shape};
use crate::rows::{bytes_of, json_text};

/// Rows encoded at once.
const BATCH: usize = 64;

/// The way from a value to those within it.
#[derive(Clone, Debug)]
enum Step {
    /// To an object's field.
    Field(String),
    /// To a list's items.
    Items,
}

/// A leaf column of rows.
#[derive(Debug)]
pub(super) struct Leaf {
    /// From a row to the leaf.
    steps: Vec<Step>,
    values: Values,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Integer(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<ByteArray>),
    Bytes(Vec<ByteArray>),
}

/// The leaf columns of rows of that shape, in the schema's order.
pub(super) fn leaves(shape: &Shape) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    add_leaves(shape, &mut Vec::new(), &mut leaves);
    leaves
}

fn add_leaves(shape: &Shape, steps: &mut Vec<Step>, leaves: &mut Vec<Leaf>) {
    let mut within = |step, shape: &Shape| {
        steps.push(step);
        add_leaves(shape, steps, leaves);
        steps.pop();
    };
    match shape {
        Shape::List(item) => within(Step::Items, item),
        Shape::Object(fields) => {
            fields.iter().for_each(|(name, shape)| within(Step::Field(name.clone()), shape));
        }
        Shape::Scalar(scalar) => leaves.push(Leaf::new(steps.clone(), *scalar)),
        Shape::Unknown => leaves.push(Leaf::new(steps.clone(), Scalar::Text)),
    }
}

impl Leaf {
    fn new(steps: Vec<Step>, scalar: Scalar) -> Leaf {
        let values = match scalar {
            Scalar::Boolean => Values::Boolean(Vec::new()),
            Scalar::Natural | Scalar::Integer | Scalar::Unsigned => Values::Integer(Vec::new()),
            Scalar::Float => Values::Float(Vec::new()),
            Scalar::Text => Values::Text(Vec::new()),
            Scalar::Bytes => Values::Bytes(Vec::new()),
        };
        Leaf { steps, values, definitions: Vec::new(), repetitions: Vec::new() }
    }

    /// Writes the leaf's values in `rows` as a whole column.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn write(&mut self, mut column: SerializedColumnWriter<'_>, rows: &[Value]) -> Result<()> {
        // Taken out while `take_apart` borrows the leaf mutably.
        let steps = std::mem::take(&mut self.steps);
        for rows in rows.chunks(BATCH) {
            for row in rows {
                // A row is always there, unlike the values within it.
                self.take_apart(&steps, row, Place { definition: -1, repetition: 0, depth: 0 });
            }
            self.flush(&mut column)?;
        }
        self.steps = steps;
        Ok(column.close()?)
    }

    /// Adds the entries of what is within a value.
    fn take_apart(&mut self, steps: &[Step], value: &Value, place: Place) {
        match (steps, value) {
            (_, Value::Null) => self.add_null(place),
            ([], value) => {
                self.values.push(value);
                self.add_null(place.within());
            }
            // In a file all rows have the same fields, so one that a row lacks becomes null.
            ([Step::Field(name), rest @ ..], value) => {
                self.take_apart(rest, value.get(name).unwrap_or(&Value::Null), place.within());
            }
            ([Step::Items, rest @ ..], value) => {
                let place = place.within();
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                if items.is_empty() {
                    self.add_null(place);
                }
                for (at, item) in items.iter().enumerate() {
                    self.take_apart(rest, item, place.item(at));
                }
            }
        }
    }

    /// Adds an entry whose value, if it is one, is added by itself.
    fn add_null(&mut self, place: Place) {
        self.definitions.push(place.definition);
        self.repetitions.push(place.repetition);
    }

    fn flush(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = (Some(&self.definitions[..]), Some(&self.repetitions[..]));
        match &mut self.values {
            Values::Boolean(values) => {
                column.typed::<BoolType>().write_batch(values, levels.0, levels.1)?;
                values.clear();
            }
            Values::Integer(values) => {
                column.typed::<Int64Type>().write_batch(values, levels.0, levels.1)?;
                values.clear();
            }
            Values::Float(values) => {
                column.typed::<DoubleType>().write_batch(values, levels.0, levels.1)?;
                values.clear();
            }
            Values::Text(values) | Values::Bytes(values) => {
                column.typed::<ByteArrayType>().write_batch(values, levels.0, levels.1)?;
                values.clear();
            }
        }
        self.definitions.clear();
        self.repetitions.clear();
        Ok(())
    }
}

impl Values {
    /// Adds a scalar; the rows' shape says that it has the leaf's type or can be converted to it.
    fn push(&mut self, value: &Value) {
        match self {
            Values::Boolean(values) => values.extend(value.as_bool()),
            // The format stores unsigned integers as signed ones of the same bits.
            Values::Integer(values) => {
                values.extend(value.as_i64().or(value.as_u64().map(|value| value as i64)))
            }
            Values::Float(values) => values.extend(value.as_f64()),
            Values::Text(values) => values.push(match value {
                Value::String(text) => text.as_str().into(),
                other => plain(other).as_str().into(),
            }),
            Values::Bytes(values) => values.push(bytes_of(value).unwrap_or_default().into()),
        }
    }
}

/// A scalar that is no text, as one.
fn plain(scalar: &Value) -> String {
    json_text(scalar).map_or_else(|_| scalar.to_string(), |text| text.trim_matches('"').to_owned())
}

/// Levels of a value that is still to be found null or not.
#[derive(Clone, Copy)]
struct Place {
    /// The definition level if it is null.
    definition: i16,
    repetition: i16,
    /// The number of lists around it.
    depth: i16,
}

impl Place {
    /// That of what is within a value which is there.
    fn within(self) -> Place {
        Place { definition: self.definition + 1, ..self }
    }

    /// That of an item of a list.
    fn item(self, at: usize) -> Place {
        let depth = self.depth + 1;
        // The first item continues what its list does; the others are what the list repeats.
        let repetition = if at == 0 { self.repetition } else { depth };
        Place { definition: self.definition + 1, repetition, depth }
    }
}
