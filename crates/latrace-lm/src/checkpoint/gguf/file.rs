//! A file: its metadata and where its tensors are. All of it is checked when it is opened.

use super::cursor::Cursor;
use super::types::{self, GgufType};
use super::value::Value;
use super::{ALIGNMENT, ALIGNMENT_KEY, INCOMPLETE, MAGIC};
use crate::checkpoint::CHUNK;
use crate::error::{Error, Result};
use latrace_kernels::map_file;
use memmap2::Mmap;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An open file. It is mapped, and values are converted when they are needed.
pub struct GgufFile {
    path: PathBuf,
    map: Mmap,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Stored>,
}

/// A tensor's description.
pub(super) struct Stored {
    pub kind: GgufType,
    /// Outermost axis first, as in transformers; files have the innermost first.
    pub shape: Vec<usize>,
    bytes: Range<usize>,
}

/// Most axes of a tensor in ggml.
const MOST_AXES: u32 = 4;

/// Least bytes of an entry of the metadata: an empty key, a type, a value of one byte.
const LEAST_ENTRY: usize = 8 + 4 + 1;

/// Least bytes of a tensor's description: an empty name, the number of axes, a type, an offset.
const LEAST_TENSOR: usize = 8 + 4 + 4 + 8;

const OTHER_TYPE: &str =
    "requantise the model with llama.cpp (`llama-quantize --allow-requantize`), or take another file of it";

impl GgufFile {
    /// Maps a file, reads its metadata and checks where its tensors are.
    ///
    /// # Errors
    /// A file that cannot be read, is no GGUF file of version 2 or 3, is damaged, or has a tensor of an unsupported type.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let map = map_file(&file).map_err(Error::io("map", path))?;
        let (metadata, tensors) = read(&mut Cursor::new(path, &map))?;
        Ok(Self { path: path.to_owned(), map, metadata, tensors })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A text of the metadata.
    ///
    /// # Errors
    /// A value of another type.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", Value::text)
    }

    /// A whole number of the metadata.
    ///
    /// # Errors
    /// A value of another type, a negative number.
    pub fn integer(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number, 0 or more", Value::integer)
    }

    /// A finite number of the metadata.
    ///
    /// # Errors
    /// A value of another type, an infinite one, or none.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a finite number", Value::number)
    }

    /// A flag of the metadata.
    ///
    /// # Errors
    /// A value of another type.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::flag)
    }

    /// A list of texts of the metadata.
    ///
    /// # Errors
    /// A value of another type.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.typed(key, "a list of texts", |value| value.list()?.texts(&self.map))
    }

    /// A list of whole numbers of the metadata.
    ///
    /// # Errors
    /// A value of another type.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.typed(key, "a list of whole numbers", |value| value.list()?.integers(&self.map))
    }

    /// A list of finite numbers of the metadata.
    ///
    /// # Errors
    /// A value of another type.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.typed(key, "a list of finite numbers", |value| value.list()?.numbers(&self.map))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        cast: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        cast(value).map(Some).ok_or_else(|| self.bad_key(key, expected, value, INCOMPLETE))
    }

    /// An error about a key of the metadata.
    pub fn bad_key(
        &self,
        key: &str,
        expected: impl ToString,
        got: impl ToString,
        hint: &'static str,
    ) -> Error {
        Error::gguf(&self.path, &format!("key `{key}`"), expected, got, hint)
    }

    /// Whether a key of the metadata has a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.metadata.get(key).is_some_and(|value| value.list().is_some())
    }

    /// A tensor's description.
    pub(super) fn tensor(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor as f32.
    pub(super) fn values(&self, stored: &Stored) -> Vec<f32> {
        let (kind, bytes) = (stored.kind, &self.map[stored.bytes.clone()]);
        let mut values = vec![0.0; stored.shape.iter().product()];
        // Blocks of every type divide a chunk.
        let chunk = CHUNK / kind.block_values() * kind.block_bytes();
        let pairs = values.par_chunks_mut(CHUNK).zip(bytes.par_chunks(chunk));
        pairs.for_each(|(values, bytes)| kind.dequantise(bytes, values));
        values
    }
}

type Parts = (BTreeMap<String, Value>, BTreeMap<String, Stored>);

fn read(cursor: &mut Cursor<'_>) -> Result<Parts> {
    check_magic(cursor)?;
    let tensors = cursor.count("tensors", LEAST_TENSOR)?;
    let entries = cursor.count("entries of metadata", LEAST_ENTRY)?;
    let metadata = read_metadata(cursor, entries)?;
    let alignment = alignment(cursor, &metadata)?;
    let tensors = read_tensors(cursor, tensors, alignment)?;
    Ok((metadata, tensors))
}

