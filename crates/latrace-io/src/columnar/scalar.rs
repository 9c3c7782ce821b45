//! What a value of a leaf column means: its physical type and annotation as one.

use std::fmt;

use parquet::basic::{ConvertedType, IntType, LogicalType, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

/// The meaning of a leaf column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Nothing but nulls.
    Null,
    /// True or false.
    Boolean,
    /// An integer of so many bits.
    Integer {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it may be negative.
        signed: bool,
    },
    /// A floating-point number of 16, 32 or 64 bits.
    Float {
        /// The bits.
        bits: u8,
    },
    /// An integer with so many of its digits behind the point.
    Decimal {
        /// Digits behind the point.
        scale: usize,
    },
    /// UTF-8.
    Text,
    /// Bytes without a meaning.
    Bytes,
    /// 16 bytes that name something.
    Uuid,
    /// Days since 1970.
    Date,
    /// Time since midnight.
    Time {
        /// Units in a second.
        per_second: i64,
    },
    /// Time since 1970.
    Timestamp {
        /// Units in a second.
        per_second: i64,
        /// Whether the zone is UTC; otherwise it is unknown.
        utc: bool,
    },
    /// A span of months, days and milliseconds.
    Interval,
}

const MILLIS: i64 = 1_000;
const MICROS: i64 = 1_000_000;
const NANOS: i64 = 1_000_000_000;

impl Scalar {
    /// The meaning of a primitive type; `None` if the annotation does not suit the physical type.
    pub fn of(kind: &Type) -> Option<Scalar> {
        let info = kind.get_basic_info();
        let logical = info.logical_type_ref();
        let scale = match logical {
            Some(LogicalType::Decimal(decimal)) => Some(decimal.scale),
            // Old writers annotate with converted types alone.
            None if info.converted_type() == ConvertedType::DECIMAL => Some(kind.get_scale()),
            _ => None,
        };
        match kind.get_physical_type() {
            // First, since a column of nothing but nulls may have any physical type.
            _ if logical == Some(&LogicalType::Unknown) => Some(Scalar::Null),
            Physical::BOOLEAN => Some(Scalar::Boolean),
            Physical::FLOAT => Some(Scalar::Float { bits: 32 }),
            Physical::DOUBLE => Some(Scalar::Float { bits: 64 }),
            // Without an annotation: it was never used for anything else.
            Physical::INT96 => Some(Scalar::Timestamp { per_second: NANOS, utc: false }),
            _ if scale.is_some() => Some(Scalar::Decimal { scale: usize::try_from(scale?).ok()? }),
            Physical::INT32 => of_integer(32, logical, info.converted_type()),
            Physical::INT64 => of_integer(64, logical, info.converted_type()),
            Physical::BYTE_ARRAY => of_bytes(logical, info.converted_type()),
            Physical::FIXED_LEN_BYTE_ARRAY => of_fixed_bytes(kind, logical, info.converted_type()),
        }
    }
}

fn of_integer(bits: u8, logical: Option<&LogicalType>, converted: ConvertedType) -> Option<Scalar> {
    let scalar = match logical {
        None => of_converted(bits, converted)?,
        Some(LogicalType::Integer(IntType { bit_width, is_signed })) => {
            Scalar::Integer { bits: u8::try_from(*bit_width).ok()?, signed: *is_signed }
        }
        Some(LogicalType::Date) => Scalar::Date,
        Some(LogicalType::Time(time)) => Scalar::Time { per_second: per_second(&time.unit) },
        Some(LogicalType::Timestamp(timestamp)) => {
            Scalar::Timestamp { per_second: per_second(&timestamp.unit), utc: timestamp.is_adjusted_to_u_t_c }
        }
        Some(_) => return None,
    };
    // An annotation of another width than the column's is not valid, and would misread its values.
    (scalar.stored_bits() == Some(bits)).then_some(scalar)
}

