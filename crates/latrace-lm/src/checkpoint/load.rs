//! Reading: every name, shape and type is checked before the first value is converted.

use super::{CHUNK, HEAD, INDEX, SINGLE};
use crate::config::{Config, Parameter};
use crate::error::{Error, Result};
use crate::fields::read_json;
use half::{bf16, f16};
use latrace_kernels::map_file;
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

/// Reads a model's weights (f32, bf16 or f16) as f32.
///
/// # Shapes
/// One vector for each of [`Config::parameters`], in that order, row-major.
///
/// # Errors
/// No weights; a damaged file; a tensor that is missing, too many, of another shape or type, or in the wrong
/// shard.
pub fn load(dir: &Path, config: &Config) -> Result<Vec<Vec<f32>>> {
    load_parameters(dir, &config.parameters(), config.tied)
}

/// The values of a parameter as they are held in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    Wide(Vec<f32>),
    /// Of a matrix that is stored in bf16.
    Narrow(Vec<bf16>),
}

/// As [`load`], but that matrices in bf16 stay what they are: half of the memory, and the same values.
pub(crate) fn load_held(dir: &Path, config: &Config) -> Result<Vec<Held>> {
    checked(&Files::open(dir)?, &config.parameters(), config.tied, |found| {
        let held = |stored: &Stored<'_>| match stored.view.dtype() {
            Dtype::BF16 if stored.view.shape().len() == 2 => decode_narrow(stored).map(Held::Narrow),
            _ => decode(stored).map(Held::Wide),
        };
        found.into_par_iter().map(held).collect()
    })
}

/// As [`load`], of these parameters; `tied` as in [`Config::tied`].
pub(crate) fn load_parameters(dir: &Path, parameters: &[Parameter], tied: bool) -> Result<Vec<Vec<f32>>> {
    checked(&Files::open(dir)?, parameters, tied, |found| found.into_par_iter().map(decode).collect())
}

