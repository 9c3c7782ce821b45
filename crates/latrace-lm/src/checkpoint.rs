//! Weights on disk: safetensors, in one file or in shards with an index, and fresh weights.
//!
//! A folder is read whole or not at all: every name, shape and type is checked against the configuration
//! before the first value is converted. Writing goes tensor by tensor, so saving needs no second copy of the
//! model.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};

use crate::config::{Config, Parameter};
use crate::error::Error;
use latrace_core::random::{draw, mix, unit};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const HEAD: &str = "lm_head.weight";

/// Bytes of tensors in one file, as in transformers.
const SHARD_BYTES: u64 = 5_000_000_000;

/// Values converted as one task, and written at once.
const CHUNK: usize = 1 << 16;

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
    fn bytes(self) -> u64 {
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

/// Reads a model's weights (f32, bf16 or f16) as f32.
///
/// # Shapes
/// One vector for each of [`Config::parameters`], in that order, row-major.
///
/// # Errors
/// No weights; a damaged file; a tensor that is missing, too many, of another shape or type, or in the wrong
/// shard.
pub fn load(dir: &Path, config: &Config) -> Result<Vec<Vec<f32>>, Error> {
    let files = Files::open(dir)?;
    let stored = files.tensors()?;
    let parameters = config.parameters();
    check_names(&files, &stored, &parameters, config.tied)?;
    let found =
        parameters.iter().map(|parameter| find(&files, &stored, parameter)).collect::<Result<Vec<_>, _>>()?;
    let head = if config.tied { stored.get(HEAD) } else { None };
    if let Some(head) = head {
        check_tied_head(head, &found[0].view)?;
    }
    found.into_par_iter().map(decode).collect()
}

/// The mapped weight files of a folder.
struct Files {
    /// Path and contents.
    maps: Vec<(PathBuf, Mmap)>,
    /// The index file and, by tensor, the position in `maps` it names; none: a single file.
    index: Option<(PathBuf, BTreeMap<String, usize>)>,
}

/// A tensor and the file it lies in.
struct Stored<'a> {
    path: &'a Path,
    map: &'a Mmap,
    view: TensorView<'a>,
}

