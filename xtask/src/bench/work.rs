//! What is measured: models of random weights, rows of random tokens, and the three things an engine does.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{FOLDER, output};

/// A model of the Qwen3 family with two queries to each key.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    hidden: u64,
    layers: u64,
    head: u64,
    intermediate: u64,
    vocabulary: u64,
}

/// Heads of queries; half as many of keys and values.
const HEADS: u64 = 8;

/// 5 million parameters.
const S: Shape = Shape { name: "S", hidden: 256, layers: 6, head: 32, intermediate: 768, vocabulary: 704 };
/// 42 million.
const M: Shape =
    Shape { name: "M", hidden: 512, layers: 8, head: 64, intermediate: 1536, vocabulary: 32_000 };

#[derive(Clone, Copy)]
pub enum Activity {
    /// Updates of `batch` rows of `tokens` tokens.
    Train { batch: usize, tokens: usize },
    /// Log-probs of 64 rows of 256 tokens, timed as a whole process; peers are without their start.
    Score,
    /// 256 tokens after each of `batch` prompts of 64, all at once.
    Decode { batch: usize },
}

#[derive(Clone, Copy)]
pub struct Workload {
    pub shape: Shape,
    pub activity: Activity,
}

pub const WORK: [Workload; 7] = [
    Workload { shape: S, activity: Activity::Train { batch: 16, tokens: 256 } },
    Workload { shape: M, activity: Activity::Train { batch: 4, tokens: 512 } },
    Workload { shape: S, activity: Activity::Score },
    Workload { shape: M, activity: Activity::Score },
    Workload { shape: S, activity: Activity::Decode { batch: 32 } },
    Workload { shape: M, activity: Activity::Decode { batch: 32 } },
    // S would stay in a cache, which no limit here is of.
    Workload { shape: M, activity: Activity::Decode { batch: 1 } },
];

const PROMPT: usize = 64;
/// Tokens of a row that is scored, of which there are [`ROWS`].
const ROW: usize = 256;
const ROWS: usize = 64;
pub const DRAWN: usize = 256;
/// Updates of a training; the first two are not counted.
pub const UPDATES: usize = 6;

impl Shape {
    /// Weights of the projections.
    fn projections(&self) -> u64 {
        let attention = self.hidden * self.head * (HEADS + HEADS) + self.head * HEADS * self.hidden;
        self.layers * (attention + 3 * self.hidden * self.intermediate)
    }

    fn head(&self) -> u64 {
        self.vocabulary * self.hidden
    }

    /// Weights that a token which is drawn is multiplied with.
    pub fn weights(&self) -> u64 {
        self.projections() + self.head()
    }

    fn config(&self) -> Value {
        json!({
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": self.hidden,
            "num_hidden_layers": self.layers, "num_attention_heads": HEADS, "num_key_value_heads": HEADS / 2,
            "head_dim": self.head, "intermediate_size": self.intermediate, "vocab_size": self.vocabulary,
            "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": true,
            "hidden_act": "silu", "attention_bias": false, "dtype": "float32"
        })
    }

    pub fn folder(&self) -> PathBuf {
        Path::new(FOLDER).join(self.name)
    }
}

impl Workload {
    /// Operations of products with weights for a token; the head is for tokens of responses alone.
    pub fn operations(&self) -> f64 {
        let (times, tokens) = match self.activity {
            Activity::Train { tokens, .. } => (6.0, tokens),
            Activity::Score => (2.0, ROW),
            Activity::Decode { .. } => return 2.0 * self.shape.weights() as f64,
        };
        let scored = (tokens - PROMPT) as f64 / tokens as f64;
        times * (self.shape.projections() as f64 + scored * self.shape.head() as f64)
    }

    pub fn name(&self) -> String {
        let task = match self.activity {
            Activity::Train { .. } => "train".to_owned(),
            Activity::Score => "score".to_owned(),
            Activity::Decode { batch } => format!("decode {batch}"),
        };
        format!("{} {task}", self.shape.name)
    }

