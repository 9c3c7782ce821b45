//! Starting servers, and waiting until they are ready.

use std::env;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Uri;

use super::ask::parse;
use super::config::BaseUrl;
use super::dialect::{Launch, argv};
use super::error::{ServerError, Trouble};
use super::fleet::{Common, quoted};
use super::http::Http;
use crate::child::{self, Child, ChildCommand, shell_line};

/// How often a server that is starting is asked.
const POLL: Duration = Duration::from_millis(200);

/// How long it may take to say that it is ready.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Ports that are tried: between our choice of one and the server's use of it, another may take it.
const PORTS: usize = 3;

/// Where servers that are started here listen, and those of other machines.
const LOOPBACK: &str = "127.0.0.1";
const EVERYWHERE: &str = "0.0.0.0";

/// The port in the command for a server whose URL has none.
const DEFAULT_PORT: u16 = 8000;

/// Which GPUs a process sees.
const GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Where a server is, or is to be.
#[derive(Debug)]
pub(super) enum Site {
    /// Running, at this URL.
    Given(String),
    /// Started here.
    Ours {
        /// Its number.
        replica: usize,
        /// The GPUs that it is to see, unless it may see all.
        gpus: Option<String>,
    },
}

impl Site {
    pub fn is_ours(&self) -> bool {
        matches!(self, Site::Ours { .. })
    }
}

/// A server that is ready.
#[derive(Debug)]
pub(super) struct Started {
    pub label: String,
    pub base: String,
    child: Option<Child>,
    /// Most tokens of prompt and response, if it says so.
    pub max_tokens: Option<usize>,
    /// Its program's version, if it says so.
    pub version: Option<String>,
}

/// Stops servers, all at once.
pub(super) fn stop(servers: Vec<Started>) {
    child::stop_together(servers.into_iter().filter_map(|server| server.child).collect());
}

impl Started {
    /// How its process ended, if it has.
    pub fn ended(&self) -> Option<String> {
        let how = self.child.as_ref()?.exited().unwrap_or_else(|error| Some(error.to_string()))?;
        Some(format!("its process has ended: {how}"))
    }

    /// The last lines of its log.
    pub fn last_lines(&self) -> String {
        self.child.as_ref().map(Child::last_lines).unwrap_or_default()
    }
}

/// The servers of the settings.
pub(super) fn sites(common: &Common) -> Result<Vec<Site>> {
    let config = &common.config;
    if config.urls.is_empty() {
        let visible = env::var(GPUS).ok();
        let of = |replica| {
            let gpus = gpus_of(replica, config.replicas, config.gpus_per_replica, visible.as_deref())?;
            anyhow::Ok(Site::Ours { replica, gpus })
        };
        return (0..config.replicas).map(of).collect();
    }
    let mut sites = Vec::new();
    for url in &config.urls {
        let url = BaseUrl::parse(url).map_err(|detail| ServerError::Setting { key: "urls", detail })?;
        if url.is_open {
            tracing::warn!(
                "{}: requests are not encrypted: use https:// if others can see the network",
                url.text
            );
        }
        sites.push(Site::Given(url.text));
    }
    Ok(sites)
}

/// The GPUs of a replica: an equal share of the visible ones, in order. None: all that are visible.
fn gpus_of(
    replica: usize,
    replicas: usize,
    each: usize,
    visible: Option<&str>,
) -> Result<Option<String>, ServerError> {
    if replicas == 1 || each == 0 {
        return Ok(None);
    }
    let share = replica * each..(replica + 1) * each;
    let Some(visible) = visible else {
        return Ok(Some(share.map(|gpu| gpu.to_string()).collect::<Vec<_>>().join(",")));
    };
    let visible: Vec<&str> = visible.split(',').map(str::trim).filter(|gpu| !gpu.is_empty()).collect();
    let (needed, got) = (replicas * each, visible.len());
    let share = visible.get(share).ok_or_else(|| ServerError::Setting {
        key: "gpus_per_replica",
        detail: format!("{replicas} replicas of {each} GPUs need {needed}, and {GPUS} names {got}"),
    })?;
    Ok(Some(share.join(",")))
}

