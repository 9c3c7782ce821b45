//! The settings `[servers]`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use ureq::http::Uri;

use super::error::ServerError;

/// Which program serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// vLLM.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
}

impl ServerKind {
    /// Its name in settings and identities.
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::Vllm => "vllm",
            ServerKind::Sglang => "sglang",
        }
    }
}

/// Servers that generate and score: those of `urls`, or ones that are started for each stage and model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServersConfig {
    /// Which program serves: `vllm` or `sglang`.
    pub kind: ServerKind,
    /// Base URLs of running servers. Each has to list the model under the name that the log states. Empty:
    /// servers are started.
    pub urls: Vec<String>,
    /// The command that starts a server; its arguments are added. Empty: `vllm serve`, or
    /// `python3 -m sglang.launch_server`.
    pub command: Vec<String>,
    /// Further arguments of the command.
    pub arguments: Vec<String>,
    /// Data type of weights and matrix products, as the server names it: `auto`, `float32`, `bfloat16`. Part
    /// of the engine's identity; servers of `urls` have to be started with it.
    pub dtype: String,
    /// Servers to start.
    pub replicas: usize,
    /// GPUs of each of them, over which the model is split; 0 on a machine without GPUs.
    pub gpus_per_replica: usize,
    /// Requests that a server has at a time.
    pub in_flight: usize,
    /// Seconds until a server has to be ready.
    pub start_timeout: u64,
    /// Seconds until a request has to be answered.
    pub request_timeout: u64,
    /// Further attempts at a request that fails for a reason that may pass.
    pub retries: u32,
}

impl Default for ServersConfig {
    fn default() -> ServersConfig {
        ServersConfig {
            kind: ServerKind::Vllm,
            urls: Vec::new(),
            command: Vec::new(),
            arguments: Vec::new(),
            dtype: "auto".to_owned(),
            replicas: 1,
            gpus_per_replica: 1,
            in_flight: 128,
            start_timeout: 1800,
            request_timeout: 7200,
            retries: 5,
        }
    }
}

/// Arguments that are ours to give, and why.
const OWN_ARGUMENTS: [(&str, &str); 5] = [
    ("--port", "each server gets a free port"),
    ("--model", "the model is that of the stage"),
    ("--model-path", "the model is that of the stage"),
    ("--served-model-name", "the name contains the fingerprint of the weights"),
    ("--api-key", "arguments are visible to everyone on the machine; set LATRACE_SERVER_KEY"),
];

impl ServersConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// The first key whose value cannot be used, and why.
    pub fn validate(&self) -> Result<(), ServerError> {
        self.check_numbers()?;
        self.check_urls()?;
        self.check_arguments()
    }

    fn check_numbers(&self) -> Result<(), ServerError> {
        let at_least_1 = [
            ("replicas", self.replicas as u64),
            ("in_flight", self.in_flight as u64),
            ("start_timeout", self.start_timeout),
            ("request_timeout", self.request_timeout),
        ];
        match at_least_1.into_iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(wrong(key, "expected at least 1, got 0")),
            None => Ok(()),
        }
    }

    fn check_urls(&self) -> Result<(), ServerError> {
        for (at, url) in self.urls.iter().enumerate() {
            let url = BaseUrl::parse(url).map_err(|detail| wrong("urls", detail))?;
            if self.urls[..at].iter().any(|other| BaseUrl::parse(other).as_ref() == Ok(&url)) {
                return Err(wrong("urls", format!("{} is given twice", url.text)));
            }
        }
        let default = ServersConfig::default();
        // Settings of servers that are started; silently ignored, they would mislead.
        let started = [
            ("replicas", self.replicas != default.replicas),
            ("command", self.command != default.command),
            ("arguments", self.arguments != default.arguments),
        ];
        match started.into_iter().find(|(_, is_given)| *is_given && !self.urls.is_empty()) {
            Some((key, _)) => {
                Err(wrong(key, "urls are given, so no server is started: remove one of the two"))
            }
            None => Ok(()),
        }
    }

    fn check_arguments(&self) -> Result<(), ServerError> {
        if self.dtype.is_empty() || self.dtype.starts_with('-') {
            return Err(wrong(
                "dtype",
                format!("expected a data type such as \"auto\", got {:?}", self.dtype),
            ));
        }
        if self.command.first().is_some_and(String::is_empty) {
            return Err(wrong("command", "expected a program, got an empty name"));
        }
        for (key, arguments) in [("command", &self.command), ("arguments", &self.arguments)] {
            let own = OWN_ARGUMENTS.iter().find(|(name, _)| states(arguments, name));
            if let Some((name, why)) = own {
                return Err(wrong(key, format!("{name} is not for you to give: {why}")));
            }
        }
        Ok(())
    }
}

