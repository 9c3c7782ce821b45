//! Identity of model folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::files::checksum;

/// The identity of a model: checksums of its configuration, tokenizer and weights, by file name.
pub fn fingerprint(folder: &Path) -> Result<BTreeMap<String, String>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The rest, such as a README or a copy in another format, has no effect on results.
        let matters = name.ends_with(".safetensors")
            || ["config.json", "generation_config.json", "tokenizer.json"].contains(&name.as_str());
        if matters {
            sums.insert(name, checksum(&path)?);
        }
    }
    Ok(sums)
}
