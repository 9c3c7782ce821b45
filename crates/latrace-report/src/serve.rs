//! The report over HTTP, updated while the run is in progress: the page, and its data, which the page polls.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::Collector;
use super::ReportData;
use super::page::{PageUse, page, policy};

/// Time for which a response is cached, so that many readers cost no more than one.
const FRESH: Duration = Duration::from_secs(1);

/// Serves the report of a run at `address` until Ctrl-C; `announce` gets the address once the server listens.
///
/// # Errors
/// The folder is not a run folder; the address is in use.
pub fn serve(run: &Path, address: SocketAddr, announce: impl FnOnce(SocketAddr) -> Result<()>) -> Result<()> {
    let mut collector = Collector::new(run);
    // Collect once first, so that a wrong folder is an error of the command, not a message in the browser.
    collector.collect()?;
    runtime()?.block_on(listen(collector, address, announce))
}

fn runtime() -> Result<Runtime> {
    // One thread suffices: reading the run takes place on blocking threads.
    Builder::new_current_thread().enable_all().build().context("cannot start the server")
}

async fn listen(
    collector: Collector,
    address: SocketAddr,
    announce: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let listener = bind(address).await?;
    // The listener knows its port; port 0 stands for one that the system chooses.
    announce(listener.local_addr().context("the server has no address")?)?;
    let server = axum::serve(listener, router(collector)).with_graceful_shutdown(interrupted());
    server.await.context("the server failed")
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Ends at Ctrl-C.
async fn interrupted() {
    // Without a signal handler, Ctrl-C still ends the process, only without a graceful shutdown.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

type Shared = Arc<Mutex<Served>>;

/// The run, and the cached response.
struct Served {
    collector: Collector,
    last: Option<(Instant, Arc<ReportData>)>,
}

impl Served {
    fn data(&mut self) -> Result<Arc<ReportData>> {
        if let Some((at, data)) = &self.last
            && at.elapsed() < FRESH
        {
            return Ok(data.clone());
        }
        // Readers that arrive meanwhile wait for the lock, and then find this response. It is fresh from here
        // on, since a large run may take longer to read than a response stays so.
        let data = Arc::new(self.collector.collect()?);
        self.last = Some((Instant::now(), data.clone()));
        Ok(data)
    }
}

fn router(collector: Collector) -> Router {
    // No other paths: the server never serves files of the run folder.
    Router::new()
        .route("/", get(answer_page))
        .route("/data.json", get(answer_data))
        .with_state(shared(collector))
        // After the routes: a layer applies to those before it alone.
        .layer(from_fn(guard))
}

fn shared(collector: Collector) -> Shared {
    Arc::new(Mutex::new(Served { collector, last: None }))
}

async fn answer_page(State(shared): State<Shared>) -> Response {
    answer(shared, "text/html; charset=utf-8", |data| page(data, PageUse::Served)).await
}

async fn answer_data(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let response = answer(shared, "application/json", serde_json::to_string).await;
    // Two missing tags are equal too, which is why the status is tested as well: an error has none.
    let is_known = response.headers().get(ETAG) == headers.get(IF_NONE_MATCH);
    // The page polls, and most of the time nothing has changed: no body is sent then.
    if response.status() == StatusCode::OK && is_known { unchanged(response) } else { response }
}

fn unchanged(mut response: Response) -> Response {
    // The headers stay: such a response repeats the tag.
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::empty();
    response
}

/// Makes the text of a response from the run's data.
type Render = fn(&ReportData) -> serde_json::Result<String>;

/// Reads the run on a blocking thread, and responds with the result, or with the error chain.
async fn answer(shared: Shared, kind: &'static str, render: Render) -> Response {
    match tokio::task::spawn_blocking(move || rendered(&shared, render)).await {
        Ok(Ok(text)) => tagged(kind, text),
        Ok(Err(error)) => failed(&error),
        // A panic, which has already printed its message.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn rendered(shared: &Shared, render: Render) -> Result<String> {
    // A poisoned lock is safe to use: the cached response is replaced only once a new one is complete.
    let data = shared.lock().unwrap_or_else(PoisonError::into_inner).data()?;
    Ok(render(&data)?)
}

fn tagged(kind: &'static str, text: String) -> Response {
    ([(CONTENT_TYPE, kind.to_owned()), (ETAG, tag_of(&text))], text).into_response()
}

fn tag_of(text: &str) -> String {
    format!("\"{:08x}-{}\"", crc32c::crc32c(text.as_bytes()), text.len())
}

fn failed(error: &anyhow::Error) -> Response {
    let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::INTERNAL_SERVER_ERROR, kind, format!("{error:#}")).into_response()
}

/// Accepts only host names that cannot be rebound to this machine (DNS rebinding), and adds the headers of
/// security.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let mut response = if host.is_some_and(is_own_name) { next.run(request).await } else { wrong_host() };
    secure(response.headers_mut());
    response
}

fn wrong_host() -> Response {
    (StatusCode::FORBIDDEN, "address this server by its IP address or as localhost\n").into_response()
}

/// Adds the content security policy, and forbids other sites to embed or read what is served.
fn secure(headers: &mut HeaderMap) {
    // Browsers heed this directive in a header alone, not in the page's own policy.
    let policy = format!("{}; frame-ancestors 'none'", policy(PageUse::Served));
    // Always so: the policy is ASCII.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // The page's script keeps the tag itself, and needs no cache of the browser's for it.
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
}

/// Whether a `Host` header is an IP address or `localhost`. A foreign domain that resolves to this machine is
/// neither.
fn is_own_name(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The colons of an IPv6 address, which stands in brackets, are not the one before a port.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, expected: bool) {
        assert_eq!(is_own_name(host), expected, "{host}");
    }

    #[test]
    fn only_addresses_and_localhost_are_answered() {
        check("127.0.0.1:8080", true);
        check("localhost", true);
        check("LocalHost:80", true);
        check("[::1]:8080", true);
        check("192.168.1.7:9", true);
        check("attacker.example:8080", false);
        check("127.0.0.1.attacker.example", false);
        check("localhost.attacker.example:8080", false);
        check("[::1", false);
        check("", false);
    }
}