/// Reads one file whose parameters follow from the names and shapes in it: `expect` says which.
pub(crate) fn load_file<T>(
    path: &Path,
    expect: impl FnOnce(&BTreeMap<String, Vec<usize>>) -> Result<(T, Vec<Parameter>)>,
) -> Result<(T, Vec<Vec<f32>>)> {
    let files = Files { maps: vec![map(path.to_owned())?], index: None };
    let shape = |(name, stored): (String, Stored<'_>)| (name, stored.view.shape().to_vec());
    let shapes = files.tensors()?.into_iter().map(shape).collect();
    let (expected, parameters) = expect(&shapes)?;
    let values = checked(&files, &parameters, false, |found| found.into_par_iter().map(decode).collect())?;
    Ok((expected, values))
}

/// Reads a model's weights as [`load`] does, one tensor at a time.
///
/// # Errors
/// As for [`load`], before the first tensor; those of `take`.
pub(super) fn visit(
    dir: &Path,
    config: &Config,
    mut take: impl FnMut(&Parameter, Vec<f32>) -> Result<()>,
) -> Result<()> {
    let parameters = config.parameters();
    checked(&Files::open(dir)?, &parameters, config.tied, |found| {
        parameters.iter().zip(found).try_for_each(|(parameter, stored)| take(parameter, decode(stored)?))
    })
}

/// Checks a model's weights and hands over each parameter's place. Only then is a value converted.
fn checked<T>(
    files: &Files,
    parameters: &[Parameter],
    tied: bool,
    convert: impl FnOnce(Vec<&Stored<'_>>) -> Result<T>,
) -> Result<T> {
    let stored = files.tensors()?;
    check_names(files, &stored, parameters, tied)?;
    let found = parameters.iter().map(|parameter| find(files, &stored, parameter));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    if tied && let Some(head) = stored.get(HEAD) {
        // The embedding is the first parameter of every model.
        check_tied_head(head, &found[0].view)?;
    }
    convert(found)
}

/// The weight files of a folder. Mapped, not read: a model of tens of gigabytes would otherwise be in memory twice.
struct Files {
    /// Path and contents.
    maps: Vec<(PathBuf, Mmap)>,
    /// The index file and, by tensor, the position in `maps` it names; none: a single file.
    index: Option<(PathBuf, BTreeMap<String, usize>)>,
}

/// A tensor and the file that holds it.
struct Stored<'a> {
    path: &'a Path,
    map: &'a Mmap,
    view: TensorView<'a>,
}

impl Files {
    fn open(dir: &Path) -> Result<Self> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        // As in transformers, a single file wins over an index beside it.
        match (single.exists(), index.exists()) {
            (true, _) => Ok(Self { maps: vec![map(single)?], index: None }),
            (false, true) => Self::open_shards(dir, index),
            (false, false) => Err(Error::NoWeights { path: dir.to_owned() }),
        }
    }

    fn open_shards(dir: &Path, index: PathBuf) -> Result<Self> {
        let (mut maps, mut places, mut shards) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (tensor, file) in read_index(&index)? {
            let place = match shards.get(&file) {
                // Thousands of tensors share a few files, each of which is mapped once.
                Some(&place) => place,
                None => {
                    if let Err(detail) = check_shard(dir, &file) {
                        return Err(Error::Shard { path: index, tensor, file, detail });
                    }
                    maps.push(map(dir.join(&file))?);
                    shards.insert(file, maps.len() - 1);
                    maps.len() - 1
                }
            };
            places.insert(tensor, place);
        }
        Ok(Self { maps, index: Some((index, places)) })
    }

    /// Every tensor of every file, each file's header checked.
    fn tensors(&self) -> Result<BTreeMap<String, Stored<'_>>> {
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

    fn check_place(&self, tensor: &str, place: usize) -> Result<()> {
        let Some((path, places)) = &self.index else { return Ok(()) };
        // A tensor that the index does not list is found by `check_names`, with all others like it.
        match places.get(tensor) {
            Some(&expected) if expected != place => Err(Error::WrongShard {
                path: path.clone(),
                tensor: tensor.to_owned(),
                expected: self.path(expected).display().to_string(),
                got: self.path(place).display().to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn path(&self, place: usize) -> &Path {
        &self.maps[place].0
    }

    /// The file that should hold a tensor: its shard, or the index if that does not name it.
    fn home(&self, tensor: &str) -> &Path {
        match &self.index {
            None => self.path(0),
            Some((path, places)) => places.get(tensor).map_or(path, |&place| self.path(place)),
        }
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor { path: self.home(name).to_owned(), name: name.to_owned() }
    }

    /// The tensors for which the index, if there is one, names a file.
    fn listed(&self) -> impl Iterator<Item = &str> {
        self.index.iter().flat_map(|(_, places)| places.keys().map(String::as_str))
    }

    /// Whether the index, if there is one, names a file for the tensor.
    fn lists(&self, tensor: &str) -> bool {
        self.index.as_ref().is_none_or(|(_, places)| places.contains_key(tensor))
    }
}

fn is_plain_name(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// Fails with what is wrong with a shard's name.
fn check_shard(dir: &Path, file: &str) -> Result<(), &'static str> {
    // The index comes from a download: a path in it could lead to any file of the machine.
    if !is_plain_name(file) {
        return Err("expected a plain file name, got a path");
    }
    if dir.join(file).exists() { Ok(()) } else { Err("which does not exist") }
}

fn map(path: PathBuf) -> Result<(PathBuf, Mmap)> {
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let bytes = map_file(&file).map_err(Error::io("map", &path))?;
    Ok((path, bytes))
}

/// Tensors and the files that an index names for them.
fn read_index(path: &Path) -> Result<Vec<(String, String)>> {
    let json: Value = read_json(path)?;
    let map = json.get("weight_map");
    let object = map.and_then(Value::as_object).ok_or_else(|| bad_index(path, "an object", map))?;
    object.iter().map(|(tensor, file)| Ok((tensor.clone(), file_name_in(path, file)?))).collect()
}

fn file_name_in(path: &Path, file: &Value) -> Result<String> {
    match file {
        Value::String(file) => Ok(file.clone()),
        other => Err(bad_index(path, "a file name for each tensor", Some(other))),
    }
}

fn bad_index(path: &Path, expected: &str, got: Option<&Value>) -> Error {
    let got = got.map_or_else(|| "nothing".to_owned(), Value::to_string);
    Error::Field { path: path.to_owned(), field: "weight_map".to_owned(), expected: expected.to_owned(), got }
}

/// Parses a file's header by the `safetensors` crate, after checks of our own: the crate adds offsets up to
/// 2^64 without looking for overflow, and its messages have no numbers.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>> {
    let bad = |detail| Error::BadSafetensors { path: path.to_owned(), detail };
    check_header(bytes).map_err(bad)?;
    SafeTensors::deserialize(bytes).map_err(|error| bad(error.to_string()))
}

/// Fails with what is wrong with a file's header.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let (header, data) = split_header(bytes)?;
    let entries: Map<String, Value> =
        serde_json::from_slice(header).map_err(|error| format!("its header is no JSON object: {error}"))?;
    // The one entry that is not a tensor.
    let mut tensors = entries.iter().filter(|(name, _)| *name != "__metadata__");
    tensors.try_for_each(|(name, entry)| check_offsets(name, entry, data.len() as u64))
}

/// A file's header and its data: the file begins with the header's length, 8 bytes, little-endian.
fn split_header(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("expected a header length of 8 bytes, got a file of {} bytes", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    // A Git LFS pointer has text here: as a length, an absurd number, which the message shows.
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let got = rest.len();
    split.ok_or_else(|| format!("expected a header of {length} bytes, got {got} bytes after its length"))
}

fn check_offsets(name: &str, entry: &Value, available: u64) -> Result<(), String> {
    match entry.get("data_offsets").and_then(|offsets| offsets.get(1)).and_then(Value::as_u64) {
        Some(end) if end <= available => Ok(()),
        Some(end) => {
            Err(format!("tensor `{name}` ends at byte {end} of the data, which has {available} bytes"))
        }
        None => Err(format!("tensor `{name}` has no data_offsets")),
    }
}

fn check_names(
    files: &Files,
    stored: &BTreeMap<String, Stored<'_>>,
    parameters: &[Parameter],
    tied: bool,
) -> Result<()> {
    // Missing tensors come first: where a name is spelt differently, one is missing and another is extra.
    let wanted: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let absent = wanted.iter().copied().chain(files.listed()).find(|name| !stored.contains_key(*name));
    if let Some(name) = absent {
        return Err(files.missing(name));
    }
    let is_extra = |name: &&String| !wanted.contains(name.as_str()) || !files.lists(name);
    let names = stored.keys().filter(|name| !is_ignored(name, tied)).filter(is_extra);
    refuse(stored, names.cloned().collect())
}

/// Old checkpoints store the rotary frequencies, which follow from the configuration.
fn is_ignored(name: &str, tied: bool) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || (tied && name == HEAD)
}

/// Fails if there are extra tensors.
fn refuse(stored: &BTreeMap<String, Stored<'_>>, extra: Vec<String>) -> Result<()> {
    match extra.first() {
        Some(first) => Err(Error::ExtraTensors { path: stored[first].path.to_owned(), names: extra }),
        None => Ok(()),
    }
}

fn find<'a>(
    files: &Files,
    stored: &'a BTreeMap<String, Stored<'_>>,
    Parameter { name, shape, .. }: &Parameter,
) -> Result<&'a Stored<'a>> {
    let tensor = stored.get(name).ok_or_else(|| files.missing(name))?;
    check_dtype(name, tensor)?;
    check_shape(name, tensor, shape)?;
    Ok(tensor)
}

fn check_dtype(name: &str, tensor: &Stored<'_>) -> Result<()> {
    let got = match tensor.view.dtype() {
        Dtype::F32 | Dtype::BF16 | Dtype::F16 => return Ok(()),
        other => format!("{other:?}"),
    };
    Err(Error::Dtype { path: tensor.path.to_owned(), tensor: name.to_owned(), got })
}

fn check_shape(name: &str, tensor: &Stored<'_>, expected: &[usize]) -> Result<()> {
    let got = tensor.view.shape();
    if got == expected {
        return Ok(());
    }
    let (path, tensor) = (tensor.path.to_owned(), name.to_owned());
    Err(Error::Shape { path, tensor, expected: expected.to_vec(), got: got.to_vec() })
}

/// A tied model may store its head too, if that equals the embedding.
fn check_tied_head(head: &Stored<'_>, embedding: &TensorView<'_>) -> Result<()> {
    check_dtype(HEAD, head)?;
    check_shape(HEAD, head, embedding.shape())?;
    // In chunks of values, since the two may be stored in different types.
    let pairs = chunks(&head.view).zip(chunks(embedding));
    let same = pairs.all(|(left, right)| equal_bits(&decoded(&head.view, left), &decoded(embedding, right)));
    if same { Ok(()) } else { Err(Error::TiedHeadDiffers { path: head.path.to_owned() }) }
}

/// Bit by bit, so that −0 differs from 0 and NaN equals itself.
fn equal_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// Bytes of one value, of a type that [`check_dtype`] accepts.
fn element_bytes(view: &TensorView<'_>) -> usize {
    if view.dtype() == Dtype::F32 { 4 } else { 2 }
}

fn chunks<'a>(view: &TensorView<'a>) -> rayon::slice::Chunks<'a, u8> {
    view.data().par_chunks(CHUNK * element_bytes(view))
}

