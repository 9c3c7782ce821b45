//! Writing, tensor by tensor, in one file or in shards with an index.

use super::{CHUNK, INDEX, SINGLE};
use crate::adapter::model_file;
use crate::batch::runs;
use crate::config::{Config, Parameter};
use crate::error::{Error, Result};
use crate::fields::read_file;
use half::bf16;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Bytes of tensors in one file, as in transformers.
const SHARD_BYTES: u64 = 5_000_000_000;

/// Files beside the weights that a saved model takes over from its source.
const COMPANIONS: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "tokenizer.model",
];

/// The type that weights are saved in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveDtype {
    /// 32-bit floats: exact.
    F32,
    /// bfloat16, rounded to nearest, ties to even.
    Bf16,
}

impl SaveDtype {
    /// Bytes of one value.
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    fn in_header(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
        }
    }

    fn in_config(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Bf16 => bytes.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes())),
        }
    }
}

/// Writes a model that `transformers` loads: `config.json`, the weights (in shards above 5 GB), and the
/// tokenizer's and generation's files of `source`. `out` is an existing folder; a caller that needs the model
/// to appear all at once renames the folder afterwards. Every file is synced.
///
/// # Errors
/// A file that cannot be written; parameters that are not those of `config`.
pub fn save(
    out: &Path,
    config: &Config,
    parameters: &[Vec<f32>],
    dtype: SaveDtype,
    source: &Path,
) -> Result<()> {
    save_sharded(out, config, parameters, dtype, source, SHARD_BYTES)
}

/// [`save`] with another limit for the bytes of tensors in one file; a larger tensor gets a file of its own.
///
/// # Errors
/// As for [`save`].
pub fn save_sharded(
    out: &Path,
    config: &Config,
    parameters: &[Vec<f32>],
    dtype: SaveDtype,
    source: &Path,
    shard_bytes: u64,
) -> Result<()> {
    let values = parameters.iter().map(|values| Values::of(values)).collect();
    save_tensors(out, config, &named(config.parameters(), values)?, dtype, source, shard_bytes)
}

/// [`save`] for these parameters with values on any device.
pub(crate) fn save_values(
    out: &Path,
    config: &Config,
    tensors: &[Tensor<'_>],
    dtype: SaveDtype,
    source: &Path,
) -> Result<()> {
    save_tensors(out, config, tensors, dtype, source, SHARD_BYTES)
}

/// Writes tensors as one file.
pub(crate) fn save_file(path: &Path, tensors: &[Tensor<'_>], dtype: SaveDtype) -> Result<()> {
    write_tensors(path, tensors, dtype)
}

fn save_tensors(
    out: &Path,
    config: &Config,
    tensors: &[Tensor<'_>],
    dtype: SaveDtype,
    source: &Path,
    shard_bytes: u64,
) -> Result<()> {
    // Tokenizer first: a folder with weights but without its tokenizer would look usable.
    copy_companions(source, out)?;
    let shards = split(tensors, dtype, shard_bytes);
    let mut places = Map::new();
    for (i, shard) in shards.iter().enumerate() {
        let name = file_name(i, shards.len());
        write_tensors(&out.join(&name), shard, dtype)?;
        places.extend(shard.iter().map(|(parameter, _)| (parameter.name.clone(), json!(name))));
    }
    if shards.len() > 1 {
        write_index(out, tensors, dtype, places)?;
    }
    // Last, since a folder is taken for a model by its configuration.
    let mut raw = with_dtype(config.raw.clone(), dtype);
    // A file that named only its model type is read by us, but not by every tool.
    raw.entry("architectures").or_insert_with(|| json!([config.family.architecture()]));
    write_config(out, raw)
}

/// Writes a `config.json` as it was read, except for the type of the weights.
///
/// # Errors
/// A file that cannot be written.
pub fn save_config(out: &Path, raw: Map<String, Value>, dtype: SaveDtype) -> Result<()> {
    write_config(out, with_dtype(raw, dtype))
}

fn write_config(out: &Path, raw: Map<String, Value>) -> Result<()> {
    write_json(&out.join("config.json"), &Value::Object(raw))?;
    sync_folder(out)
}

fn with_dtype(mut raw: Map<String, Value>, dtype: SaveDtype) -> Map<String, Value> {
    for key in dtype_keys(&raw) {
        raw.insert(key.to_owned(), json!(dtype.in_config()));
    }
    raw
}

/// The name of shard `i` (from 0) of `count`, as in transformers.
fn file_name(i: usize, count: usize) -> String {
    match count {
        1 => SINGLE.to_owned(),
        count => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
    }
}

fn write_index(
    out: &Path,
    tensors: &[Tensor<'_>],
    dtype: SaveDtype,
    places: Map<String, Value>,
) -> Result<()> {
    let count: usize = tensors.iter().map(|(_, values)| values.count).sum();
    let sizes = json!({"total_parameters": count, "total_size": count * dtype.bytes()});
    write_json(&out.join(INDEX), &json!({"metadata": sizes, "weight_map": places}))
}

/// Makes the names in a folder survive a crash: syncing a file does not sync its entry in the folder.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io("sync", folder))
}

/// The values of a tensor, brought to the host only when they are written.
pub(crate) struct Values<'a> {
    pub count: usize,
    pub host: Box<dyn Fn() -> Cow<'a, [f32]> + 'a>,
}

impl<'a> Values<'a> {
    fn of(values: &'a [f32]) -> Self {
        Self { count: values.len(), host: Box::new(|| values.into()) }
    }

    /// Bytes in a file.
    fn bytes(&self, dtype: SaveDtype) -> usize {
        self.count * dtype.bytes()
    }
}

/// A tensor's description and its values.
pub(crate) type Tensor<'a> = (Parameter, Values<'a>);

/// Parameters with their values.
pub(crate) fn named(expected: Vec<Parameter>, values: Vec<Values<'_>>) -> Result<Vec<Tensor<'_>>> {
    if expected.len() != values.len() {
        let got = values.len();
        return Err(Error::Invalid(format!("cannot save: expected {} tensors, got {got}", expected.len())));
    }
    let tensors: Vec<Tensor<'_>> = expected.into_iter().zip(values).collect();
    tensors.iter().try_for_each(check_count)?;
    Ok(tensors)
}

fn check_count((parameter, values): &Tensor<'_>) -> Result<()> {
    let (Parameter { name, shape, .. }, got) = (parameter, values.count);
    if parameter.len() == got {
        return Ok(());
    }
    Err(Error::Invalid(format!("cannot save tensor `{name}`: expected shape {shape:?}, got {got} values")))
}

/// Tensors by shard, in order; a tensor above the limit has a shard of its own.
fn split<'t, 'v>(tensors: &'t [Tensor<'v>], dtype: SaveDtype, limit: u64) -> Vec<&'t [Tensor<'v>]> {
    let bytes: Vec<usize> = tensors.iter().map(|(_, values)| values.bytes(dtype)).collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    runs(&bytes, limit).into_iter().map(|run| &tensors[run]).collect()
}

