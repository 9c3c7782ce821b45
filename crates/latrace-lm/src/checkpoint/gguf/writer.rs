//! A file's header, as bytes.

use super::types::GgufType;
use super::{ALIGNMENT, MAGIC, VERSION};

/// A value of the metadata, in the types that llama.cpp expects.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufEntry {
    /// A whole number.
    U32(u32),
    /// A number.
    F32(f32),
    /// A flag.
    Flag(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of whole numbers.
    Integers(Vec<i32>),
    /// A list of numbers.
    Numbers(Vec<f32>),
}

/// A tensor to be written.
pub(super) struct Planned {
    pub name: String,
    /// Outermost axis first.
    pub shape: Vec<usize>,
    pub kind: GgufType,
}

impl Planned {
    /// Bytes of its values.
    fn bytes(&self) -> u64 {
        let values: usize = self.shape.iter().product();
        (values / self.kind.block_values() * self.kind.block_bytes()) as u64
    }
}

/// What precedes the tensors, which follow in order, each padded to the alignment.
pub(super) fn header(metadata: &[(String, GgufEntry)], tensors: &[Planned]) -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    put_count(&mut bytes, tensors.len());
    put_count(&mut bytes, metadata.len());
    for (key, entry) in metadata {
        put_text(&mut bytes, key);
        entry.put(&mut bytes);
    }
    let mut offset = 0;
    for tensor in tensors {
        put_tensor(&mut bytes, tensor, offset);
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    pad(&mut bytes);
    bytes
}

/// Zeros up to the alignment.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
}

impl GgufEntry {
    /// The number of its type, and the value.
    fn put(&self, bytes: &mut Vec<u8>) {
        let mut single = |kind: u32, value: &[u8]| {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        };
        match self {
            Self::U32(number) => single(4, &number.to_le_bytes()),
            Self::F32(number) => single(6, &number.to_le_bytes()),
            Self::Flag(flag) => single(7, &[u8::from(*flag)]),
            Self::Text(text) => {
                single(8, &[]);
                put_text(bytes, text);
            }
            Self::Texts(texts) => put_list(bytes, 8, texts, |bytes, text| put_text(bytes, text)),
            Self::Integers(list) => {
                put_list(bytes, 5, list, |bytes, value| bytes.extend(value.to_le_bytes()))
            }
            Self::Numbers(list) => put_list(bytes, 6, list, |bytes, value| bytes.extend(value.to_le_bytes())),
        }
    }
}

fn put_list<T>(bytes: &mut Vec<u8>, kind: u32, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    bytes.extend(9_u32.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    put_count(bytes, list.len());
    list.iter().for_each(|value| put(bytes, value));
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend((count as u64).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_count(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn put_tensor(bytes: &mut Vec<u8>, tensor: &Planned, offset: u64) {
    put_text(bytes, &tensor.name);
    bytes.extend((tensor.shape.len() as u32).to_le_bytes());
    tensor.shape.iter().rev().for_each(|&size| put_count(bytes, size));
    bytes.extend(tensor.kind.number().to_le_bytes());
    bytes.extend(offset.to_le_bytes());
}