/// A part of a tensor's bytes as f32.
fn decoded(view: &TensorView<'_>, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / element_bytes(view)];
    decode_into(view.dtype(), bytes, &mut values);
    values
}

/// A tensor as f32. Pages of the file are released as soon as they are read, so that loading needs little
/// more memory than the weights.
fn decode(stored: &Stored<'_>) -> Result<Vec<f32>> {
    by_chunks(stored, |bytes, out| decode_into(stored.view.dtype(), bytes, out))
}

/// As [`decode`], of bf16 as it is.
fn decode_narrow(stored: &Stored<'_>) -> Result<Vec<bf16>> {
    by_chunks(stored, |bytes, out| each(bytes, out, bf16::from_le_bytes))
}

fn by_chunks<T: Clone + Default + Send>(
    Stored { path, map, view }: &Stored<'_>,
    convert: impl Fn(&[u8], &mut [T]) + Sync,
) -> Result<Vec<T>> {
    let mut values = vec![T::default(); view.data().len() / element_bytes(view)];
    values.par_chunks_mut(CHUNK).zip(chunks(view)).try_for_each(|(out, bytes)| {
        convert(bytes, out);
        latrace_kernels::release(map, bytes).map_err(Error::io("release the pages of", path))
    })?;
    Ok(values)
}

fn decode_into(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        // Exact: every bf16 and f16 is an f32.
        Dtype::BF16 => each(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => each(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
    }
}

/// Converts values of `N` bytes one by one.
fn each<const N: usize, T>(bytes: &[u8], out: &mut [T], value: impl Fn([u8; N]) -> T) {
    out.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(out, &bytes)| *out = value(bytes));
}
