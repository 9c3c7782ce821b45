//! What differs between the programs that serve.

use std::path::Path;

use serde_json::Value;

use super::ask::{Call, Drawn, SampleAsk, ScoreAsk};
use super::config::{ServerKind, ServersConfig, states};
use super::error::Trouble;
use super::{sglang::Sglang, vllm::Vllm};

/// A program that serves: its requests and responses, and how it is started.
pub(super) trait Dialect: Send + Sync {
    /// Its name in messages.
    fn name(&self) -> &'static str;

    /// The request for a sample. All sampling parameters are in it: a server has defaults of its own for
    /// those that are not.
    fn sample(&self, ask: &SampleAsk, name: &str) -> Call;

    /// Reads the response to [`Dialect::sample`].
    fn read_sample(&self, body: &[u8]) -> Result<Drawn, Trouble>;

    /// The request for log-probs of a row.
    fn score(&self, ask: &ScoreAsk, name: &str) -> Call;

    /// Reads the response to [`Dialect::score`]: one log-prob for each token of the row's response.
    fn read_scores(&self, ask: &ScoreAsk, body: &[u8]) -> Result<Vec<Option<f64>>, Trouble>;

    /// The command of a server, without that of `command`'s default.
    fn default_command(&self) -> &'static [&'static str];

    /// Arguments for the model, its name, and the address.
    fn own_arguments(&self, launch: &Launch<'_>) -> Vec<String>;

    /// Arguments that hold unless the user gives others, each an option and its value.
    fn other_arguments(&self, launch: &Launch<'_>) -> Vec<(&'static str, String)>;

    /// Environment variables of a server.
    fn environment(&self) -> Vec<(String, Option<String>)>;

    /// Where its version is, and in which field.
    fn version(&self) -> (&'static str, &'static str);

    /// What to install where it is missing.
    fn install(&self) -> &'static str;

    /// What makes it give log-probs of the model itself.
    fn raw_log_probs(&self) -> &'static str;
}

/// The dialect of a kind of server.
pub(super) fn dialect(kind: ServerKind) -> &'static dyn Dialect {
    match kind {
        ServerKind::Vllm => &Vllm,
        ServerKind::Sglang => &Sglang,
    }
}

/// What a server is started with.
pub(super) struct Launch<'a> {
    pub config: &'a ServersConfig,
    pub model: &'a Path,
    pub name: &'a str,
    /// Where it listens.
    pub host: &'a str,
    pub port: u16,
    /// Most tokens of prompt and response.
    pub positions: usize,
}

/// The command line of a server. What the user's arguments state is left to them.
pub(super) fn argv(dialect: &dyn Dialect, launch: &Launch<'_>) -> Vec<String> {
    let ServersConfig { arguments, .. } = launch.config;
    let command = command(dialect, launch.config);
    let mut argv = [command.as_slice(), &dialect.own_arguments(launch)].concat();
    for (option, value) in dialect.other_arguments(launch) {
        if !states(arguments, option) && !states(&command, option) {
            argv.push(option.to_owned());
            argv.push(value);
        }
    }
    argv.extend(arguments.iter().cloned());
    argv
}

/// The command of the settings, or the program's own.
pub(super) fn command(dialect: &dyn Dialect, config: &ServersConfig) -> Vec<String> {
    if !config.command.is_empty() {
        return config.command.clone();
    }
    dialect.default_command().iter().map(|&word| word.to_owned()).collect()
}

/// The GPUs to split each layer over, as an argument `option`. Only where a server has several, and the user's
/// arguments do not use them in another way.
pub(super) fn split_over_gpus(
    config: &ServersConfig,
    option: &'static str,
    others: &[&str],
) -> Option<(&'static str, String)> {
    let is_for_us = !others.iter().any(|other| states(&config.arguments, other));
    (config.gpus_per_replica > 1 && is_for_us).then(|| (option, config.gpus_per_replica.to_string()))
}

/// Arguments from pairs of an option and its value.
pub(super) fn pairs<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
}

/// A number as its shortest decimal: 0.7 rather than 0.699999988079071, which some server would round
/// otherwise.
pub(super) fn decimal(number: f32) -> Value {
    latrace_io::rows::shortest(number).map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(settings: &str, expected: &str) {
        let config: ServersConfig = toml::from_str(settings).unwrap();
        let model = Path::new("/models/q");
        let (name, host) = ("q-0123", "127.0.0.1");
        let launch = Launch { config: &config, model, name, host, port: 8000, positions: 4096 };
        assert_eq!(argv(dialect(config.kind), &launch).join(" "), expected, "{settings}");
    }

    #[test]
    fn a_server_is_started_by_its_own_command_line() {
        let common = "--served-model-name q-0123 --port 8000 --host 127.0.0.1 --generation-config vllm";
        let rest = "--logprobs-mode raw_logprobs --max-num-batched-tokens 2048 --dtype auto";
        check("", &format!("vllm serve /models/q {common} --max-model-len 4096 {rest}"));
        check(
            "command = ['python', '-m', 'vllm.entrypoints.openai.api_server']\ngpus_per_replica = 2",
            &format!(
                "python -m vllm.entrypoints.openai.api_server --model /models/q {common} --max-model-len 4096 \
                 {rest} --tensor-parallel-size 2"
            ),
        );
        let stated = "--max-model-len=100 --data-parallel-size 2";
        check(
            "gpus_per_replica = 2\narguments = ['--max-model-len=100', '--data-parallel-size', '2']",
            &format!("vllm serve /models/q {common} {rest} {stated}"),
        );
        check(
            "kind = 'sglang'\ndtype = 'bfloat16'",
            "python3 -m sglang.launch_server --model-path /models/q --served-model-name q-0123 --port 8000 \
             --host 127.0.0.1 --sampling-defaults openai --context-length 4096 --dtype bfloat16",
        );
    }
}
