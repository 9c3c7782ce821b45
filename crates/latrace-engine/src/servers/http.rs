//! HTTP to one server, whose requests can be interrupted.

use std::time::Duration;

use latrace_io::http::{USER_AGENT, tls};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

use super::ask::Call;
use super::error::Trouble;

/// Idle connections are kept for less time than servers keep them (uvicorn: 5 s): a request on a connection
/// that the server is just closing fails.
const MAX_IDLE: Duration = Duration::from_secs(3);

/// Most bytes of a response. A log-prob of a prompt takes about a hundred.
const MAX_BODY: u64 = 1 << 30;

/// Most characters of a server's own message in an error.
const MAX_MESSAGE: usize = 300;

/// The header with the whole seed of a sample, to find it in the logs of a proxy. The fake server draws with
/// it, so that it draws what the built-in engine does.
pub(super) const SEED_HEADER: &str = "x-latrace-seed";

/// A client of one server.
#[derive(Debug)]
pub(super) struct Http {
    agent: Agent,
    base: String,
    key: Option<String>,
}

impl Http {
    /// A client with `connections` at a time. The key goes into a header of every request, and into no
    /// message.
    pub fn new(base: &str, key: Option<&str>, connections: usize) -> Http {
        let config = Agent::config_builder()
            .tls_config(tls())
            .user_agent(USER_AGENT)
            // Servers are named by the user: a proxy of the environment is for the outside.
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_age(MAX_IDLE)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(15)))
            .build();
        Http { agent: config.into(), base: base.to_owned(), key: key.map(str::to_owned) }
    }

    /// The body of what is at `path`.
    pub fn get(&self, path: &str, limit: Duration) -> Result<Vec<u8>, Trouble> {
        self.read(self.prepared(self.agent.get(format!("{}{path}", self.base)), limit).call())
    }

    /// The body of the response to a call.
    pub fn post(&self, call: &Call, limit: Duration) -> Result<Vec<u8>, Trouble> {
        let request = self.prepared(self.agent.post(format!("{}{}", self.base, call.path)), limit);
        let request = request.header("content-type", "application/json");
        let request = match call.seed {
            Some(seed) => request.header(SEED_HEADER, seed.to_string()),
            None => request,
        };
        self.read(request.send(call.body.to_string().as_bytes()))
    }

    fn prepared<T>(&self, request: RequestBuilder<T>, limit: Duration) -> RequestBuilder<T> {
        let request = request.config().timeout_global(Some(limit)).build();
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// Interrupts all requests; later ones fail.
    pub fn close(&self) {
        self.agent.clone().shutdown();
    }

    fn read(&self, response: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Trouble> {
        let broken = |error: ureq::Error| Trouble::Passing(self.without_key(error.to_string()));
        let mut response = response.map_err(broken)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec().map_err(broken)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        Err(of_status(status, &self.without_key(message(&body))))
    }

    /// A server may quote the header that it refuses.
    fn without_key(&self, text: String) -> String {
        match &self.key {
            Some(key) => text.replace(key, "(the key)"),
            None => text,
        }
    }
}

fn of_status(status: u16, message: &str) -> Trouble {
    let what = format!("it answers with status {status}: {message}");
    match status {
        401 | 403 => Trouble::Refused(format!("{what} (the key is that of LATRACE_SERVER_KEY)")),
        // "Request timeout" and "too many requests" are a proxy's way of saying "later".
        408 | 429 | 500.. => Trouble::Passing(what),
        _ => Trouble::Final(what),
    }
}

/// The message in the body of an error, shortened.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let stated = serde_json::from_slice::<Value>(body).ok().and_then(|value| stated(&value));
    let message = stated.unwrap_or_else(|| text.into_owned());
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None if message.is_empty() => "no message".to_owned(),
        None => message,
    }
}

/// vLLM and SGLang: `error.message`, formerly `message`; FastAPI: `detail`.
fn stated(value: &Value) -> Option<String> {
    let places = [&value["error"]["message"], &value["message"], &value["detail"], &value["error"]];
    let place = places.into_iter().find(|place| !place.is_null())?;
    Some(place.as_str().map_or_else(|| place.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_an_error_is_found_and_shortened() {
        for (body, expected) in [
            (r#"{"error":{"message":"no such model","code":404}}"#, "no such model"),
            (r#"{"object":"error","message":"too long"}"#, "too long"),
            (r#"{"detail":"Not\n Found"}"#, "Not Found"),
            (r#"{"detail":[{"loc":["body"]}]}"#, r#"[{"loc":["body"]}]"#),
            ("<h1>Bad gateway</h1>", "<h1>Bad gateway</h1>"),
            ("", "no message"),
        ] {
            assert_eq!(message(body.as_bytes()), expected);
        }
        let long = message("ä".repeat(1000).as_bytes());
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_MESSAGE + 1, true));
    }

    #[test]
    fn statuses_that_may_pass_are_told_from_final_ones() {
        for (status, passes) in
            [(400, false), (404, false), (307, false), (429, true), (500, true), (503, true)]
        {
            assert_eq!(matches!(of_status(status, ""), Trouble::Passing(_)), passes, "{status}");
        }
        assert!(of_status(401, "").detail().contains("LATRACE_SERVER_KEY"));
    }

    #[test]
    fn a_key_that_is_quoted_back_does_not_reach_a_message() {
        let http = Http::new("http://127.0.0.1:1", Some("sesame"), 1);
        assert_eq!(http.without_key("Bearer sesame is wrong".to_owned()), "Bearer (the key) is wrong");
    }
}
