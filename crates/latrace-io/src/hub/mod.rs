//! Models and data sets of the Hugging Face hub, as folders and files of this machine.
//!
//! The cache is that of `huggingface_hub` (`HF_HOME`, refs and snapshots), so that each finds what the other
//! has loaded. A small client of our own, since both lines of the `hf-hub` crate bring packages under the
//! MPL, and neither heeds `HF_TOKEN`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE`.

mod cache;
mod client;
mod repository;
pub mod upload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::failure::Failure;
use cache::Cache;
use client::{Client, ClientError, Listing};
use repository::{Repository, RepositoryKind};

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// From now on, this process takes models and data sets from the cache alone, as with `HF_HUB_OFFLINE`: for commands that
/// promise to make no network requests.
pub fn stay_offline() {
    OFFLINE.store(true, Ordering::Relaxed);
}

/// The folder of a model: `name` itself where it exists or cannot be a hub id, otherwise the hub's
/// `org/name[@revision]`, downloaded if necessary.
///
/// # Errors
/// A hub id that is neither cached nor reachable.
pub fn model_folder(name: &(impl AsRef<Path> + ?Sized)) -> Result<PathBuf> {
    let path = name.as_ref();
    match named_model(path) {
        Some(repository) => Hub::from_environment()?.model(&repository),
        None => Ok(path.to_owned()),
    }
}

/// The model of the hub that a path names, unless there is a folder of that name.
fn named_model(path: &Path) -> Option<Repository> {
    if path.exists() {
        return None;
    }
    Repository::parse(RepositoryKind::Model, path.to_str()?)
}

/// Whether a name is a model of the hub: no folder, but what could be an id.
#[must_use]
pub fn is_model_of_hub(name: &str) -> bool {
    named_model(Path::new(name)).is_some()
}

/// Files of a data set of the hub, `org/name[@revision]`, whose paths within it match one of `patterns` (`*`
/// stands for any characters), in the patterns' order and by name within each.
///
/// # Errors
/// No hub id; a data set that is neither cached nor reachable, or has no such file.
pub fn dataset_files(id: &str, patterns: &[impl AsRef<str>]) -> Result<Vec<PathBuf>> {
    let patterns: Vec<&str> = patterns.iter().map(AsRef::as_ref).collect();
    let repository = Repository::parse(RepositoryKind::Dataset, id)
        .ok_or_else(|| Failure::work(format!("{id} is not a hub id: expected org/name[@revision]")))?;
    Hub::from_environment()?.files(&repository, &patterns)
}

/// Files of one part (`train`, `test`, …) of the questions that a recipe names: a path, or the hub's
/// `org/name[@revision][:pattern]`, by default all its Parquet files with the part's name in theirs.
///
/// # Errors
/// As [`dataset_files`]. A path that is no hub id is not looked at.
pub fn part_files(name: &str, part: &str) -> Result<Vec<PathBuf>> {
    match named_dataset(name) {
        None => Ok(vec![PathBuf::from(name)]),
        Some((id, Some(pattern))) => dataset_files(id, &[pattern]),
        Some((id, None)) => dataset_files(id, &[format!("*{part}*.parquet")]),
    }
}

/// Whether a name is a data set of the hub, as [`part_files`] takes it.
#[must_use]
pub fn is_dataset_of_hub(name: &str) -> bool {
    named_dataset(name).is_some()
}

/// The id and the pattern of a data set of the hub; none for the name of a file.
fn named_dataset(name: &str) -> Option<(&str, Option<&str>)> {
    let path = Path::new(name);
    let (id, pattern) = name.split_once(':').map_or((name, None), |(id, pattern)| (id, Some(pattern)));
    // By its extension even if it does not exist: `data/train.jsonl` could be a hub id, but was not meant as
    // one.
    let is_file = path.exists()
        || path
            .extension()
            .is_some_and(|extension| ["jsonl", "parquet"].iter().any(|known| extension == *known));
    let is_id = Repository::parse(RepositoryKind::Dataset, id).is_some();
    (is_id && (!is_file || pattern.is_some())).then_some((id, pattern))
}

