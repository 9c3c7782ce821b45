//! Identity of model folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

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
    let cannot = || format!("cannot read the folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let header =
                header(&path).with_context(|| format!("{} is no safetensors file", path.display()))?;
            shapes.extend(header.into_iter().map(|(name, tensor)| (name, tensor.shape)));
        }
    }
    anyhow::ensure!(!shapes.is_empty(), "{} has no weights: expected *.safetensors", folder.display());
    Ok(shapes)
}

/// A tensor, as the header of a file describes it.
#[derive(Deserialize)]
struct Tensor {
    shape: Vec<u64>,
    /// Where its bytes begin and end behind the header.
    data_offsets: [u64; 2],
}

/// Longer headers are refused, as the format's own library does.
const LONGEST_HEADER: u64 = 100_000_000;

/// The header: its length as eight little-endian bytes, then JSON.
fn header(path: &Path) -> Result<BTreeMap<String, Tensor>> {
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
    Ok(tensors)
}