/// Starts a server, or finds it; gives it once it is ready. Gives up when `is_over`.
pub(super) fn start(common: &Common, site: &Site, is_over: &dyn Fn() -> bool) -> Result<Started> {
    match site {
        Site::Given(url) => {
            let server = Waiting { common, label: format!("server {url}"), base: url.clone(), child: None };
            server.wait(is_over)
        }
        Site::Ours { replica, gpus } => start_ours(common, *replica, gpus.as_deref(), is_over),
    }
}

fn start_ours(
    common: &Common,
    replica: usize,
    gpus: Option<&str>,
    is_over: &dyn Fn() -> bool,
) -> Result<Started> {
    let label = format!("{} server {replica}", common.dialect.name());
    let mut tried = 1;
    loop {
        let port = free_port().with_context(|| format!("{label}: cannot find a free port"))?;
        let child = Child::start(&command(common, replica, gpus, port, &label))?;
        let base = format!("http://{LOOPBACK}:{port}");
        tracing::info!("{label}: starting at {base}; its log is {}", child.log().display());
        let server = Waiting { common, label: label.clone(), base, child: Some(child) };
        match server.wait(is_over) {
            Err(error) if tried < PORTS && is_taken(&error) => {
                tracing::warn!("{label}: another process has taken its port; starting it with another");
                tried += 1;
            }
            outcome => return outcome,
        }
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("address already in use") || text.contains("errno 98")
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((LOOPBACK, 0))?.local_addr()?.port())
}

fn command(common: &Common, replica: usize, gpus: Option<&str>, port: u16, label: &str) -> ChildCommand {
    let Common { config, dialect, model, name, shape, logs, .. } = common;
    let launch = Launch { config, model, name, host: LOOPBACK, port, positions: shape.positions };
    let mut env = dialect.environment();
    if let Some(gpus) = gpus {
        env.push((GPUS.to_owned(), Some(gpus.to_owned())));
    }
    ChildCommand {
        name: label.to_owned(),
        argv: argv(*dialect, &launch),
        env,
        log: logs.join(format!("{}-{replica}.log", config.kind.name())),
    }
}

/// A server that is not ready yet.
struct Waiting<'a> {
    common: &'a Common,
    label: String,
    base: String,
    child: Option<Child>,
}

/// How a server that is not ready is.
enum NotYet {
    /// It does not answer, or loads its model.
    Silent(String),
    /// It serves other models.
    Others(Vec<String>),
}