/// How this machine reaches the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The hub's endpoint; none where `HF_HUB_OFFLINE` is set.
    pub endpoint: Option<String>,
    /// Whether there is a token for private repositories.
    pub has_token: bool,
    /// The cache's root folder.
    pub cache: PathBuf,
    /// Why the hub does not answer; none where it does, or is not to be asked.
    pub problem: Option<String>,
}

/// How this machine reaches the hub, according to the environment, and whether it answers.
///
/// # Errors
/// The user has no home directory.
pub fn reach() -> Result<Reach> {
    let Hub { cache, client } = Hub::from_environment()?;
    let has_token = client.as_ref().is_some_and(Client::has_token);
    let problem = client.as_ref().and_then(|client| client.check_reachable().err());
    Ok(Reach {
        problem: problem.map(|error| error.to_string()),
        endpoint: client.map(|client| client.endpoint().to_owned()),
        has_token,
        cache: cache.root().to_owned(),
    })
}

/// The hub, as configured on this machine.
#[derive(Debug)]
struct Hub {
    cache: Cache,
    /// None when offline: only the cache is used.
    client: Option<Client>,
}

/// Files other than the weights.
const MODEL_FILES: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    cache::INDEX,
];

impl Hub {
    fn from_environment() -> Result<Hub> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        // The values that `huggingface_hub` takes for true.
        let offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str()));
        let offline = offline || OFFLINE.load(Ordering::Relaxed);
        let home = cache::home(&variable)?;
        let token = variable("HF_TOKEN").or_else(|| cache::stored_token(&home));
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let cache = Cache::new(variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from));
        Ok(Hub { cache, client: (!offline).then(|| Client::new(endpoint, token)) })
    }

    fn model(&self, repository: &Repository) -> Result<PathBuf> {
        let known =
            self.cache.snapshot(repository).filter(|snapshot| cache::missing_of_model(snapshot).is_empty());
        self.snapshot(repository, "model", known, |client, commit, files| {
            self.load_model(client, repository, commit, files)
        })
    }

    /// In two rounds: only the index, loaded in the first, names the files of the second.
    fn load_model(
        &self,
        client: &Client,
        repository: &Repository,
        commit: &str,
        files: &[String],
    ) -> Result<PathBuf> {
        let wanted: Vec<&str> = MODEL_FILES.into_iter().filter(|name| has(files, name)).collect();
        let snapshot = self.load(client, repository, commit, &wanted)?;
        let weights = cache::weights(&snapshot)?;
        if let Some(name) = absent(files, &weights) {
            return Err(incomplete(repository, name).into());
        }
        self.load(client, repository, commit, &weights)
    }

    fn files(&self, repository: &Repository, patterns: &[&str]) -> Result<Vec<PathBuf>> {
        let held = |snapshot: &Path| repository::matching(&cache::files_under(snapshot), patterns);
        let known = self.cache.snapshot(repository).filter(|snapshot| !held(snapshot).is_empty());
        let what = format!("data set with a file like {}", patterns.join(", "));
        let snapshot = self.snapshot(repository, &what, known, |client, commit, files| {
            self.load_matching(client, repository, commit, files, patterns)
        })?;
        Ok(held(&snapshot).into_iter().map(|name| snapshot.join(name)).collect())
    }

    fn load_matching(
        &self,
        client: &Client,
        repository: &Repository,
        commit: &str,
        files: &[String],
        patterns: &[&str],
    ) -> Result<PathBuf> {
        let wanted = repository::matching(files, patterns);
        if wanted.is_empty() {
            return Err(no_match(repository, files, patterns).into());
        }
        self.load(client, repository, commit, &wanted)
    }

    /// The snapshot that `load` makes of the hub's newest commit and its files; falls back to `known` where the
    /// hub cannot be reached.
    fn snapshot(
        &self,
        repository: &Repository,
        what: &str,
        known: Option<PathBuf>,
        load: impl FnOnce(&Client, &str, &[String]) -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        // A commit is immutable: no request is needed.
        if let Some(known) = known.as_ref().filter(|_| repository.is_commit()) {
            return Ok(known.clone());
        }
        let Some(client) = &self.client else {
            let told = OFFLINE.load(Ordering::Relaxed);
            let why = if told { "this command makes no network requests" } else { "HF_HUB_OFFLINE is set" };
            return known.ok_or_else(|| self.out_of_reach(repository, what, why.to_owned()));
        };
        match (listing(client, repository), known) {
            (Ok(listing), _) => load(client, &listing.commit, &listing.files),
            (Err(ClientError::Unreachable { url, reason }), Some(known)) => {
                tracing::warn!(
                    "cannot reach {url} ({reason}); {repository} is taken from the cache as it was"
                );
                Ok(known)
            }
            (Err(ClientError::Unreachable { url, reason }), None) => {
                Err(self.out_of_reach(repository, what, format!("cannot reach {url}: {reason}")))
            }
            (Err(error), _) => Err(refused(repository, &error)),
        }
    }

    fn load(
        &self,
        client: &Client,
        repository: &Repository,
        commit: &str,
        names: &[impl AsRef<str>],
    ) -> Result<PathBuf> {
        let snapshot = self.cache.snapshot_of(repository, commit);
        for name in names {
            let name = name.as_ref();
            client.download(repository, commit, name, &snapshot.join(name)).map_err(|error| match error {
                ClientError::Unreachable { url, reason } => self.out_of_reach(
                    repository,
                    repository.kind.noun(),
                    format!("cannot reach {url}: {reason}"),
                ),
                other => refused(repository, &other),
            })?;
        }
        // After the files, so that a revision never leads to an empty snapshot.
        self.cache.set_reference(repository, commit)?;
        Ok(snapshot)
    }

    fn out_of_reach(&self, repository: &Repository, what: &str, reason: String) -> anyhow::Error {
        let message = format!(
            "{repository} is no {what} on this machine, and is not in the hub's cache {}; {reason}",
            self.cache.root().display()
        );
        Failure::work(message).hint(repository.kind.remedy()).into()
    }
}

