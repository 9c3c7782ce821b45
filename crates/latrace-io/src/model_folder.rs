//! Identity of model folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::files::checksum;
use crate::hub::model_folder;

/// The description of a low-rank adapter, in a folder that is one.
const ADAPTER: &str = "adapter_config.json";

/// The identity of a model: checksums of its configuration, tokenizer and weights, by file name; of an adapter, also those
/// of its base, as `base/NAME`.
///
/// # Errors
/// A folder or file that cannot be read.
pub fn fingerprint(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sums = checksums(folder)?;
    if let Some(base) = base_of(folder)? {
        sums.extend(checksums(&base)?.into_iter().map(|(name, sum)| (format!("base/{name}"), sum)));
    }
    Ok(sums)
}

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The rest, such as a README or a copy in another format, has no effect on results.
        let matters = name.ends_with(".safetensors")
            || ["config.json", "generation_config.json", "tokenizer.json", ADAPTER].contains(&name.as_str());
        if matters {
            sums.insert(name, checksum(&path)?);
        }
    }
    Ok(sums)
}

/// The folder of an adapter's base, in the form in which adapters name it: a folder, or an id on the hub. None if there is no
/// such folder, which the reader of the adapter reports.
fn base_of(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join(ADAPTER);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let config: Value =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not valid JSON", path.display()))?;
    let named = config["base_model_name_or_path"].as_str().filter(|named| !named.is_empty());
    let Some(named) = named else { return Ok(None) };
    let places = [PathBuf::from(named), folder.join(named)];
    let here = places.into_iter().find(|base| base.is_dir() && base != folder);
    let revision = config["revision"].as_str().map(|revision| format!("@{revision}")).unwrap_or_default();
    let base = here.map_or_else(|| model_folder(&format!("{named}{revision}")), Ok)?;
    Ok(Some(base).filter(|base| base.is_dir()))
}

/// Names and shapes of the tensors in a folder's `*.safetensors`, from their headers alone.
///
/// # Errors
/// No such file, or one whose header cannot be read.
pub fn tensor_shapes(folder: &Path) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut shapes = BTreeMap::new();
    for path in weight_files(folder)? {
        let (_, tensors) = header(&path)?;
        shapes.extend(tensors.into_iter().map(|(name, tensor)| (name, tensor.shape)));
    }
    anyhow::ensure!(!shapes.is_empty(), "{} has no weights: expected *.safetensors", folder.display());
    Ok(shapes)
}

/// Checks that all weights of a folder's `*.safetensors` are finite.
///
/// # Errors
/// A file that cannot be read; the first tensor with a value that is NaN or infinite.
pub fn check_finite(folder: &Path) -> Result<()> {
    for path in weight_files(folder)? {
        let (start, tensors) = header(&path)?;
        let cannot = || format!("cannot read {}", path.display());
        let mut file = File::open(&path).with_context(cannot)?;
        for (name, tensor) in &tensors {
            file.seek(SeekFrom::Start(start + tensor.data_offsets[0])).with_context(cannot)?;
            let bytes = tensor.data_offsets[1].saturating_sub(tensor.data_offsets[0]);
            let bad = not_finite((&file).take(bytes), &tensor.dtype);
            if let Some(NotFinite { first, count }) = bad.with_context(cannot)? {
                return Err(not_finite_weights(&path, name, tensor, first, count).into());
            }
        }
    }
    Ok(())
}

fn not_finite_weights(path: &Path, name: &str, tensor: &Tensor, first: u64, count: u64) -> Failure {
    let (place, all) = (place(first, &tensor.shape), tensor.shape.iter().product::<u64>());
    let values = if count == 1 { "value" } else { "values" };
    let message = format!(
        "{}: tensor {name}: expected finite values, got {count} NaN or infinite {values} of {all}, the first at {place:?}",
        path.display()
    );
    Failure::work(message).hint(
        "the training that made this model diverged, or the file is damaged: take an earlier checkpoint",
    )
}

/// Where the value of a number stands in a tensor, by axis; row-major.
fn place(mut number: u64, shape: &[u64]) -> Vec<u64> {
    let mut place: Vec<u64> = Vec::new();
    for size in shape.iter().rev() {
        place.push(number % size);
        number /= size;
    }
    place.reverse();
    place
}

