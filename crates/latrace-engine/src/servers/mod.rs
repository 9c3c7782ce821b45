//! Servers as an engine: vLLM and SGLang over HTTP, which generate and score.
//!
//! They are started for each model, or given by URL. Each has to serve the model under a name with the
//! fingerprint of its weights, so that one with other weights does not answer, and is probed before its first
//! request. Requests are spread over them here, one for each sample.

mod ask;
mod balance;
mod config;
mod dialect;
mod error;
mod fleet;
mod generate;
mod http;
mod launch;
mod probe;
mod queue;
mod score;
mod sglang;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod vllm;
mod work;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use latrace_io::model_folder::fingerprint;
use sha2::{Digest, Sha256};

pub use config::{ServerKind, ServersConfig};
pub use error::ServerError;

use crate::adapters::check_whole;
use crate::boundary::{Engine, EngineRole, Error, Fit, Generate, Identity, ModelShape, Score, ServerNote};
use crate::child::{SERVER_KEY, lacking, shell_line};
use dialect::{command, dialect};
use fleet::Common;
use generate::ServersGenerate;
use score::ServersScore;

/// Incremented whenever the same request is put to servers differently, so that stages of earlier runs are
/// redone.
///
/// The version that a server reports is in no key: a key has to be known before any server runs, for `--dry-run` and
/// `latrace status`, and an upgrade between two sessions would otherwise throw finished samples away. Runs keep it in
/// the records of their stages ([`ServerNote`]).
const NUMERICS: &str = "1";

/// Servers.
#[derive(Clone)]
pub struct ServersEngine {
    config: ServersConfig,
    logs: PathBuf,
    key: Option<String>,
    notes: Arc<Mutex<Vec<ServerNote>>>,
}

impl std::fmt::Debug for ServersEngine {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServersEngine").field("config", &self.config).field("logs", &self.logs).finish()
    }
}

impl ServersEngine {
    /// Servers of these settings; the logs of those that are started are in the folder `logs`.
    ///
    /// # Errors
    /// Settings that cannot be used, by their key.
    pub fn new(config: ServersConfig, logs: &Path) -> Result<ServersEngine, ServerError> {
        config.validate()?;
        let key = env::var(SERVER_KEY).ok().filter(|key| !key.is_empty());
        Ok(ServersEngine { config, logs: logs.to_owned(), key, notes: Arc::default() })
    }

    fn check_command(&self) -> Result<(), ServerError> {
        if !self.config.urls.is_empty() {
            return Ok(());
        }
        let dialect = dialect(self.config.kind);
        let command = command(dialect, &self.config);
        let Some(what) = lacking(&command) else { return Ok(()) };
        Err(ServerError::Missing { command: shell_line(&command), what, hint: dialect.install() })
    }

    fn common(&self, model: &Path) -> Result<Common> {
        self.check_command()?;
        check_whole(model, self.config.kind.name())?;
        let shape = ModelShape::read(model)?;
        let name = served_name(model)?;
        // Servers may be started in another folder.
        let absolute = fs::canonicalize(model).with_context(|| format!("cannot find {}", model.display()))?;
        if self.config.urls.is_empty() {
            let cannot = || format!("cannot make the folder {}", self.logs.display());
            fs::create_dir_all(&self.logs).with_context(cannot)?;
        }
        Ok(Common {
            dialect: dialect(self.config.kind),
            config: self.config.clone(),
            model: absolute,
            name,
            shape,
            key: self.key.clone().filter(|_| !self.config.urls.is_empty()),
            logs: self.logs.clone(),
            notes: Arc::clone(&self.notes),
        })
    }
}

/// The name under which a server has to serve a model: that of its folder, and the fingerprint of its
/// configuration and weights.
///
/// # Errors
/// A folder that cannot be read.
pub fn served_name(model: &Path) -> Result<String> {
    let sums = fingerprint(model)?;
    let is_of_weights = |name: &&String| *name == "config.json" || name.ends_with(".safetensors");
    let names = sums.keys().filter(is_of_weights);
    // Checksums contain sizes.
    let text: String = names.map(|name| format!("{name} {}\n", sums[name])).collect();
    let hash = Sha256::digest(text.as_bytes());
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let absolute = fs::canonicalize(model).with_context(|| format!("cannot find {}", model.display()))?;
    let folder = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let folder: String = folder.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    Ok(format!("{folder}-{hash}"))
}

impl Engine for ServersEngine {
    fn identity(&self, _: EngineRole) -> Identity {
        Identity {
            kind: self.config.kind.name().to_owned(),
            version: NUMERICS.to_owned(),
            compute: self.config.dtype.clone(),
            attention: "server".to_owned(),
            // The order of a server's sums depends on what else it has in a batch.
            exact: false,
        }
    }

    fn generator(&self, model: &Path) -> Result<Box<dyn Generate>> {
        Ok(Box::new(ServersGenerate::new(model, self.common(model)?)?))
    }

    fn scorer(&self, model: &Path) -> Result<Box<dyn Score>> {
        Ok(Box::new(ServersScore::new(self.common(model)?)?))
    }

    fn trainer(&self) -> Result<Box<dyn Fit>> {
        Err(Error::Unsupported { engine: self.config.kind.name(), what: "train" }.into())
    }

    fn check_installed(&self, _: EngineRole) -> Result<()> {
        Ok(self.check_command()?)
    }

    fn take_server_notes(&self) -> Vec<ServerNote> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
