//! Requests of an upload: the token, errors in the hub's own words, and further attempts.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

use crate::http::{USER_AGENT, tls};

/// How often a request is made that the hub or the network fails to answer.
const ATTEMPTS: u32 = 5;

/// The most of an error's text that is read and shown.
const SHOWN: usize = 300;

/// Why an upload failed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No response.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The URL requested, without its query.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// An error status.
    #[error("{url} answers with status {status}{reason}")]
    Refused {
        /// The URL requested, without its query.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said, behind a colon, if anything.
        reason: String,
    },
    /// A response that cannot be used.
    #[error("{url}: {reason}")]
    Unanswered {
        /// The URL requested, without its query.
        url: String,
        /// What is wrong with the response.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// The I/O error.
        source: io::Error,
    },
}

impl UploadError {
    /// Whether another attempt may succeed.
    fn is_passing(&self) -> bool {
        match self {
            UploadError::Unreachable { .. } => true,
            UploadError::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            UploadError::Unanswered { .. } | UploadError::Unreadable { .. } => false,
        }
    }
}

/// Makes a request again for as long as the hub or the network fails to answer it.
pub fn persistently<T>(mut request: impl FnMut() -> Result<T, UploadError>) -> Result<T, UploadError> {
    let mut attempt = 1;
    loop {
        match request() {
            Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                tracing::warn!("{error}; attempt {} of {ATTEMPTS} follows", attempt + 1);
                sleep(Duration::from_millis(200 << attempt));
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// The address without its query, which for storage holds a signature that gives access.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or(url).to_owned()
}

/// A successful response.
pub struct Reply {
    url: String,
    /// The entity tag of what was stored.
    pub etag: Option<String>,
    body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, UploadError> {
        serde_json::from_slice(&self.body).map_err(|error| self.unusable(error.to_string()))
    }

    /// The error of a response that is not what was expected.
    pub fn unusable(&self, reason: String) -> UploadError {
        UploadError::Unanswered { url: self.url.clone(), reason }
    }
}

/// The hub, and the token for it. Has no `Debug`, so that the token is never printed.
pub struct Session {
    endpoint: String,
    token: String,
    agent: Agent,
}

impl Session {
    /// A session with the hub at `endpoint`.
    pub fn new(endpoint: String, token: String) -> Session {
        Session { endpoint, token, agent: agent() }
    }

    /// The URL of a path of the hub.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.endpoint)
    }

    /// Gets a path of the hub.
    pub fn get(&self, path: &str) -> Result<Reply, UploadError> {
        let url = self.url(path);
        let authorization = self.authorization(&url).unwrap_or_default();
        persistently(|| checked(&url, self.agent.get(&url).header("authorization", &authorization).call()))
    }

    /// Posts JSON to a path of the hub.
    pub fn post(&self, path: &str, body: &Value) -> Result<Reply, UploadError> {
        let body = body.to_string();
        persistently(|| self.post_once(&self.url(path), "application/json", body.as_bytes()))
    }

    /// Posts to a URL, once. The token goes to the hub alone.
    pub fn post_once(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Reply, UploadError> {
        self.post_as(self.authorization(url), url, content_type, body)
    }

    /// Posts to an address whose signature gives access, once, without the token.
    pub fn post_signed(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Reply, UploadError> {
        self.post_as(None, url, content_type, body)
    }

    fn post_as(
        &self,
        authorization: Option<String>,
        url: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Reply, UploadError> {
        let request =
            self.agent.post(url).header("accept", content_type).header("content-type", content_type);
        let request = match authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        };
        checked(url, request.send(body))
    }

    /// Puts so many bytes of a reader to a storage's URL, once, with the headers that it asks for and without the token.
    pub fn put_once(
        &self,
        url: &str,
        headers: &[(String, String)],
        reader: &mut dyn Read,
        length: u64,
    ) -> Result<Reply, UploadError> {
        // With a length, since storages refuse bodies in chunks.
        let request = self.agent.put(url).header("content-length", length.to_string());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        checked(url, request.send(SendBody::from_reader(reader)))
    }

    fn authorization(&self, url: &str) -> Option<String> {
        let is_hub = url.strip_prefix(&self.endpoint).is_some_and(|path| path.starts_with('/'));
        is_hub.then(|| format!("Bearer {}", self.token))
    }
}

fn agent() -> Agent {
    // No limit for sending: weights may take hours. A storage joins the parts of a large file before it answers.
    let config = Agent::config_builder()
        .tls_config(tls())
        .http_status_as_error(false)
        .timeout_resolve(Some(Duration::from_secs(10)))
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(300)))
        .timeout_per_write(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(USER_AGENT)
        .build();
    config.into()
}

fn checked(url: &str, response: Result<Response<Body>, ureq::Error>) -> Result<Reply, UploadError> {
    let url = shown(url);
    let unreachable =
        |error: ureq::Error| UploadError::Unreachable { url: url.clone(), reason: error.to_string() };
    let mut response = response.map_err(unreachable)?;
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let (status, etag, said) = (response.status(), header("etag"), header("x-error-message"));
    let body = response.body_mut().read_to_vec().map_err(unreachable)?;
    if status.is_success() {
        return Ok(Reply { url, etag, body });
    }
    let reason = said.or_else(|| error_in(&body)).map_or(String::new(), |said| format!(": {said}"));
    Err(UploadError::Refused { url, status: status.as_u16(), reason })
}

/// What the body of an error says, as `error` or `message` of an object.
fn error_in(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let said = value["error"].as_str().or_else(|| value["message"].as_str())?;
    Some(said.chars().take(SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_the_hub_alone() {
        let session = Session::new("https://hub.example".to_owned(), "secret".to_owned());
        assert_eq!(session.authorization(&session.url("api/x")).as_deref(), Some("Bearer secret"));
        for elsewhere in ["https://hub.example.org/x", "https://storage.example/x", "http://hub.example/x"] {
            assert_eq!(session.authorization(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn signatures_of_addresses_are_not_shown() {
        assert_eq!(shown("https://storage.example/a?X-Signature=abc"), "https://storage.example/a");
    }

    #[test]
    fn errors_that_pass_are_those_of_the_network_and_of_busy_servers() {
        let refused = |status| UploadError::Refused { url: String::new(), status, reason: String::new() };
        for (status, passing) in
            [(400, false), (401, false), (404, false), (408, true), (429, true), (503, true)]
        {
            assert_eq!(refused(status).is_passing(), passing, "{status}");
        }
    }
}