impl Files {
    fn open(dir: &Path) -> Result<Self, Error> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        if single.exists() {
            return Ok(Self { maps: vec![map(single)?], index: None });
        }
        if index.exists() {
            Self::open_shards(dir, index)
        } else {
            Err(Error::NoWeights { path: dir.to_owned() })
        }
    }

    fn open_shards(dir: &Path, index: PathBuf) -> Result<Self, Error> {
        let (mut maps, mut places, mut shards) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (tensor, file) in read_index(&index)? {
            let shard = |detail| Error::Shard {
                path: index.clone(),
                tensor: tensor.clone(),
                file: file.clone(),
                detail,
            };
            let place = match shards.get(&file) {
                Some(&place) => place,
                None => {
                    let mut parts = Path::new(&file).components();
                    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                        return Err(shard("expected a plain file name, got a path"));
                    }
                    let path = dir.join(&file);
                    if !path.exists() {
                        return Err(shard("which does not exist"));
                    }
                    maps.push(map(path)?);
                    shards.insert(file, maps.len() - 1);
                    maps.len() - 1
                }
            };
            places.insert(tensor, place);
        }
        Ok(Self { maps, index: Some((index, places)) })
    }

    /// Every tensor of every file, each file's header checked.
    fn tensors(&self) -> Result<BTreeMap<String, Stored<'_>>, Error> {
        let mut all = BTreeMap::new();
        for (place, (path, map)) in self.maps.iter().enumerate() {
            let parsed = parse(path, map)?;
            for (name, view) in parsed.tensors() {
                self.check_place(&name, place)?;
                all.insert(name, Stored { path, map, view });
            }
        }
        Ok(all)
    }

    fn check_place(&self, tensor: &str, place: usize) -> Result<(), Error> {
        let Some((path, places)) = &self.index else { return Ok(()) };
        match places.get(tensor) {
            Some(&expected) if expected != place => Err(Error::WrongShard {
                path: path.clone(),
                tensor: tensor.to_owned(),
                expected: self.maps[expected].0.display().to_string(),
                got: self.maps[place].0.display().to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The file that should hold a tensor: its shard, or the index where that names none.
    fn home(&self, tensor: &str) -> PathBuf {
        match &self.index {
            None => self.maps[0].0.clone(),
            Some((path, places)) => {
                places.get(tensor).map_or_else(|| path.clone(), |&place| self.maps[place].0.clone())
            }
        }
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor { path: self.home(name), name: name.to_owned() }
    }
}

fn map(path: PathBuf) -> Result<(PathBuf, Mmap), Error> {
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let bytes = latrace_kernels::map_file(&file).map_err(Error::io("map", &path))?;
    Ok((path, bytes))
}

fn read_index(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let json: Value =
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    let wrong = |expected: &str, got: Option<&Value>| Error::Field {
        path: path.to_owned(),
        field: "weight_map".to_owned(),
        expected: expected.to_owned(),
        got: got.map_or_else(|| "nothing".to_owned(), Value::to_string),
    };
    let map = json.get("weight_map");
    let object = map.and_then(Value::as_object).ok_or_else(|| wrong("an object", map))?;
    let entry = |(tensor, file): (&String, &Value)| match file {
        Value::String(file) => Ok((tensor.clone(), file.clone())),
        other => Err(wrong("a file name for each tensor", Some(other))),
    };
    object.iter().map(entry).collect()
}

/// Parses a file's header by the `safetensors` crate, after checks of our own: the crate adds offsets up to
/// 2^64 without looking for overflow, and its messages have no numbers.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, Error> {
    let bad = |detail: String| Error::BadSafetensors { path: path.to_owned(), detail };
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(bad(format!("expected a header length of 8 bytes, got a file of {} bytes", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let header = header.ok_or_else(|| {
        bad(format!("expected a header of {length} bytes, got {} bytes after its length", rest.len()))
    })?;
    let entries: Map<String, Value> = serde_json::from_slice(header)
        .map_err(|error| bad(format!("its header is no JSON object: {error}")))?;
    let available = (rest.len() - header.len()) as u64;
    for (name, entry) in entries.iter().filter(|(name, _)| *name != "__metadata__") {
        let end = entry.get("data_offsets").and_then(|offsets| offsets.get(1)).and_then(Value::as_u64);
        match end {
            Some(end) if end <= available => {}
            Some(end) => {
                let detail =
                    format!("tensor `{name}` ends at byte {end} of the data, which has {available} bytes");
                return Err(bad(detail));
            }
            None => return Err(bad(format!("tensor `{name}` has no data_offsets"))),
        }
    }
    SafeTensors::deserialize(bytes).map_err(|error| bad(error.to_string()))
}

fn check_names(
    files: &Files,
    stored: &BTreeMap<String, Stored<'_>>,
    parameters: &[Parameter],
    tied: bool,
) -> Result<(), Error> {
    let wanted: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let indexed = files.index.iter().flat_map(|(_, places)| places.keys().map(String::as_str));
    let absent = wanted.iter().copied().chain(indexed).find(|name| !stored.contains_key(*name));
    if let Some(name) = absent {
        return Err(files.missing(name));
    }
    // Old checkpoints store the rotary frequencies, which follow from the configuration.
    let ignored = |name: &str| name.ends_with(".rotary_emb.inv_freq") || (tied && name == HEAD);
    let unlisted = |name: &str| files.index.as_ref().is_some_and(|(_, places)| !places.contains_key(name));
    let extra = |name: &&String| !ignored(name) && (!wanted.contains(name.as_str()) || unlisted(name));
    let names: Vec<String> = stored.keys().filter(extra).cloned().collect();
    match names.first() {
        Some(first) => Err(Error::ExtraTensors { path: stored[first].path.to_owned(), names }),
        None => Ok(()),
    }
}

fn find<'a>(
    files: &Files,
    stored: &'a BTreeMap<String, Stored<'_>>,
    parameter: &Parameter,
) -> Result<&'a Stored<'a>, Error> {
    let tensor = stored.get(&parameter.name).ok_or_else(|| files.missing(&parameter.name))?;
    check_dtype(&parameter.name, tensor)?;
    if tensor.view.shape() == parameter.shape {
        return Ok(tensor);
    }
    Err(Error::Shape {
        path: tensor.path.to_owned(),
        tensor: parameter.name.clone(),
        expected: parameter.shape.clone(),
        got: tensor.view.shape().to_vec(),
    })
}

fn check_dtype(name: &str, tensor: &Stored<'_>) -> Result<(), Error> {
    match tensor.view.dtype() {
        Dtype::F32 | Dtype::BF16 | Dtype::F16 => Ok(()),
        other => Err(Error::Dtype {
            path: tensor.path.to_owned(),
            tensor: name.to_owned(),
            got: format!("{other:?}"),
        }),
    }
}

/// A tied model may store its head too, if it is the embedding over again.
fn check_tied_head(head: &Stored<'_>, embedding: &TensorView<'_>) -> Result<(), Error> {
    check_dtype(HEAD, head)?;
    let (path, expected, got) =
        (head.path.to_owned(), embedding.shape().to_vec(), head.view.shape().to_vec());
    if expected != got {
        return Err(Error::Shape { path, tensor: HEAD.to_owned(), expected, got });
    }
    let (a, b) = (&head.view, embedding);
    let same = chunks(a).zip(chunks(b)).all(|(left, right)| {
        let values = |view: &TensorView<'_>, bytes: &[u8]| {
            let mut out = vec![0.0; bytes.len() / element_bytes(view)];
            decode_into(view.dtype(), bytes, &mut out);
            out
        };
        values(a, left).iter().zip(values(b, right)).all(|(x, y)| x.to_bits() == y.to_bits())
    });
    if same { Ok(()) } else { Err(Error::TiedHeadDiffers { path }) }
}

/// Bytes of one value, of a type that [`check_dtype`] let pass.
fn element_bytes(view: &TensorView<'_>) -> usize {
    if view.dtype() == Dtype::F32 { 4 } else { 2 }
}

fn chunks<'a>(view: &TensorView<'a>) -> rayon::slice::Chunks<'a, u8> {
    view.data().par_chunks(CHUNK * element_bytes(view))
}

/// A tensor as f32. Pages of the file are released as soon as they are read, so that loading needs little
/// more memory than the weights.
fn decode(stored: &Stored<'_>) -> Result<Vec<f32>, Error> {
    let Stored { path, map, view } = stored;
    let mut values = vec![0.0; view.data().len() / element_bytes(view)];
    values.par_chunks_mut(CHUNK).zip(chunks(view)).try_for_each(|(out, bytes)| {
        decode_into(view.dtype(), bytes, out);
        latrace_kernels::release(map, bytes).map_err(Error::io("release the pages of", path))
    })?;
    Ok(values)
}

fn decode_into(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
        out.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(out, &bytes)| *out = value(bytes));
    }
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::BF16 => each(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => each(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
    }
}

