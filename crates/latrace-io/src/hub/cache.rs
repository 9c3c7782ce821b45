//! The hub's cache on this machine: `<root>/<kind>--<org>--<name>/refs/<revision>` holds a commit,
//! `snapshots/<commit>/` its files.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::repository::Repository;
use crate::failure::Failure;
use crate::files::write_atomically;

/// The index of weight files.
pub const INDEX: &str = "model.safetensors.index.json";

/// The single weight file, if there is no index.
const WEIGHTS: &str = "model.safetensors";

/// The folder of everything that belongs to the hub: `HF_HOME`, by default in the user's cache.
///
/// # Errors
/// The user has no home directory.
pub fn home(variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let in_cache = || {
        variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
    };
    // In the order in which `huggingface_hub` looks, whose cache this is.
    let home =
        variable("HF_HOME").map(PathBuf::from).or_else(|| in_cache().map(|cache| cache.join("huggingface")));
    home.ok_or_else(|| {
        Failure::work("the user has no home folder, so there is no place for the hub's cache")
            .hint("set HF_HOME to a folder")
            .into()
    })
}

/// The token stored by the hub's own login tools.
pub fn stored_token(home: &Path) -> Option<String> {
    fs::read_to_string(home.join("token"))
        .ok()
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty())
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in a folder, which need not exist.
    pub fn new(root: PathBuf) -> Cache {
        Cache { root }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files of a repository's revision, where there are any.
    pub fn snapshot(&self, repository: &Repository) -> Option<PathBuf> {
        let folder = self.snapshot_of(repository, &self.commit_of(repository)?);
        folder.is_dir().then_some(folder)
    }

    /// The commit that a revision was when it was last loaded.
    fn commit_of(&self, repository: &Repository) -> Option<String> {
        if repository.is_commit() {
            return Some(repository.revision.clone());
        }
        // Other tools may have written it with a line feed.
        Some(fs::read_to_string(self.reference(repository)).ok()?.trim().to_owned())
    }

    /// Where the files of a commit are.
    pub fn snapshot_of(&self, repository: &Repository, commit: &str) -> PathBuf {
        self.root.join(repository.folder_name()).join("snapshots").join(commit)
    }

    /// Records which commit a revision is.
    ///
    /// # Errors
    /// I/O errors.
    pub fn set_reference(&self, repository: &Repository, commit: &str) -> Result<()> {
        if repository.is_commit() {
            return Ok(());
        }
        let path = self.reference(repository);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        write_atomically(&path, |writer| writer.write_all(commit.as_bytes()).context("cannot write a commit"))
    }

    fn reference(&self, repository: &Repository) -> PathBuf {
        self.root.join(repository.folder_name()).join("refs").join(&repository.revision)
    }
}

/// The files of weights of the model in a snapshot, by its index if it has one.
///
/// # Errors
/// An invalid index.
pub fn weights(snapshot: &Path) -> Result<Vec<String>> {
    let path = snapshot.join(INDEX);
    if !path.is_file() {
        return Ok(vec![WEIGHTS.to_owned()]);
    }
    let cannot = || format!("cannot read {}", path.display());
    let index: Value = serde_json::from_slice(&fs::read(&path).with_context(cannot)?).with_context(cannot)?;
    // The index names the file of each tensor, and so each file many times.
    let files: BTreeSet<String> = index["weight_map"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.values())
        .filter_map(|file| file.as_str().map(str::to_owned))
        .collect();
    // A name with path components could escape the snapshot.
    match files.iter().find(|name| name.contains(['/', '\\'])) {
        Some(name) => {
            Err(Failure::work(format!("{}: expected names of files, got \"{name}\"", path.display())).into())
        }
        None => Ok(files.into_iter().collect()),
    }
}

/// What the model in a snapshot lacks.
pub fn missing_of_model(snapshot: &Path) -> Vec<String> {
    let mut needed = vec!["config.json".to_owned()];
    // If the index cannot be read, the index itself counts as missing.
    needed.extend(weights(snapshot).unwrap_or_else(|_| vec![INDEX.to_owned()]));
    needed.retain(|name| !snapshot.join(name).is_file());
    needed
}

/// Names of all files of a snapshot, with `/` between folders; not what is being loaded.
pub fn files_under(snapshot: &Path) -> Vec<String> {
    let mut names = Vec::new();
    collect(snapshot, "", &mut names);
    names
}

fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    // A folder that cannot be read counts as empty: its files are downloaded again.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), names);
        } else if !name.ends_with(super::client::INCOMPLETE) {
            names.push(name);
        }
    }
}
