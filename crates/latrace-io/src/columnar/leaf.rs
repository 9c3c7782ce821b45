//! The entries of a leaf column as JSON, one by one, with the levels that tell how they nest.

use std::fmt;

use anyhow::{Context, Result, bail};
use parquet::basic::Type as Physical;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int32Type, Int64Type, Int96, Int96Type,
};
use serde_json::{Value, json};

use super::file::RowGroup;
use super::scalar::Scalar;
use super::text;
use crate::rows::{bytes, number, shortest};

/// Rows read at once.
const BATCH: usize = 64;

/// The entries of a leaf column: a value or null each.
pub struct LeafReader {
    entries: Box<dyn Entries>,
}

impl fmt::Debug for LeafReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafReader").finish_non_exhaustive()
    }
}

impl LeafReader {
    /// The entries of a leaf column of such scalars.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn open(group: &RowGroup<'_>, scalar: Scalar, leaf: usize) -> Result<LeafReader> {
        let entries: Box<dyn Entries> = match group.physical(leaf) {
            Physical::BOOLEAN => typed::<BoolType>(group, leaf, scalar)?,
            Physical::INT32 => typed::<Int32Type>(group, leaf, scalar)?,
            Physical::INT64 => typed::<Int64Type>(group, leaf, scalar)?,
            Physical::INT96 => typed::<Int96Type>(group, leaf, scalar)?,
            Physical::FLOAT => typed::<FloatType>(group, leaf, scalar)?,
            Physical::DOUBLE => typed::<DoubleType>(group, leaf, scalar)?,
            Physical::BYTE_ARRAY => typed::<ByteArrayType>(group, leaf, scalar)?,
            Physical::FIXED_LEN_BYTE_ARRAY => typed::<FixedLenByteArrayType>(group, leaf, scalar)?,
        };
        Ok(LeafReader { entries })
    }

    /// Definition and repetition level of the next entry; `None` after the last.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn levels(&mut self) -> Result<Option<(i16, i16)>> {
        self.entries.levels()
    }

    /// The next entry's value; null if its definition level says so.
    ///
    /// # Errors
    /// A column that cannot be read or has no more entries; a value that JSON cannot hold.
    pub fn take(&mut self) -> Result<Value> {
        self.entries.take()
    }
}

trait Entries {
    fn levels(&mut self) -> Result<Option<(i16, i16)>>;
    fn take(&mut self) -> Result<Value>;
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    scalar: Scalar,
    /// The definition level of a value.
    definition: i16,
    /// Of the entries that are read, those that are values.
    values: std::vec::IntoIter<T::T>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    /// The next entry.
    at: usize,
}