fn check_magic(cursor: &mut Cursor<'_>) -> Result<()> {
    let magic: [u8; 4] = cursor.array()?;
    if magic != MAGIC {
        let got = String::from_utf8_lossy(&magic).into_owned();
        return Err(cursor.error("the letters GGUF", format!("{got:?}"), "the file is of another format"));
    }
    match cursor.u32()? {
        2 | 3 => Ok(()),
        other => Err(cursor.error(
            "version 2 or 3, little-endian",
            other,
            "convert the model again, with a newer llama.cpp and for this machine",
        )),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, entries: usize) -> Result<BTreeMap<String, Value>> {
    let mut metadata = BTreeMap::new();
    for entry in 0..entries {
        cursor.part = format!("entry {entry} of the metadata");
        let key = cursor.text()?.to_owned();
        cursor.part = format!("key `{key}`");
        let value = Value::read(cursor)?;
        if metadata.insert(key, value).is_some() {
            return Err(cursor.error("one value", "two", INCOMPLETE));
        }
    }
    Ok(metadata)
}

fn alignment(cursor: &mut Cursor<'_>, metadata: &BTreeMap<String, Value>) -> Result<u64> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else { return Ok(ALIGNMENT) };
    cursor.part = format!("key `{ALIGNMENT_KEY}`");
    let alignment = value.integer().filter(|alignment| alignment.is_power_of_two());
    alignment.ok_or_else(|| cursor.error("a power of two", value, INCOMPLETE))
}

/// A tensor as the header describes it, with its offset from where tensors begin.
struct Described {
    name: String,
    kind: GgufType,
    shape: Vec<usize>,
    offset: u64,
    length: u64,
}

fn read_tensors(cursor: &mut Cursor<'_>, count: usize, alignment: u64) -> Result<BTreeMap<String, Stored>> {
    let mut described = Vec::new();
    for tensor in 0..count {
        cursor.part = format!("description of tensor {tensor}");
        described.push(describe(cursor, alignment)?);
    }
    place(cursor, described, alignment)
}

fn describe(cursor: &mut Cursor<'_>, alignment: u64) -> Result<Described> {
    let name = cursor.text()?.to_owned();
    cursor.part = format!("tensor `{name}`");
    let shape = read_shape(cursor)?;
    let kind = read_kind(cursor)?;
    let length = length(cursor, &shape, kind)?;
    let offset = cursor.u64()?;
    if !offset.is_multiple_of(alignment) {
        return Err(cursor.error(format!("an offset that is a multiple of {alignment}"), offset, INCOMPLETE));
    }
    Ok(Described { name, kind, shape, offset, length })
}

fn read_shape(cursor: &mut Cursor<'_>) -> Result<Vec<usize>> {
    let axes = cursor.u32()?;
    if !(1..=MOST_AXES).contains(&axes) {
        return Err(cursor.error(format!("1 to {MOST_AXES} axes"), axes, INCOMPLETE));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        let size = cursor.u64()?;
        let size = usize::try_from(size).ok().filter(|&size| size > 0);
        shape.push(size.ok_or_else(|| cursor.error("an axis of 1 or more", "another size", INCOMPLETE))?);
    }
    shape.reverse();
    Ok(shape)
}

fn read_kind(cursor: &mut Cursor<'_>) -> Result<GgufType> {
    let number = cursor.u32()?;
    let kind = GgufType::numbered(number);
    kind.ok_or_else(|| {
        let expected = format!("one of the types {}", types::supported());
        cursor.error(expected, types::unsupported(number), OTHER_TYPE)
    })
}

/// Bytes of a tensor, whose rows are whole blocks.
fn length(cursor: &Cursor<'_>, shape: &[usize], kind: GgufType) -> Result<u64> {
    let (row, block) = (shape[shape.len() - 1], kind.block_values());
    if !row.is_multiple_of(block) {
        let expected = format!("rows of a multiple of {block} values in {}", kind.name());
        return Err(cursor.error(expected, row, INCOMPLETE));
    }
    let blocks = shape[..shape.len() - 1].iter().try_fold(row / block, |all, &size| all.checked_mul(size));
    let bytes = blocks.and_then(|blocks| blocks.checked_mul(kind.block_bytes()));
    let bytes =
        bytes.ok_or_else(|| cursor.error("a size below 2^64 bytes", format!("{shape:?}"), INCOMPLETE))?;
    Ok(bytes as u64)
}

/// Finds each tensor's bytes behind the header.
fn place(
    cursor: &mut Cursor<'_>,
    described: Vec<Described>,
    alignment: u64,
) -> Result<BTreeMap<String, Stored>> {
    let mut tensors = BTreeMap::new();
    let start = (cursor.at as u64).checked_next_multiple_of(alignment);
    for Described { name, kind, shape, offset, length } in described {
        cursor.part = format!("tensor `{name}`");
        let begin = start.and_then(|start| start.checked_add(offset));
        let range = begin.and_then(|begin| cursor.range(begin, length));
        let bytes = range.ok_or_else(|| {
            let got = format!("{} bytes", cursor.len());
            cursor.error(
                format!("{length} bytes at offset {offset} of the data"),
                format!("a file of {got}"),
                INCOMPLETE,
            )
        })?;
        if tensors.insert(name, Stored { kind, shape, bytes }).is_some() {
            return Err(cursor.error("one tensor of this name", "two", INCOMPLETE));
        }
    }
    Ok(tensors)
}