fn has(files: &[String], name: &str) -> bool {
    files.iter().any(|file| file == name)
}

/// A file that a model with these weights needs, and that is not among `files`.
fn absent<'a>(files: &[String], weights: &'a [String]) -> Option<&'a str> {
    let needed = weights.iter().map(String::as_str).chain(["config.json"]);
    needed.into_iter().find(|name| !has(files, name))
}

fn incomplete(repository: &Repository, name: &str) -> Failure {
    Failure::work(format!("{repository} on the hub has no {name}"))
        .hint("a model is config.json, weights in safetensors and tokenizer.json")
}

fn no_match(repository: &Repository, files: &[String], patterns: &[&str]) -> Failure {
    let message = format!("{repository} on the hub has no file like {}", patterns.join(", "));
    Failure::work(message).hint(format!("it has {}", shown(files)))
}

/// The hub's listing of a revision, requested once, so that a command sees one commit throughout even if the
/// revision moves meanwhile.
fn listing(client: &Client, repository: &Repository) -> Result<Listing, ClientError> {
    static ASKED: Mutex<BTreeMap<String, Listing>> = Mutex::new(BTreeMap::new());
    let key = format!("{}/{}", client.endpoint(), repository.listing_path());
    // Held during the request, so that two threads that ask at once get the same commit.
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = asked.get(&key) {
        return Ok(known.clone());
    }
    let listing = client.listing(repository)?;
    asked.insert(key, listing.clone());
    Ok(listing)
}

fn refused(repository: &Repository, error: &ClientError) -> anyhow::Error {
    let message = format!("cannot load {repository} from the hub: {error}");
    let hint = match error {
        ClientError::Status { status: 401 | 403, .. } => {
            "it is private, or its terms must be accepted on its page first; then set HF_TOKEN to a token that may read it"
        }
        ClientError::Status { status: 404, .. } => "check the spelling of org/name and the revision behind @",
        _ => "the same command resumes the download",
    };
    Failure::work(message).hint(hint).into()
}

fn shown(files: &[String]) -> String {
    const SHOWN: usize = 8;
    let more = if files.len() > SHOWN { format!(" and {} more", files.len() - SHOWN) } else { String::new() };
    format!("{}{more}", files[..files.len().min(SHOWN)].join(", "))
}

#[cfg(test)]
mod tests;