fn typed<T: DataType>(group: &RowGroup<'_>, leaf: usize, scalar: Scalar) -> Result<Box<dyn Entries>>
where
    T::T: ToJson,
{
    Ok(Box::new(Typed::<T> {
        reader: group.leaf(leaf)?,
        scalar,
        definition: group.definition(leaf),
        values: Vec::new().into_iter(),
        definitions: Vec::new(),
        repetitions: Vec::new(),
        at: 0,
    }))
}

impl<T: DataType> Typed<T> {
    fn read(&mut self) -> Result<()> {
        self.at = 0;
        self.definitions.clear();
        self.repetitions.clear();
        let mut values = Vec::new();
        // Whole rows: the entries of one are never split between two reads.
        let levels = (Some(&mut self.definitions), Some(&mut self.repetitions));
        let (_, _, entries) = self.reader.read_records(BATCH, levels.0, levels.1, &mut values)?;
        // A column whose levels are all 0 stores none.
        self.definitions.resize(entries, 0);
        self.repetitions.resize(entries, 0);
        self.values = values.into_iter();
        Ok(())
    }
}

impl<T: DataType> Entries for Typed<T>
where
    T::T: ToJson,
{
    fn levels(&mut self) -> Result<Option<(i16, i16)>> {
        if self.at == self.definitions.len() {
            self.read()?;
        }
        Ok(self.definitions.get(self.at).copied().zip(self.repetitions.get(self.at).copied()))
    }

    fn take(&mut self) -> Result<Value> {
        let (definition, _) = self.levels()?.context("a column has fewer rows than its row group")?;
        // A null is passed as well: it has levels, though no value.
        self.at += 1;
        if definition < self.definition {
            return Ok(Value::Null);
        }
        self.values.next().context("a column has fewer values than its levels say")?.to_json(self.scalar)
    }
}

/// A stored value as JSON, under the meaning of its column.
trait ToJson {
    fn to_json(self, scalar: Scalar) -> Result<Value>;
}

impl ToJson for bool {
    fn to_json(self, _: Scalar) -> Result<Value> {
        Ok(json!(self))
    }
}

impl ToJson for i32 {
    fn to_json(self, scalar: Scalar) -> Result<Value> {
        // The format stores narrow integers in 32 bits, and unsigned ones as signed ones of the same bits.
        Ok(match scalar {
            Scalar::Integer { bits: 8, signed: true } => json!(self as i8),
            Scalar::Integer { bits: 16, signed: true } => json!(self as i16),
            Scalar::Integer { bits: 8, signed: false } => json!(self as u8),
            Scalar::Integer { bits: 16, signed: false } => json!(self as u16),
            Scalar::Integer { signed: false, .. } => json!(self as u32),
            Scalar::Date => json!(text::date(i64::from(self))),
            _ => return i64::from(self).to_json(scalar),
        })
    }
}

impl ToJson for i64 {
    fn to_json(self, scalar: Scalar) -> Result<Value> {
        Ok(match scalar {
            Scalar::Integer { signed: false, .. } => json!(self as u64),
            Scalar::Decimal { scale } => decimal(&self.to_be_bytes(), scale)?,
            Scalar::Time { per_second } => json!(time(self, per_second)?),
            Scalar::Timestamp { per_second, utc } => json!(text::timestamp(self, per_second, utc)),
            _ => json!(self),
        })
    }
}

impl ToJson for Int96 {
    fn to_json(self, scalar: Scalar) -> Result<Value> {
        // Deprecated, but still what Spark writes unless told otherwise: nanoseconds of a day, then the Julian
        // day.
        self.to_nanos().to_json(scalar)
    }
}

impl ToJson for f32 {
    fn to_json(self, _: Scalar) -> Result<Value> {
        Ok(shortest(self).map_or_else(|| json!(self.to_string()), |number| json!(number)))
    }
}

impl ToJson for f64 {
    fn to_json(self, _: Scalar) -> Result<Value> {
        // JSON has no infinities and no NaN; as texts they are at least named where a number is expected.
        Ok(if self.is_finite() { json!(self) } else { json!(self.to_string()) })
    }
}

impl ToJson for ByteArray {
    fn to_json(self, scalar: Scalar) -> Result<Value> {
        match scalar {
            Scalar::Text => Ok(json!(self.as_utf8()?)),
            Scalar::Decimal { scale } => decimal(self.data(), scale),
            Scalar::Float { .. } => half(self.data()),
            Scalar::Interval => interval(self.data()),
            Scalar::Uuid => Ok(json!(text::uuid(self.data()))),
            _ => Ok(bytes(self.data())),
        }
    }
}

impl ToJson for FixedLenByteArray {
    fn to_json(self, scalar: Scalar) -> Result<Value> {
        ByteArray::from(self).to_json(scalar)
    }
}

fn time(value: i64, per_second: i64) -> Result<String> {
    if !(0..86_400 * per_second).contains(&value) {
        bail!("expected a time of day, got {value} units of 1/{per_second} s");
    }
    Ok(text::time(value, per_second))
}

/// A decimal, in full.
fn decimal(bytes: &[u8], scale: usize) -> Result<Value> {
    Ok(number(&text::decimal(bytes, scale))?)
}

/// A number of 16 bits, as IEEE 754 lays it out.
fn half(bytes: &[u8]) -> Result<Value> {
    let [low, high] = bytes else { bail!("expected a number of 2 bytes, got {}", bytes.len()) };
    let bits = u16::from_le_bytes([*low, *high]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff) / 1024.0);
    let magnitude = match exponent {
        // Zero and the subnormal numbers, which have no implicit leading 1.
        0 => fraction * 2_f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2_f32.powi(exponent - 15),
    };
    let number = if bits >> 15 == 0 { magnitude } else { -magnitude };
    number.to_json(Scalar::Float { bits: 32 })
}

fn interval(bytes: &[u8]) -> Result<Value> {
    let part = |at: usize| Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (Some(months), Some(days), Some(milliseconds)) = (part(0), part(4), part(8)) else {
        bail!("expected a span of 12 bytes, got {}", bytes.len());
    };
    Ok(json!(text::interval(months, days, milliseconds)))
}