fn wrong(key: &'static str, detail: impl Into<String>) -> ServerError {
    ServerError::Setting { key, detail: detail.into() }
}

/// Whether a command line has the option `name`, as `--name value` or `--name=value`.
pub(super) fn states(arguments: &[String], name: &str) -> bool {
    let is_it = |argument: &String| {
        argument.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    arguments.iter().any(is_it)
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseUrl {
    /// Without a slash at its end.
    pub text: String,
    /// Whether it is on this machine.
    pub is_loopback: bool,
    /// Whether it leaves this machine without encryption.
    pub is_open: bool,
}

impl BaseUrl {
    /// Reads `http(s)://host[:port][/path]`. A `/v1` at its end, as OpenAI clients want it, is left out.
    pub fn parse(text: &str) -> Result<BaseUrl, String> {
        let expected = || format!("expected http://HOST:PORT or https://HOST:PORT, got {text:?}");
        let uri: Uri = text.parse().map_err(|_| expected())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(expected());
        };
        if authority.as_str().contains('@') {
            // Not quoted: it holds a password.
            return Err("expected a URL without a user: the key belongs in LATRACE_SERVER_KEY".to_owned());
        }
        if !["http", "https"].contains(&scheme) || uri.query().is_some() {
            return Err(expected());
        }
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").unwrap_or(path);
        let is_loopback = is_loopback(authority.host());
        let is_open = scheme == "http" && !is_loopback;
        Ok(BaseUrl { text: format!("{scheme}://{authority}{path}"), is_loopback, is_open })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let config: Result<ServersConfig, _> = toml::from_str(text);
        let got = match &config {
            Ok(config) => config.validate().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match expected {
            Ok(()) => assert_eq!(got, Ok(()), "{text}"),
            Err(part) => assert!(got.as_ref().is_err_and(|got| got.contains(part)), "{text}: {got:?}"),
        }
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_by_their_key() {
        check("", Ok(()));
        check("kind = \"sglang\"\nreplicas = 8\narguments = [\"--port-range\", \"1\"]", Ok(()));
        check("urls = [\"http://a:1\", \"https://b/v1\"]", Ok(()));
        check("kind = \"tgi\"", Err("tgi"));
        check("port = 1", Err("unknown field"));
        for key in ["replicas", "in_flight", "start_timeout", "request_timeout"] {
            check(&format!("{key} = 0"), Err(&format!("servers.{key}: expected at least 1")));
        }
        check("retries = 0\ngpus_per_replica = 0", Ok(()));
        check("dtype = \"\"", Err("servers.dtype"));
        check("urls = [\"http://a:1\"]\nreplicas = 2", Err("servers.replicas: urls are given"));
        check("urls = [\"http://a:1\"]\narguments = [\"-x\"]", Err("servers.arguments: urls are given"));
        check("urls = [\"http://a:1\"]\ncommand = [\"x\"]", Err("servers.command: urls are given"));
        check("urls = [\"http://a:1\", \"http://a:1/v1/\"]", Err("http://a:1 is given twice"));
        for url in ["a:1", "ftp://a", "", "http://", "http://a?x=1"] {
            check(&format!("urls = [{url:?}]"), Err("servers.urls: expected http://HOST"));
        }
        check("urls = [\"http://me:secret@a\"]", Err("LATRACE_SERVER_KEY"));
        check("arguments = [\"--api-key=secret\"]", Err("servers.arguments: --api-key"));
        check("command = [\"vllm\", \"serve\", \"--port\", \"80\"]", Err("servers.command: --port"));
        check("command = [\"\"]", Err("servers.command"));
    }

    #[test]
    fn a_password_in_a_url_is_not_quoted() {
        assert!(!BaseUrl::parse("http://me:secret@a").unwrap_err().contains("secret"));
    }

    #[test]
    fn what_leaves_the_machine_without_encryption_is_known() {
        for (url, is_open) in [
            ("http://127.0.0.1:80", false),
            ("http://localhost", false),
            ("http://[::1]:8000/", false),
            ("http://10.0.0.1", true),
            ("http://localhost.example.org", true),
            ("https://10.0.0.1", false),
        ] {
            assert_eq!(BaseUrl::parse(url).unwrap().is_open, is_open, "{url}");
        }
    }
}