    pub fn rows(&self) -> PathBuf {
        Path::new(FOLDER).join(format!("{}.jsonl", self.name()))
    }

    /// Writes the model and the rows.
    pub fn prepare(&self, program: &Path) -> Result<()> {
        let (folder, config) =
            (self.shape.folder(), Path::new(FOLDER).join(format!("{}-config", self.shape.name)));
        if !folder.exists() {
            fs::create_dir_all(&config)?;
            fs::write(config.join("config.json"), self.shape.config().to_string())?;
            for file in ["tokenizer.json", "tokenizer_config.json"] {
                fs::copy(Path::new("examples/tiny").join(file), config.join(file))?;
            }
            output(Command::new(program).arg("init").arg("--config").arg(&config).arg("--out").arg(&folder))?;
        }
        let (count, prompt, response) = match self.activity {
            Activity::Train { batch, tokens } => (batch * UPDATES, PROMPT, tokens - PROMPT),
            Activity::Score => (ROWS, PROMPT, ROW - PROMPT),
            Activity::Decode { batch } => (batch, PROMPT, 0),
        };
        let mut text = String::new();
        for row in 0..count {
            // Any tokens do: what they are changes no time.
            let token = |at: usize| 20 + (row * 7919 + at * 104_729) % 680;
            let prompt_ids: Vec<usize> = (0..prompt).map(token).collect();
            let response_ids: Vec<usize> = (prompt..prompt + response).map(token).collect();
            let mut line = json!({"id": row.to_string(), "prompt_ids": prompt_ids});
            if response > 0 {
                line["response_ids"] = json!(response_ids);
            }
            writeln!(text, "{line}")?;
        }
        Ok(fs::write(self.rows(), text)?)
    }

    /// Tokens per second of one run.
    pub fn rate(&self, program: &Path, compute: &str) -> Result<f64> {
        let (out, mut command) = (Path::new(FOLDER).join("out"), Command::new(program));
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out)?;
        let verb = match self.activity {
            Activity::Train { .. } => "train",
            Activity::Score => "score",
            Activity::Decode { .. } => "sample",
        };
        command.arg(verb).arg("--model").arg(self.shape.folder()).arg("--data").arg(self.rows());
        command.args(["--compute", compute]);
        match self.activity {
            Activity::Train { batch, tokens } => {
                let batch_tokens = format!("tokens_per_micro_batch={}", batch * tokens);
                command
                    .arg("--out")
                    .arg(out.join("model"))
                    .args([&format!("batch_size={batch}"), &batch_tokens]);
                command.args([&format!("max_steps={UPDATES}"), "checkpoint_every=1000"]);
                output(&mut command)?;
                updates_rate(&out.join("model/metrics.jsonl"))
            }
            Activity::Score => {
                let start = Instant::now();
                output(command.arg("--out").arg(out.join("scores.jsonl")))?;
                Ok((ROWS * ROW) as f64 / start.elapsed().as_secs_f64())
            }
            Activity::Decode { batch } => {
                command.args(["--n", "1", "--temperature", "1", "--max-new-tokens", &DRAWN.to_string()]);
                let said = output(command.arg("--out").arg(out.join("samples.jsonl")))?.1;
                drawn_rate(&said).with_context(|| format!("no rate of batch {batch} in {said}"))
            }
        }
    }
}

/// The median of the updates that count.
fn updates_rate(metrics: &Path) -> Result<f64> {
    let text = fs::read_to_string(metrics)?;
    let rate = |line: &str| serde_json::from_str::<Value>(line).ok()?["tokens_per_second"].as_f64();
    let mut rates: Vec<f64> = text.lines().skip(2).filter_map(rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().context("no metrics")
}

/// Of "…; 8192 tokens drawn in 4.1 s, 1998 a second; …".
fn drawn_rate(said: &str) -> Option<f64> {
    let rest = said.split("tokens drawn in ").nth(1)?;
    rest.split(" a second").next()?.rsplit(' ').next()?.parse().ok()
}
