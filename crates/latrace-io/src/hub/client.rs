//! The hub's interface: what a repository holds, and its files, over HTTPS.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::repository::Repository;
use crate::progress::Progress;

/// Suffix of the name of a partial download.
pub const INCOMPLETE: &str = ".incomplete";

/// How often an interrupted download is resumed.
const ATTEMPTS: u32 = 5;

/// Why a request to the hub failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No response.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The URL requested.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// An error status.
    #[error("{url} answers with status {status}")]
    Status {
        /// The URL requested.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A response that cannot be used.
    #[error("{url}: {reason}")]
    Unusable {
        /// The URL requested.
        url: String,
        /// What is wrong with the response.
        reason: String,
    },
    /// The response could not be stored.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

/// A commit and the names of its files.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The commit.
    pub commit: String,
    /// Its files.
    pub files: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// A client of the hub's HTTP interface.
#[derive(Debug)]
pub struct Client {
    endpoint: String,
    token: Option<String>,
    agent: Agent,
}

impl Client {
    /// A client of the hub at `endpoint`. The token goes to that host alone, never along with a redirection.
    pub fn new(endpoint: String, token: Option<String>) -> Client {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("latrace/", env!("CARGO_PKG_VERSION")))
            .build();
        Client { endpoint: endpoint.trim_end_matches('/').to_owned(), token, agent: config.into() }
    }

    /// Where the hub is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether it sends a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What a repository's revision holds.
    ///
    /// # Errors
    /// No response, or an error status.
    pub fn listing(&self, repository: &Repository) -> Result<Listing, ClientError> {
        let url = format!("{}/{}", self.endpoint, repository.listing_path());
        let mut response = self.get(&url, 0)?;
        let answer: Answer = response
            .body_mut()
            .read_json()
            .map_err(|error| ClientError::Unusable { url: url.clone(), reason: error.to_string() })?;
        let is_commit = !answer.sha.is_empty() && answer.sha.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let files: Vec<String> = answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        // These become paths: none may lead out of the snapshot.
        let stays = |name: &String| {
            Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
        };
        match files.iter().find(|name| !stays(name)) {
            _ if !is_commit => {
                Err(ClientError::Unusable { url, reason: format!("expected a commit, got {:?}", answer.sha) })
            }
            Some(name) => {
                Err(ClientError::Unusable { url, reason: format!("expected names of files, got {name:?}") })
            }
            None => Ok(Listing { commit: answer.sha, files }),
        }
    }

    /// Downloads a file of a commit to `target`, unless it is there. Resumes an earlier attempt, which is
    /// safe because a commit's file never changes.
    ///
    /// # Errors
    /// No response, an error status, or I/O errors.
    pub fn download(
        &self,
        repository: &Repository,
        commit: &str,
        name: &str,
        target: &Path,
    ) -> Result<(), ClientError> {
        let url = format!("{}/{}", self.endpoint, repository.file_path(commit, name));
        let cannot = |source| ClientError::Write { path: target.to_owned(), source };
        let partial = PathBuf::from(format!("{}{INCOMPLETE}", target.display()));
        fs::create_dir_all(target.parent().unwrap_or(Path::new("."))).map_err(cannot)?;
        if target.is_file() {
            return Ok(());
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&partial)
            .map_err(cannot)?;
        // Another process may be downloading the same file: it is complete once the lock is ours.
        file.lock().map_err(cannot)?;
        if target.is_file() {
            return Ok(());
        }
        let mut attempt = 1;
        while let Err(error) = self.fill(&url, name, &partial, &mut file) {
            let is_final = !matches!(error, ClientError::Unreachable { .. }) || attempt >= ATTEMPTS;
            if is_final {
                return Err(error);
            }
            tracing::warn!("{error}; resuming the download");
            std::thread::sleep(Duration::from_millis(300 << attempt));
            attempt += 1;
        }
        file.sync_all().and_then(|()| fs::rename(&partial, target)).map_err(cannot)
    }

    /// Downloads the rest of the file.
    fn fill(&self, url: &str, name: &str, path: &Path, file: &mut File) -> Result<(), ClientError> {
        let cannot = |source| ClientError::Write { path: path.to_owned(), source };
        let mut held = file.metadata().map_err(cannot)?.len();
        let response = match self.get(url, held) {
            // The server has no further bytes: only a fresh download can tell whether the file is complete.
            Err(ClientError::Status { status: 416, .. }) => self.get(url, 0)?,
            other => other?,
        };
        if response.status().as_u16() != 206 {
            held = 0;
            file.set_len(0).map_err(cannot)?;
        }
        file.seek(SeekFrom::Start(held)).map_err(cannot)?;
        let length = response
            .headers()
            .get("content-length")
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let total = length.map(|length| held + length);
        let mut progress = Progress::new("MB loaded", held >> 20, total.map(|total| total >> 20));
        progress.message(name.to_owned());
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = reader.read(&mut buffer).map_err(|error| ClientError::Unreachable {
                url: url.to_owned(),
                reason: error.to_string(),
            })?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).map_err(cannot)?;
            let before = held >> 20;
            held += count as u64;
            progress.advance((held >> 20) - before);
        }
        progress.finish();
        match total {
            Some(total) if total != held => Err(ClientError::Unreachable {
                url: url.to_owned(),
                reason: format!("it ended after {held} of {total} bytes"),
            }),
            _ => Ok(()),
        }
    }

    /// The response to a request for the bytes after the first `held`.
    fn get(&self, url: &str, held: u64) -> Result<Response<Body>, ClientError> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if held > 0 {
            request = request.header("range", format!("bytes={held}-"));
        }
        request.call().map_err(|error| match error {
            ureq::Error::StatusCode(status) => ClientError::Status { url: url.to_owned(), status },
            other => ClientError::Unreachable { url: url.to_owned(), reason: other.to_string() },
        })
    }
}
