//! The hub's interface: what a repository holds, and its files, over HTTPS.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::repository::Repository;
use crate::http::{USER_AGENT, tls};
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

impl Answer {
    /// The listing, once all of it can be part of a path.
    fn into_listing(self) -> Result<Listing, String> {
        if !is_commit(&self.sha) {
            return Err(format!("expected a commit, got {:?}", self.sha));
        }
        let files: Vec<String> = self.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        match files.iter().find(|name| !stays_inside(name)) {
            Some(name) => Err(format!("expected names of files, got {name:?}")),
            None => Ok(Listing { commit: self.sha, files }),
        }
    }
}

fn is_commit(sha: &str) -> bool {
    !sha.is_empty() && sha.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Names of files become paths, none of which may lead out of the snapshot.
fn stays_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
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
        Client { endpoint: endpoint.trim_end_matches('/').to_owned(), token, agent: agent() }
    }

    /// Where the hub is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether it sends a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The token that it sends.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Asks the hub whether it is there, within a few seconds. Any status is an answer.
    ///
    /// # Errors
    /// No response.
    pub fn check_reachable(&self) -> Result<(), ClientError> {
        let request = self.agent.head(&self.endpoint).config();
        let request =
            request.timeout_global(Some(Duration::from_secs(5))).http_status_as_error(false).build();
        match request.call() {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(ClientError::Unreachable { url: self.endpoint.clone(), reason: error.to_string() })
            }
        }
    }

    /// What a repository's revision holds.
    ///
    /// # Errors
    /// No response, or an error status.
    pub fn listing(&self, repository: &Repository) -> Result<Listing, ClientError> {
        let url = format!("{}/{}", self.endpoint, repository.listing_path());
        let answer = self.get(&url, 0)?.body_mut().read_json::<Answer>();
        let unusable = |reason: String| ClientError::Unusable { url: url.clone(), reason };
        answer.map_err(|error| unusable(error.to_string()))?.into_listing().map_err(unusable)
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
        let file = open_partial(&partial).map_err(cannot)?;
        // Another process may be downloading the same file: it is complete once the lock is ours.
        file.lock().map_err(cannot)?;
        if target.is_file() {
            return Ok(());
        }
        let mut download = Download { client: self, url, name, path: &partial, file };
        download.finish()?;
        download.file.sync_all().and_then(|()| fs::rename(&partial, target)).map_err(cannot)
    }

    /// The response to a request for the bytes after the first `held`.
    fn get(&self, url: &str, held: u64) -> Result<Response<Body>, ClientError> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            // Files are redirected to another host, which must not see it: there ureq leaves this header out.
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

fn agent() -> Agent {
    // No limit for a whole response: weights may take hours, as long as each read brings some of them.
    let config = Agent::config_builder()
        .tls_config(tls())
        .timeout_resolve(Some(Duration::from_secs(10)))
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(USER_AGENT)
        .build();
    config.into()
}

/// A download: where it comes from, and the file that holds its beginning.
struct Download<'a> {
    client: &'a Client,
    url: String,
    /// The file's name, for the progress display.
    name: &'a str,
    path: &'a Path,
    file: File,
}

impl Download<'_> {
    /// Downloads what is missing, and resumes when the connection breaks.
    fn finish(&mut self) -> Result<(), ClientError> {
        let mut attempt = 1;
        while let Err(error) = self.resume() {
            // Only a broken connection is worth another attempt: a status or a full disk would stay as it is.
            let is_final = !matches!(error, ClientError::Unreachable { .. }) || attempt >= ATTEMPTS;
            if is_final {
                return Err(error);
            }
            tracing::warn!("{error}; resuming the download");
            std::thread::sleep(Duration::from_millis(300 << attempt));
            attempt += 1;
        }
        Ok(())
    }

    /// Downloads the rest of the file.
    fn resume(&mut self) -> Result<(), ClientError> {
        let held = self.file.metadata().map_err(|source| self.cannot(source))?.len();
        let response = self.request(held)?;
        // A server may ignore the range, and send the file from its beginning.
        let held = if response.status().as_u16() == 206 { held } else { 0 };
        self.cut(held).map_err(|source| self.cannot(source))?;
        let total = content_length(&response).map(|length| held + length);
        let got = self.copy(response, held, total)?;
        self.check_length(got, total)
    }

    fn get(&self, held: u64) -> Result<Response<Body>, ClientError> {
        self.client.get(&self.url, held)
    }

    fn request(&self, held: u64) -> Result<Response<Body>, ClientError> {
        match self.get(held) {
            // The server has no further bytes: only a fresh download can tell whether the file is complete.
            Err(ClientError::Status { status: 416, .. }) => self.get(0),
            other => other,
        }
    }

    /// Cuts the file to its first `held` bytes, and goes to its end.
    fn cut(&mut self, held: u64) -> io::Result<()> {
        self.file.set_len(held)?;
        self.file.seek(SeekFrom::Start(held)).map(drop)
    }

    /// Appends the response to the `held` bytes; how many there are then.
    fn copy(
        &mut self,
        response: Response<Body>,
        mut held: u64,
        total: Option<u64>,
    ) -> Result<u64, ClientError> {
        let mut progress = Progress::new("MB loaded", held >> 20, total.map(|total| total >> 20));
        progress.message(self.name.to_owned());
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = reader.read(&mut buffer).map_err(|error| self.broken(error.to_string()))?;
            if count == 0 {
                break;
            }
            self.file.write_all(&buffer[..count]).map_err(|source| self.cannot(source))?;
            // The difference of two rounded totals: a read is less than a megabyte, and would count as none.
            let before = held >> 20;
            held += count as u64;
            progress.advance((held >> 20) - before);
        }
        progress.finish();
        Ok(held)
    }

    /// A response that ends early is an error that another attempt may cure.
    fn check_length(&self, got: u64, total: Option<u64>) -> Result<(), ClientError> {
        let Some(total) = total.filter(|&total| total != got) else { return Ok(()) };
        Err(self.broken(format!("it ended after {got} of {total} bytes")))
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), reason }
    }

    fn cannot(&self, source: io::Error) -> ClientError {
        ClientError::Write { path: self.path.to_owned(), source }
    }
}

fn open_partial(path: &Path) -> io::Result<File> {
    // Not truncated: what is there is the beginning of the file.
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

fn content_length(response: &Response<Body>) -> Option<u64> {
    response.headers().get("content-length")?.to_str().ok()?.parse().ok()
}
