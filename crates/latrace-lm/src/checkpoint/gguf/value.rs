//! Values of the metadata.

use super::INCOMPLETE;
use super::cursor::Cursor;
use crate::error::Result;
use std::fmt;
use std::ops::Range;

/// A value, whatever width it is stored in.
#[derive(Debug)]
pub(super) enum Value {
    Integer(i128),
    /// Of an f32, the number that its shortest decimal means: 1e-5, not 9.999999747378752e-6.
    Number(f64),
    Flag(bool),
    Text(String),
    List(List),
}

/// A list, left in the file until it is needed: one of a vocabulary is long.
#[derive(Debug)]
pub(super) struct List {
    kind: u32,
    count: usize,
    bytes: Range<usize>,
}

/// Numbers of types in a file.
const TEXT: u32 = 8;
const LIST: u32 = 9;

impl Value {
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        match cursor.u32()? {
            LIST => List::read(cursor).map(Self::List),
            kind => Self::read_single(cursor, kind),
        }
    }

    fn read_single(cursor: &mut Cursor<'_>, kind: u32) -> Result<Self> {
        Ok(match kind {
            0 => Self::Integer(u8::from_le_bytes(cursor.array()?).into()),
            1 => Self::Integer(i8::from_le_bytes(cursor.array()?).into()),
            2 => Self::Integer(u16::from_le_bytes(cursor.array()?).into()),
            3 => Self::Integer(i16::from_le_bytes(cursor.array()?).into()),
            4 => Self::Integer(u32::from_le_bytes(cursor.array()?).into()),
            5 => Self::Integer(i32::from_le_bytes(cursor.array()?).into()),
            6 => Self::Number(shortest(f32::from_le_bytes(cursor.array()?))),
            7 => Self::Flag(cursor.array::<1>()? != [0]),
            TEXT => Self::Text(cursor.text()?.to_owned()),
            10 => Self::Integer(u64::from_le_bytes(cursor.array()?).into()),
            11 => Self::Integer(i64::from_le_bytes(cursor.array()?).into()),
            12 => Self::Number(f64::from_le_bytes(cursor.array()?)),
            other => return Err(cursor.error("a type from 0 to 12", other, INCOMPLETE)),
        })
    }

    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn integer(&self) -> Option<u64> {
        if let Self::Integer(integer) = self { u64::try_from(*integer).ok() } else { None }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number).filter(|number| number.is_finite()),
            Self::Integer(integer) => Some(*integer as f64),
            _ => None,
        }
    }

    pub fn flag(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { None }
    }

    pub fn list(&self) -> Option<&List> {
        if let Self::List(list) = self { Some(list) } else { None }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(out, "{integer}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Flag(flag) => write!(out, "{flag}"),
            // A chat template would hide the message.
            Self::Text(text) => write!(out, "{:?}", text.chars().take(40).collect::<String>()),
            Self::List(list) => write!(out, "a list of {}", list.count),
        }
    }
}

fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

/// Bytes of a value that is no text.
fn width(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

impl List {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        let kind = cursor.u32()?;
        // A text has a length of eight bytes at least.
        let least = if kind == TEXT { Some(8) } else { width(kind) };
        let Some(least) = least else {
            return Err(cursor.error(
                "a list of numbers, flags or texts",
                format!("type {kind}"),
                INCOMPLETE,
            ));
        };
        let count = cursor.count("values", least)?;
        let start = cursor.at;
        if kind == TEXT {
            (0..count).try_for_each(|_| cursor.text().map(drop))?;
        } else {
            cursor.take((count * least) as u64)?;
        }
        Ok(Self { kind, count, bytes: start..cursor.at })
    }

    /// The texts, if it is a list of them. `file` is the whole of the file.
    pub fn texts<'a>(&self, file: &'a [u8]) -> Option<Vec<&'a str>> {
        if self.kind != TEXT {
            return None;
        }
        let mut rest = &file[self.bytes.clone()];
        let mut texts = Vec::with_capacity(self.count);
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let (text, after) = after.split_at_checked(u64::from_le_bytes(*length) as usize)?;
            texts.push(std::str::from_utf8(text).ok()?);
            rest = after;
        }
        Some(texts)
    }

    pub fn integers(&self, file: &[u8]) -> Option<Vec<i64>> {
        self.singles(
            file,
            |value| if let Value::Integer(integer) = value { integer.try_into().ok() } else { None },
        )
    }

    pub fn numbers(&self, file: &[u8]) -> Option<Vec<f32>> {
        self.singles(file, |value| {
            value.number().map(|number| number as f32).filter(|number| number.is_finite())
        })
    }

    fn singles<T>(&self, file: &[u8], cast: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
        width(self.kind)?;
        // The path is for messages, and there are none: the list was read before.
        let mut cursor = Cursor::new(std::path::Path::new(""), &file[self.bytes.clone()]);
        (0..self.count).map(|_| cast(Value::read_single(&mut cursor, self.kind).ok()?)).collect()
    }
}