/// Bytes that are read at once: a multiple of every width.
const BUFFER: usize = 1 << 20;

/// Values that are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotFinite {
    /// Number of the first one.
    first: u64,
    count: u64,
}

/// The values of a little-endian tensor that are NaN or infinite: those whose exponent has all bits. Types without such values have none.
fn not_finite(mut values: impl Read, dtype: &str) -> io::Result<Option<NotFinite>> {
    // The exponent stands in the last two bytes of each.
    let (width, exponent): (usize, u16) = match dtype {
        "F64" => (8, 0x7ff0),
        "F32" => (4, 0x7f80),
        "BF16" => (2, 0x7f80),
        "F16" => (2, 0x7c00),
        _ => return Ok(None),
    };
    let (mut found, mut number): (Option<NotFinite>, u64) = (None, 0);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        if values.by_ref().take(BUFFER as u64).read_to_end(&mut buffer)? == 0 {
            return Ok(found);
        }
        for value in buffer.chunks_exact(width) {
            let high = u16::from_le_bytes([value[width - 2], value[width - 1]]);
            if high & exponent == exponent {
                found.get_or_insert(NotFinite { first: number, count: 0 }).count += 1;
            }
            number += 1;
        }
    }
}

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let entries = fs::read_dir(folder).with_context(cannot)?;
    let mut paths =
        entries.map(|entry| Ok(entry.with_context(cannot)?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    Ok(paths)
}

/// A tensor, as the header of a file describes it.
#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    /// Where its bytes begin and end behind the header.
    data_offsets: [u64; 2],
}

/// Longer headers are refused, as the format's own library does.
const LONGEST_HEADER: u64 = 100_000_000;

/// Where a file's data begins, and its tensors by name.
fn header(path: &Path) -> Result<(u64, BTreeMap<String, Tensor>)> {
    read_header(path).with_context(|| format!("{} is no safetensors file", path.display()))
}

/// The header: its length as eight little-endian bytes, then JSON.
fn read_header(path: &Path) -> Result<(u64, BTreeMap<String, Tensor>)> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    anyhow::ensure!(length <= LONGEST_HEADER, "its header has {length} bytes");
    let held = file.metadata()?.len();
    let mut entries: Map<String, Value> = serde_json::from_reader(BufReader::new(file.take(length)))?;
    entries.remove("__metadata__");
    let tensor = |(name, value)| Ok((name, serde_json::from_value(value)?));
    let tensors = entries.into_iter().map(tensor).collect::<Result<BTreeMap<String, Tensor>>>()?;
    let last = tensors.values().map(|tensor| tensor.data_offsets[1]).max().unwrap_or(0);
    let expected = last.saturating_add(8 + length);
    anyhow::ensure!(held == expected, "expected a file of {expected} bytes, got {held}");
    Ok((8 + length, tensors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dtype: &str, values: &[&[u8]], expected: Option<(u64, u64)>) {
        let found = not_finite(values.concat().as_slice(), dtype).unwrap();
        assert_eq!(found.map(|found| (found.first, found.count)), expected, "{dtype} {values:?}");
    }

    #[test]
    fn values_that_are_not_finite_are_found_in_every_type() {
        let [nan, infinite, least] = [f32::NAN, f32::NEG_INFINITY, f32::MIN].map(f32::to_le_bytes);
        check("F32", &[&least, &nan, &least, &infinite], Some((1, 2)));
        check("F32", &[&least, &[0; 4]], None);
        check("F64", &[&f64::MAX.to_le_bytes(), &f64::INFINITY.to_le_bytes()], Some((1, 1)));
        // The upper half of an f32.
        check("BF16", &[&least[2..], &infinite[2..]], Some((1, 1)));
        check("BF16", &[&least[2..]], None);
        let [infinite, most] = [0x7c00_u16, 0x7bff].map(u16::to_le_bytes);
        check("F16", &[&most, &infinite], Some((1, 1)));
        check("I32", &[&nan], None);
        // Behind what is read at once.
        check("F32", &[&vec![0; BUFFER], &nan], Some((BUFFER as u64 / 4, 1)));
    }

    #[test]
    fn a_place_is_told_by_axis() {
        assert_eq!(place(7, &[2, 3, 2]), [1, 0, 1]);
        assert_eq!(place(0, &[]), [0; 0]);
    }
}
