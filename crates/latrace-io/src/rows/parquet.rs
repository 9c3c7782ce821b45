//! Parquet in and out as rows of JSON values.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_json::reader::{ReaderBuilder, infer_json_schema_from_iterator};
use arrow_json::writer::{LineDelimited, WriterBuilder};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};

use super::{Place, Row, shortest};

/// Rows decoded at once.
const BATCH: usize = 1024;

/// The rows of a Parquet file, in order.
pub(super) fn read(path: &Path, file: File) -> Result<impl Iterator<Item = Result<(Place, Row)>> + use<>> {
    // The stored Arrow schema may ask for dictionaries and views; the plain types hold the same values.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .and_then(|builder| builder.with_batch_size(BATCH).build())
        .with_context(|| format!("cannot read {}", path.display()))?;
    let rows = BatchRows { path: path.to_owned(), reader, rows: Vec::new().into_iter() };
    Ok(rows.zip(1..).map(|(row, number)| row.map(|row| (Place::Row(number), row))))
}

struct BatchRows {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    rows: std::vec::IntoIter<Row>,
}

impl Iterator for BatchRows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            let rows = self.reader.next()?.map_err(anyhow::Error::from).and_then(|batch| rows_of(&batch));
            match rows.with_context(|| format!("cannot read {}", self.path.display())) {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>> {
    let schema = batch.schema();
    zip_fields(schema.fields(), batch.columns(), batch.num_rows())
}

fn zip_fields(fields: &Fields, columns: &[ArrayRef], count: usize) -> Result<Vec<Row>> {
    let mut rows = vec![Map::new(); count];
    for (field, column) in fields.iter().zip(columns) {
        let values = values_of(column).with_context(|| format!("column \"{}\"", field.name()))?;
        for (row, value) in rows.iter_mut().zip(values) {
            row.insert(field.name().clone(), value);
        }
    }
    Ok(rows)
}

fn values_of(array: &ArrayRef) -> Result<Vec<Value>> {
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => array.as_boolean().iter().map(|value| json!(value)).collect(),
        DataType::Int8 => primitives::<Int8Type>(array, |value| json!(value)),
        DataType::Int16 => primitives::<Int16Type>(array, |value| json!(value)),
        DataType::Int32 => primitives::<Int32Type>(array, |value| json!(value)),
        DataType::Int64 => primitives::<Int64Type>(array, |value| json!(value)),
        DataType::UInt8 => primitives::<UInt8Type>(array, |value| json!(value)),
        DataType::UInt16 => primitives::<UInt16Type>(array, |value| json!(value)),
        DataType::UInt32 => primitives::<UInt32Type>(array, |value| json!(value)),
        DataType::UInt64 => primitives::<UInt64Type>(array, |value| json!(value)),
        DataType::Float32 => primitives::<Float32Type>(array, |value| {
            shortest(value).map_or_else(|| json!(value.to_string()), |value| json!(value))
        }),
        DataType::Float64 => primitives::<Float64Type>(array, |value| {
            if value.is_finite() { json!(value) } else { json!(value.to_string()) }
        }),
        DataType::Utf8 => array.as_string::<i32>().iter().map(|value| json!(value)).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(|value| json!(value)).collect(),
        DataType::List(_) => lists(array.as_list::<i32>().iter())?,
        DataType::LargeList(_) => lists(array.as_list::<i64>().iter())?,
        DataType::FixedSizeList(..) => lists(array.as_fixed_size_list().iter())?,
        DataType::Struct(fields) => {
            let rows = zip_fields(fields, array.as_struct().columns(), array.len())?;
            rows.into_iter()
                .enumerate()
                .map(|(at, row)| if array.is_null(at) { Value::Null } else { Value::Object(row) })
                .collect()
        }
        _ => other_values(array)?,
    })
}

fn primitives<T: ArrowPrimitiveType>(array: &ArrayRef, to_json: impl Fn(T::Native) -> Value) -> Vec<Value> {
    array.as_primitive::<T>().iter().map(|value| value.map_or(Value::Null, &to_json)).collect()
}

fn lists(lists: impl Iterator<Item = Option<ArrayRef>>) -> Result<Vec<Value>> {
    lists.map(|list| list.map_or(Ok(Value::Null), |list| Ok(Value::Array(values_of(&list)?)))).collect()
}

/// Dates, decimals, maps and the like, as `arrow-json` writes them.
fn other_values(array: &ArrayRef) -> Result<Vec<Value>> {
    const NAME: &str = "value";
    let schema = Schema::new(vec![Field::new(NAME, array.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array.clone()])?;
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    let bytes = writer.into_inner();
    let rows = serde_json::Deserializer::from_slice(&bytes).into_iter::<Row>();
    rows.map(|row| Ok(row?.remove(NAME).unwrap_or(Value::Null))).collect()
}

/// Writes `rows`, all objects, as one Parquet file; the schema is that of all rows.
pub(super) fn write(writer: impl Write + Send, rows: &[Value]) -> Result<()> {
    let schema =
        infer_json_schema_from_iterator(rows.iter().map(Ok)).context("the rows have no common schema")?;
    let schema = Arc::new(Schema::new(
        schema.fields().iter().map(|field| without_null_type(field)).collect::<Vec<_>>(),
    ));
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(writer, schema.clone(), Some(properties))?;
    if !schema.fields().is_empty() {
        let mut decoder =
            ReaderBuilder::new(schema).with_coerce_primitive(true).with_batch_size(BATCH).build_decoder()?;
        for rows in rows.chunks(BATCH) {
            decoder.serialize(rows)?;
            if let Some(batch) = decoder.flush()? {
                writer.write(&batch)?;
            }
        }
    }
    writer.close()?;
    Ok(())
}

/// A field that is null in every row is written as a string column, because many Parquet readers do not
/// support the null type.
fn without_null_type(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(Arc::new(without_null_type(item))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| Arc::new(without_null_type(field))).collect())
        }
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float32Array, Float64Array, TimestampSecondArray};

    fn check(array: impl Array + 'static, expected: Value) {
        let array: ArrayRef = Arc::new(array);
        assert_eq!(Value::Array(values_of(&array).unwrap()), expected);
    }

    #[test]
    fn numbers_that_json_lacks_are_named() {
        check(Float64Array::from(vec![f64::NAN, f64::INFINITY, 0.5]), json!(["NaN", "inf", 0.5]));
        check(Float32Array::from(vec![Some(f32::NEG_INFINITY), Some(0.1), None]), json!(["-inf", 0.1, null]));
    }

    #[test]
    fn types_that_json_lacks_are_kept_as_text() {
        check(TimestampSecondArray::from(vec![Some(0), None]), json!(["1970-01-01T00:00:00", null]));
    }
}
