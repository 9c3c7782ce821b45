//! An adapter on disk: `adapter_config.json` and `adapter_model.safetensors`, as PEFT has them.

use super::fields::Scales;
use super::{Adapter, PREFIX, Part, projections};
use crate::checkpoint::{SaveDtype, Tensor, copy_companions, load_file, save_file, sync_folder, write_json};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fields::{Fields, read_json};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const BASE: &str = "base_model_name_or_path";

/// Finds the folder of a base by its name; none if that is no name of the kind it knows. The error is a message.
pub type FindBase = fn(&str) -> std::result::Result<Option<PathBuf>, String>;

static FIND_BASE: OnceLock<FindBase> = OnceLock::new();

/// Sets how a base that is no folder is found: published adapters name theirs by its id on a hub, of which this crate knows
/// nothing. It is set once for the process, like a logger; later calls change nothing.
pub fn find_bases_by(find: FindBase) {
    let _ = FIND_BASE.set(find);
}

/// The folder of the base model, if `dir` is an adapter's folder.
///
/// # Errors
/// An `adapter_config.json` that cannot be read, or whose base is not there.
pub fn base_of(dir: &Path) -> Result<Option<PathBuf>> {
    let path = dir.join(CONFIG);
    if !path.exists() {
        return Ok(None);
    }
    base_in(&Fields::new(&path, &read_json(&path)?)).map(Some)
}

/// Where a model folder's file of that name is: in the folder itself, or if an adapter has none, in its base's.
///
/// # Errors
/// As [`base_of`].
pub fn model_file(dir: &Path, name: &str) -> Result<PathBuf> {
    let own = dir.join(name);
    if own.exists() {
        return Ok(own);
    }
    Ok(base_of(dir)?.map_or(own, |base| base.join(name)))
}

/// The base that an `adapter_config.json` names.
fn base_in(fields: &Fields<'_>) -> Result<PathBuf> {
    let named = fields.text(BASE)?.unwrap_or_default();
    // As it is, which is how PEFT takes it; then as seen from the adapter, so that both can be moved together.
    let beside = fields.path.with_file_name(named);
    let expected = |got: String| fields.error(BASE, "the folder of the base model", got);
    if named.is_empty() {
        return Err(expected("none".to_owned()));
    }
    let base = match [PathBuf::from(named), beside].into_iter().find(|path| path.is_dir()) {
        Some(base) => base,
        None => elsewhere(&with_revision(named, fields)?)
            .map_err(|error| expected(format!("{named:?} ({error})")))?
            .ok_or_else(|| expected(format!("{named:?}")))?,
    };
    // One adapter on another is one model with no other use, and two that name each other would have no end.
    if base.join(CONFIG).exists() {
        return Err(fields.error(BASE, "the folder of a whole model", format!("an adapter, {named:?}")));
    }
    Ok(base)
}

/// The base's name with the revision that the adapter was trained on, if it says which: `org/name@revision`.
fn with_revision(named: &str, fields: &Fields<'_>) -> Result<String> {
    let revision = fields.text("revision")?;
    Ok(revision.map_or_else(|| named.to_owned(), |revision| format!("{named}@{revision}")))
}

fn elsewhere(named: &str) -> std::result::Result<Option<PathBuf>, String> {
    FIND_BASE.get().map_or(Ok(None), |find| find(named))
}

/// Reads the adapter in `dir` of a model with this configuration, and its values: A and B of each part.
///
/// # Errors
/// A kind of adapter that is not supported; tensors that do not fit the model.
pub(crate) fn load(dir: &Path, config: &Config) -> Result<(Adapter, Vec<Vec<f32>>)> {
    let path = dir.join(CONFIG);
    let raw: Map<String, Value> = read_json(&path)?;
    let fields = Fields::new(&path, &raw);
    let (scales, base) = (Scales::read(&fields)?, base_in(&fields)?);
    let (parts, values) = load_file(&dir.join(WEIGHTS), |shapes| {
        let parts = parts(shapes, config, &scales)?;
        let parameters = parts.iter().flat_map(Part::parameters).collect();
        Ok((parts, parameters))
    })?;
    if parts.is_empty() {
        return Err(Error::MissingTensor {
            path: dir.join(WEIGHTS),
            name: format!("{PREFIX}….lora_A.weight"),
        });
    }
    Ok((Adapter { base, parts, raw }, values))
}

/// What the tensors of a file adapt, in the order of the model's projections.
fn parts(shapes: &BTreeMap<String, Vec<usize>>, config: &Config, scales: &Scales<'_>) -> Result<Vec<Part>> {
    let part = |(module, shape): (String, [usize; 2])| {
        let [a, _] = Part::names(&module);
        let rank = *shapes.get(&a)?.first()?;
        Some(scales.part(&module, shape, rank))
    };
    projections(config).into_iter().filter_map(part).collect()
}

/// Writes an adapter into the existing folder `out`, with the companions of `source`. No `config.json`: transformers takes
/// a folder with one for a model that has all of its weights.
pub(crate) fn save(
    out: &Path,
    adapter: &Adapter,
    tensors: &[Tensor<'_>],
    dtype: SaveDtype,
    source: &Path,
) -> Result<()> {
    copy_companions(source, out)?;
    save_file(&out.join(WEIGHTS), tensors, dtype)?;
    let mut raw = adapter.raw.clone();
    // Absolute: PEFT looks for it from wherever it runs.
    let base = adapter.base.canonicalize().map_err(Error::io("find", &adapter.base))?;
    raw.insert(BASE.to_owned(), json!(base));
    write_json(&out.join(CONFIG), &Value::Object(raw))?;
    sync_folder(out)
}
