//! A tiny recipe, run from outside, and what its folder holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use latrace_io::table::{Record, Table};
use tempfile::TempDir;

/// Small enough for seconds, with every stage and a second method.
pub const RECIPE: &str = r#"
[model]
shape = { architectures = ["Qwen3ForCausalLM"], model_type = "qwen3", hidden_size = 16, intermediate_size = 32, num_hidden_layers = 2, num_attention_heads = 2, num_key_value_heads = 1, head_dim = 8, max_position_embeddings = 96, rms_norm_eps = 1e-6, rope_theta = 1000.0, tie_word_embeddings = true }

[questions]
task = "walk"
sizes = { traced = 60, untraced = 40, validation = 10, test = 20 }

[prompts]
markers = "plain"
reasoner = "plain"
posterior = "plain_posterior"

[initial]
batch_size = 8
max_steps = 30
learning_rate = 1e-2
checkpoint_every = 7

[posterior]
batch_size = 8
max_steps = 30
learning_rate = 1e-2
checkpoint_every = 7

[traces]
questions = "unseen"
n = 4
temperature = 1.0
max_new_tokens = 48

[answers]
n = 2
temperature = 1.0
max_new_tokens = 12

[weights]
selection = "weighted"

[final]
batch_size = 8
max_steps = 20
learning_rate = 1e-3
checkpoint_every = 7

[evaluation]
n = 2
max_new_tokens = 64

[engine]
part_questions = 8

[baselines.rft]
method = "rft"
rounds = 2
"#;

pub struct Bench {
    pub folder: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("tiny.toml"), RECIPE).unwrap();
        Bench { folder }
    }

    pub fn run_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, run: &str, settings: &[&str]) -> Command {
        let mut command = self.latrace(&["run", "tiny.toml", "--run-dir", run]);
        command.args(settings);
        command
    }

    pub fn latrace(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
        command.current_dir(self.folder.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, run: &str, settings: &[&str]) -> Output {
        self.command(run, settings).output().unwrap()
    }

    #[track_caller]
    pub fn done(&self, run: &str, settings: &[&str]) -> String {
        let output = self.run(run, settings);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{stdout}{stderr}");
        stdout + &stderr
    }

    #[track_caller]
    pub fn refused(&self, run: &str, settings: &[&str], code: i32, expected: &str) {
        let output = self.run(run, settings);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(expected), "expected {expected:?} in {stderr}");
    }
}

/// Files that say when and how fast, not what.
fn is_incidental(name: &str) -> bool {
    ["stage.json", "metrics.jsonl", "summary.json", "report.html", "lock"].contains(&name)
        || name.starts_with("events.out.")
}

/// Contents by path, of everything that a run leaves and that its result is; logs of servers are not.
pub fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(&inner).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("logs") {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if !is_incidental(&path.file_name().unwrap().to_string_lossy()) {
                found.insert(
                    path.strip_prefix(folder).unwrap().display().to_string(),
                    fs::read(&path).unwrap(),
                );
            }
        }
    }
    found
}

#[track_caller]
pub fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (contents(left), contents(right));
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let different: Vec<&&String> = names.iter().filter(|&&name| left.get(name) != right.get(name)).collect();
    assert!(different.is_empty(), "{different:?}");
}

pub fn records<R: Record>(folder: &Path) -> Vec<R> {
    Table::<R>::open(folder).records().unwrap().collect::<anyhow::Result<_>>().unwrap()
}