/// Writes a model that `transformers` loads: `config.json`, the weights (in shards above 5 GB), and the
/// tokenizer's and generation's files of `source`. `out` is an existing folder; making it appear at once, by
/// renaming it, is the caller's part. Every file is synced.
///
/// # Errors
/// A file that cannot be written; parameters that are not those of `config`.
pub fn save(
    out: &Path,
    config: &Config,
    parameters: &[Vec<f32>],
    dtype: SaveDtype,
    source: &Path,
) -> Result<(), Error> {
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
) -> Result<(), Error> {
    let values = parameters.iter().map(|values| Values::of(values)).collect();
    save_tensors(out, config, &pair(config.parameters(), values)?, dtype, source, shard_bytes)
}

/// [`save`] from wherever the values are.
pub(crate) fn save_values(
    out: &Path,
    config: &Config,
    values: Vec<Values<'_>>,
    dtype: SaveDtype,
    source: &Path,
) -> Result<(), Error> {
    save_tensors(out, config, &pair(config.parameters(), values)?, dtype, source, SHARD_BYTES)
}

fn save_tensors(
    out: &Path,
    config: &Config,
    tensors: &[Tensor<'_>],
    dtype: SaveDtype,
    source: &Path,
    shard_bytes: u64,
) -> Result<(), Error> {
    // Tokenizer first: a folder with weights but without its tokenizer would look usable.
    copy_companions(source, out)?;
    let shards = split(tensors, dtype, shard_bytes);
    let mut places = Map::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => SINGLE.to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        write_tensors(&out.join(&name), shard, dtype)?;
        places.extend(shard.iter().map(|(parameter, _)| (parameter.name.clone(), json!(name))));
    }
    if shards.len() > 1 {
        let count: usize = tensors.iter().map(|(_, values)| values.count).sum();
        let sizes = json!({"total_parameters": count, "total_size": count as u64 * dtype.bytes()});
        write_json(&out.join(INDEX), &json!({"metadata": sizes, "weight_map": places}))?;
    }
    write_json(&out.join("config.json"), &Value::Object(config_json(config, dtype)))?;
    sync_folder(out)
}

/// Makes the names in a folder survive a crash.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
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
}

/// A tensor's description and its values.
type Tensor<'a> = (Parameter, Values<'a>);