fn of_converted(bits: u8, converted: ConvertedType) -> Option<Scalar> {
    let integer = |bits, signed| Some(Scalar::Integer { bits, signed });
    match converted {
        ConvertedType::NONE => integer(bits, true),
        ConvertedType::INT_8 => integer(8, true),
        ConvertedType::INT_16 => integer(16, true),
        ConvertedType::INT_32 => integer(32, true),
        ConvertedType::INT_64 => integer(64, true),
        ConvertedType::UINT_8 => integer(8, false),
        ConvertedType::UINT_16 => integer(16, false),
        ConvertedType::UINT_32 => integer(32, false),
        ConvertedType::UINT_64 => integer(64, false),
        ConvertedType::DATE => Some(Scalar::Date),
        ConvertedType::TIME_MILLIS => Some(Scalar::Time { per_second: MILLIS }),
        ConvertedType::TIME_MICROS => Some(Scalar::Time { per_second: MICROS }),
        // The converted types know no zone: the format defines these as UTC.
        ConvertedType::TIMESTAMP_MILLIS => Some(Scalar::Timestamp { per_second: MILLIS, utc: true }),
        ConvertedType::TIMESTAMP_MICROS => Some(Scalar::Timestamp { per_second: MICROS, utc: true }),
        _ => None,
    }
}

fn of_bytes(logical: Option<&LogicalType>, converted: ConvertedType) -> Option<Scalar> {
    match (logical, converted) {
        (Some(LogicalType::String | LogicalType::Json | LogicalType::Enum), _) => Some(Scalar::Text),
        (None, ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM) => Some(Scalar::Text),
        (
            Some(
                LogicalType::Bson
                | LogicalType::Geometry { .. }
                | LogicalType::Geography { .. }
                | LogicalType::_Unknown { .. },
            ),
            _,
        ) => Some(Scalar::Bytes),
        (None, ConvertedType::NONE | ConvertedType::BSON) => Some(Scalar::Bytes),
        _ => None,
    }
}

fn of_fixed_bytes(kind: &Type, logical: Option<&LogicalType>, converted: ConvertedType) -> Option<Scalar> {
    let Type::PrimitiveType { type_length, .. } = kind else { return None };
    match (logical, converted) {
        (Some(LogicalType::Float16), _) => (*type_length == 2).then_some(Scalar::Float { bits: 16 }),
        (None, ConvertedType::INTERVAL) => (*type_length == 12).then_some(Scalar::Interval),
        (Some(LogicalType::Uuid), _) => (*type_length == 16).then_some(Scalar::Uuid),
        _ => Some(Scalar::Bytes),
    }
}

impl Scalar {
    /// The bits of the integers that a column of it is stored as.
    fn stored_bits(self) -> Option<u8> {
        match self {
            Scalar::Integer { bits: 64, .. } | Scalar::Timestamp { .. } => Some(64),
            Scalar::Time { per_second } => Some(if per_second == MILLIS { 32 } else { 64 }),
            Scalar::Integer { .. } | Scalar::Date => Some(32),
            _ => None,
        }
    }
}

fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => MILLIS,
        TimeUnit::MICROS => MICROS,
        TimeUnit::NANOS => NANOS,
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Null => write!(f, "null"),
            Scalar::Boolean => write!(f, "boolean"),
            Scalar::Integer { bits, signed: true } => write!(f, "int{bits}"),
            Scalar::Integer { bits, signed: false } => write!(f, "uint{bits}"),
            Scalar::Float { bits } => write!(f, "float{bits}"),
            Scalar::Decimal { .. } => write!(f, "decimal"),
            Scalar::Text => write!(f, "text"),
            Scalar::Bytes => write!(f, "bytes"),
            Scalar::Uuid => write!(f, "uuid"),
            Scalar::Date => write!(f, "date"),
            Scalar::Time { .. } => write!(f, "time"),
            Scalar::Timestamp { .. } => write!(f, "timestamp"),
            Scalar::Interval => write!(f, "interval"),
        }
    }
}