impl Waiting<'_> {
    fn wait(self, is_over: &dyn Fn() -> bool) -> Result<Started> {
        let http = self.common.http(&self.base, 1);
        let limit = Instant::now() + self.common.start_limit();
        let mut has_said = false;
        loop {
            self.check_process()?;
            let not_yet = match self.look(&http)? {
                Ok(max_tokens) => return Ok(self.ready(&http, max_tokens)),
                Err(not_yet) => not_yet,
            };
            if is_over() || Instant::now() > limit {
                return Err(self.too_late(&not_yet).into());
            }
            if self.child.is_none() && !has_said {
                tracing::info!("{}: {}; waiting for it", self.label, self.wanted(&not_yet));
                has_said = true;
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it serves the model; how many tokens it takes, if it says so.
    fn look(&self, http: &Http) -> Result<Result<Option<usize>, NotYet>> {
        let listing = http.get("/health", ANSWER_LIMIT).and_then(|_| http.get("/v1/models", ANSWER_LIMIT));
        let body = match listing {
            Ok(body) => body,
            // It does not get better by waiting.
            Err(Trouble::Refused(detail)) => return Err(self.failed(detail).into()),
            // A gateway whose server is not there yet answers in its own ways.
            Err(trouble) => return Ok(Err(NotYet::Silent(trouble.into_detail()))),
        };
        let listing = parse::<Listing>(&body, self.common.dialect.name());
        Ok(listing.map_err(|trouble| self.failed(trouble.into_detail()))?.of(&self.common.name))
    }

    fn check_process(&self) -> Result<(), ServerError> {
        let Some(child) = &self.child else { return Ok(()) };
        match child.exited() {
            Ok(None) => Ok(()),
            Ok(Some(how)) => Err(self
                .failed(format!("it has ended before it was ready: {how}{}", quoted(&child.last_lines())))),
            Err(error) => Err(self.failed(error.to_string())),
        }
    }

    fn ready(self, http: &Http, max_tokens: Option<usize>) -> Started {
        let (path, field) = self.common.dialect.version();
        let version = http.get(path, ANSWER_LIMIT).ok().and_then(|body| version_in(&body, field));
        let shown = version.as_deref().unwrap_or("of unknown version");
        let most = max_tokens.map_or("unknown".to_owned(), |most| most.to_string());
        tracing::info!(
            "{}: ready: {} {shown}, model {}, max_model_len {most}",
            self.label,
            self.common.dialect.name(),
            self.common.name
        );
        Started { label: self.label, base: self.base, child: self.child, max_tokens, version }
    }

    fn too_late(&self, not_yet: &NotYet) -> ServerError {
        let log = self.child.as_ref().map(Child::last_lines).unwrap_or_default();
        let seconds = self.common.config.start_timeout;
        self.failed(format!("it was not ready within {seconds} s: {}{}", self.wanted(not_yet), quoted(&log)))
    }

    fn wanted(&self, not_yet: &NotYet) -> String {
        let how = match not_yet {
            NotYet::Silent(detail) if self.child.is_some() => return detail.clone(),
            NotYet::Silent(detail) => format!("it does not answer ({detail})"),
            NotYet::Others(others) => format!("it serves {}", others.join(", ")),
        };
        let Common { name, model, .. } = self.common;
        let expected = format!("{how}: expected it to serve {} under the name {name}", model.display());
        if self.child.is_some() { expected } else { format!("{expected}: {}", self.serving_command()) }
    }

    /// The command line that makes the server at a given URL what it has to be.
    fn serving_command(&self) -> String {
        let Common { config, dialect, model, name, shape, .. } = self.common;
        let uri: Uri = self.base.parse().unwrap_or_default();
        let is_here = BaseUrl::parse(&self.base).is_ok_and(|url| url.is_loopback);
        // Behind https is a proxy, which knows where its server listens.
        let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
        let host = if is_here { LOOPBACK } else { EVERYWHERE };
        let launch = Launch { config, model, name, host, port, positions: shape.positions };
        let set = dialect.environment().into_iter().filter_map(|(name, value)| Some((name, value?)));
        let words: Vec<String> = set.map(|(name, value)| format!("{name}={value}")).collect();
        shell_line(&[words, argv(*dialect, &launch)].concat())
    }

    fn failed(&self, detail: String) -> ServerError {
        ServerError::Server { server: self.label.clone(), detail }
    }
}

#[derive(Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    max_model_len: Option<usize>,
}

impl Listing {
    fn of(self, name: &str) -> Result<Option<usize>, NotYet> {
        match self.data.iter().find(|listed| listed.id == name) {
            Some(listed) => Ok(listed.max_model_len),
            None => Err(NotYet::Others(self.data.into_iter().map(|listed| listed.id).collect())),
        }
    }
}

fn version_in(body: &[u8], field: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value[field].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_share_the_visible_gpus() {
        let check = |replica, replicas, each, visible, expected: Option<&str>| {
            let got = gpus_of(replica, replicas, each, visible).unwrap();
            assert_eq!(got.as_deref(), expected, "{replica} of {replicas}, {each} each, {visible:?}");
        };
        check(0, 1, 8, Some("4,5"), None);
        check(1, 2, 0, Some("4,5"), None);
        check(1, 2, 1, None, Some("1"));
        check(1, 2, 4, None, Some("4,5,6,7"));
        check(0, 2, 2, Some("7, 5,GPU-a,GPU-b"), Some("7,5"));
        check(1, 2, 2, Some("7,5,GPU-a,GPU-b"), Some("GPU-a,GPU-b"));
        let error = gpus_of(1, 2, 2, Some("0,1,2")).unwrap_err().to_string();
        assert!(error.contains("servers.gpus_per_replica: 2 replicas of 2 GPUs need 4"), "{error}");
    }
}