fn write_tensors(path: &Path, tensors: &[Tensor<'_>], dtype: SaveDtype) -> Result<()> {
    let header = header(tensors, dtype);
    write_file(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|(_, values)| write_values(file, values, dtype))
    })
}

fn header(tensors: &[Tensor<'_>], dtype: SaveDtype) -> Vec<u8> {
    // transformers refuses a file whose metadata does not name its format.
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut end = 0;
    for (Parameter { name, shape, .. }, values) in tensors {
        let start = end;
        end += values.bytes(dtype);
        let entry = json!({"dtype": dtype.in_header(), "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Tensors then begin at a multiple of 8 bytes, as the format's own writers have it.
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

fn write_values(file: &mut File, values: &Values<'_>, dtype: SaveDtype) -> std::io::Result<()> {
    // Chunk by chunk: a large model's embedding alone is more than a gigabyte.
    let mut bytes = Vec::with_capacity(CHUNK * dtype.bytes());
    for chunk in (values.host)().chunks(CHUNK) {
        bytes.clear();
        dtype.encode(chunk, &mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    write_file(path, |file| writeln!(file, "{value:#}"))
}

fn write_file(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    write(&mut file).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

/// transformers 5 writes `dtype`, earlier versions `torch_dtype`: the file keeps its own spelling.
fn dtype_keys(raw: &Map<String, Value>) -> Vec<&'static str> {
    let present: Vec<_> = ["dtype", "torch_dtype"].into_iter().filter(|key| raw.contains_key(*key)).collect();
    if present.is_empty() { vec!["dtype"] } else { present }
}

/// Copies what a saved model takes over from its source: the files of the tokenizer and of generation.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy_companions(source: &Path, out: &Path) -> Result<()> {
    // Creating a file would empty it before it is read, if source and target are one folder.
    let canonical = |path: &Path| path.canonicalize().ok();
    if canonical(source) == canonical(out) {
        return Ok(());
    }
    COMPANIONS.iter().try_for_each(|name| copy_file(&model_file(source, name)?, &out.join(name)))
}

/// Copies a file, if there is one.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    let bytes = read_file(from)?;
    write_file(to, |file| file.write_all(&bytes))
}
