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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the server")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        announce(listener.local_addr().context("the server has no address")?)?;
        let stopped = async {
            // Without a signal handler, Ctrl-C still ends the process, only without a graceful shutdown.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        axum::serve(listener, router(collector))
            .with_graceful_shutdown(stopped)
            .await
            .context("the server failed")
    })
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
        let data = Arc::new(self.collector.collect()?);
        self.last = Some((Instant::now(), data.clone()));
        Ok(data)
    }
}

fn router(collector: Collector) -> Router {
    let shared: Shared = Arc::new(Mutex::new(Served { collector, last: None }));
    Router::new()
        .route("/", get(answer_page))
        .route("/data.json", get(answer_data))
        .with_state(shared)
        .layer(from_fn(guard))
}

async fn answer_page(State(shared): State<Shared>) -> Response {
    answer(shared, "text/html; charset=utf-8", |data| page(data, PageUse::Served)).await
}

async fn answer_data(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let mut response = answer(shared, "application/json", serde_json::to_string).await;
    if response.status() == StatusCode::OK && response.headers().get(ETAG) == headers.get(IF_NONE_MATCH) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    response
}

/// Reads the run on a blocking thread, and responds with the result, or with the error chain.
async fn answer(
    shared: Shared,
    kind: &'static str,
    make: fn(&ReportData) -> serde_json::Result<String>,
) -> Response {
    let text = tokio::task::spawn_blocking(move || -> Result<String> {
        // A poisoned lock is safe to use: the cached response is replaced only once a new one is complete.
        let data = shared.lock().unwrap_or_else(PoisonError::into_inner).data()?;
        Ok(make(&data)?)
    });
    match text.await {
        Ok(Ok(text)) => {
            let tag = format!("\"{:08x}-{}\"", crc32c::crc32c(text.as_bytes()), text.len());
            ([(CONTENT_TYPE, kind.to_owned()), (ETAG, tag)], text).into_response()
        }
        Ok(Err(error)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            format!("{error:#}"),
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Accepts only host names that cannot be rebound to this machine (DNS rebinding), and sends the content
/// security policy.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let mut response = if host.is_some_and(is_own_name) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "address this server by its IP address or as localhost\n").into_response()
    };
    let policy = format!("{}; frame-ancestors 'none'", policy(PageUse::Served));
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Whether a `Host` header is an IP address or `localhost`. A foreign domain that resolves to this machine is
/// neither.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(inner, _)| inner),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
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