fn pair(expected: Vec<Parameter>, values: Vec<Values<'_>>) -> Result<Vec<Tensor<'_>>, Error> {
    if expected.len() != values.len() {
        let got = values.len();
        return Err(Error::Invalid(format!("cannot save: expected {} tensors, got {got}", expected.len())));
    }
    let pairs: Vec<Tensor<'_>> = expected.into_iter().zip(values).collect();
    match pairs.iter().find(|(parameter, values)| parameter.len() != values.count) {
        Some((Parameter { name, shape, .. }, values)) => Err(Error::Invalid(format!(
            "cannot save tensor `{name}`: expected shape {shape:?}, got {} values",
            values.count
        ))),
        None => Ok(pairs),
    }
}

fn split<'t, 'v>(tensors: &'t [Tensor<'v>], dtype: SaveDtype, limit: u64) -> Vec<&'t [Tensor<'v>]> {
    let (mut shards, mut start, mut size) = (Vec::new(), 0, 0);
    for (i, (_, values)) in tensors.iter().enumerate() {
        let bytes = values.count as u64 * dtype.bytes();
        if i > start && size + bytes > limit {
            shards.push(&tensors[start..i]);
            (start, size) = (i, 0);
        }
        size += bytes;
    }
    shards.push(&tensors[start..]);
    shards
}

fn write_tensors(path: &Path, tensors: &[Tensor<'_>], dtype: SaveDtype) -> Result<(), Error> {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut end = 0;
    for (parameter, values) in tensors {
        let start = end;
        end += values.count as u64 * dtype.bytes();
        let entry =
            json!({"dtype": dtype.in_header(), "shape": parameter.shape, "data_offsets": [start, end]});
        header.insert(parameter.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Tensors then begin at a multiple of 8 bytes, as the format's own writers have it.
    header.resize(header.len().next_multiple_of(8), b' ');
    write_file(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let mut bytes = Vec::with_capacity(CHUNK * 4);
        for (_, values) in tensors {
            for chunk in (values.host)().chunks(CHUNK) {
                bytes.clear();
                dtype.encode(chunk, &mut bytes);
                file.write_all(&bytes)?;
            }
        }
        Ok(())
    })
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    write_file(path, |file| writeln!(file, "{value:#}"))
}

fn write_file(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), Error> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    write(&mut file).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

/// The configuration as it was read, but for the type of the weights, in the spelling that it uses.
fn config_json(config: &Config, dtype: SaveDtype) -> Map<String, Value> {
    let mut raw = config.raw.clone();
    let spellings = ["dtype", "torch_dtype"].map(|key| raw.contains_key(key).then_some(key));
    // transformers 5 writes `dtype`, earlier versions `torch_dtype`: the file keeps the spelling it came with.
    let mut present: Vec<&str> = spellings.into_iter().flatten().collect();
    if present.is_empty() {
        present.push("dtype");
    }
    for key in present {
        raw.insert(key.to_owned(), json!(dtype.in_config()));
    }
    raw.entry("architectures").or_insert_with(|| json!([config.family.architecture()]));
    raw
}

fn copy_companions(source: &Path, out: &Path) -> Result<(), Error> {
    let same = |path: &Path| path.canonicalize().ok();
    if same(source) == same(out) {
        return Ok(());
    }
    for name in COMPANIONS {
        let (from, to) = (source.join(name), out.join(name));
        if from.exists() {
            let bytes = std::fs::read(&from).map_err(Error::io("read", &from))?;
            write_file(&to, |file| file.write_all(&bytes))?;
        }
    }
    Ok(())
}

/// Fresh weights as transformers makes them: norms 1, biases 0, everything else normal with mean 0 and
/// standard deviation `initializer_range`. Each value is a function of (seed, tensor, element) alone.
///
/// # Shapes
/// As for [`load`].
#[must_use]
pub fn initialise(config: &Config, seed: u64) -> Vec<Vec<f32>> {
    let fresh = |(tensor, parameter): (usize, &Parameter)| match parameter {
        _ if parameter.decay_exempt => {
            vec![if parameter.name.ends_with(".bias") { 0.0 } else { 1.0 }; parameter.len()]
        }
        _ => normal(mix(mix(seed) ^ tensor as u64), parameter.len(), f64::from(config.initializer_range)),
    };
    config.parameters().iter().enumerate().map(fresh).collect()
}

/// Normal values by the Box–Muller transform, two from each pair of uniform ones.
fn normal(key: u64, len: usize, deviation: f64) -> Vec<f32> {
    let uniform = |counter| unit(draw(key, counter));
    let mut values = vec![0.0; len];
    values.par_chunks_mut(2).with_min_len(CHUNK / 2).enumerate().for_each(|(pair, out)| {
        // The first uniform is in (0, 1], so that its logarithm is finite.
        let first = 1.0 - uniform(2 * pair as u64);
        let (sin, cos) = (std::f64::consts::TAU * uniform(2 * pair as u64 + 1)).sin_cos();
        let radius = deviation * (-2.0 * first.ln()).sqrt();
        out.iter_mut().zip([cos, sin]).for_each(|(value, turn)| *value = (radius * turn) as f32);
    });
    values
}
