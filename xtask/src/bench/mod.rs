//! `cargo xtask bench`: what the built-in engine does in a second, beside the machine's limits, an earlier measurement and,
//! if a python has them, what others do on the same work.

mod peers;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use work::{Activity, WORK, Workload};

/// Where models, rows and outputs are put.
const FOLDER: &str = "target/bench";
/// Ratios to the machine's limits, by arithmetic and work.
const BASELINE: &str = "xtask/src/bench/baseline.json";
/// A ratio below this share of the baseline's is a fall.
const LEAST_SHARE: f64 = 0.85;
/// The best of so many measurements counts, since other load only slows them down.
const TURNS: usize = 3;

/// The program in its release build, and what it says of this machine.
pub struct Latrace {
    program: PathBuf,
    limits: Peak,
}

/// Rates that nothing passes, from `latrace doctor --bench`.
struct Peak {
    /// Of products (GFLOP/s), by type of computation.
    products: BTreeMap<&'static str, f64>,
    /// Of memory (GB/s).
    memory: f64,
    /// The instruction set.
    instructions: String,
}

/// Measures, compares, and writes the baseline if asked to.
///
/// # Errors
/// A build or a command that fails; a fall of a ratio by more than 15 %.
pub fn run(arguments: &[&str]) -> Result<()> {
    let (mut python, mut save, mut arguments) = (None, false, arguments.iter());
    while let Some(argument) = arguments.next() {
        match *argument {
            "--python" => python = Some(*arguments.next().context("--python: expected a program")?),
            "--save" => save = true,
            other => bail!("bench: unknown argument {other:?}: expected --python PROGRAM or --save"),
        }
    }
    let latrace = Latrace::build()?;
    fs::create_dir_all(FOLDER)?;
    let Peak { products, memory, instructions } = &latrace.limits;
    println!("{instructions}: products {products:?} GFLOP/s, memory {memory} GB/s\n");
    println!(
        "| work | compute | tokens/s | of the limit | of the baseline | best peer, in any type | times the peer |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let (known, mut measured, mut fallen) = (baseline()?, Map::new(), Vec::new());
    for work in WORK {
        work.prepare(&latrace.program)?;
        let peer = python.map(|python| peers::best(python, &work)).transpose()?.flatten();
        for compute in latrace.limits.products.keys() {
            let rate = latrace.rate(&work, compute)?;
            let share = rate / latrace.limits.most(&work, compute);
            let key = format!("{instructions}, {compute}, {}", work.name());
            let before = known.get(&key).and_then(Value::as_f64).map(|before| share / before);
            fallen.extend(before.filter(|kept| *kept < LEAST_SHARE).map(|kept| format!("{key}: {kept:.2}")));
            let percent = |share: Option<f64>| {
                share.map_or("–".to_owned(), |share| format!("{:.0} %", 100.0 * share))
            };
            let (beside, times) = peer.as_ref().map_or(("–".to_owned(), "–".to_owned()), |peer| {
                (format!("{} {:.0}", peer.name, peer.rate), format!("{:.2}", rate / peer.rate))
            });
            println!(
                "| {} | {compute} | {rate:.0} | {} | {} | {beside} | {times} |",
                work.name(),
                percent(Some(share)),
                percent(before)
            );
            measured.insert(key, json!((share * 1e4).round() / 1e4));
        }
    }
    if save {
        let all: Map<String, Value> = known.into_iter().chain(measured).collect();
        fs::write(BASELINE, format!("{}\n", serde_json::to_string_pretty(&all)?))?;
    }
    ensure!(
        fallen.is_empty() || save,
        "fell by more than 15 % of the baseline's ratio to the machine's limit: {}",
        fallen.join("; ")
    );
    Ok(())
}

fn baseline() -> Result<Map<String, Value>> {
    let Ok(text) = fs::read_to_string(BASELINE) else { return Ok(Map::new()) };
    serde_json::from_str(&text).with_context(|| format!("{BASELINE} is not what `--save` writes"))
}

impl Latrace {
    fn build() -> Result<Latrace> {
        let status = Command::new("cargo").args(["build", "--release", "--package", "latrace"]).status()?;
        ensure!(status.success(), "latrace cannot be built");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let program = target.join("release/latrace");
        let said = output(Command::new(&program).args(["doctor", "--bench", "--json"]))?.0;
        Ok(Latrace { limits: Peak::read(&serde_json::from_str(&said)?)?, program })
    }

    /// Tokens in a second: the best of some turns.
    fn rate(&self, work: &Workload, compute: &str) -> Result<f64> {
        let turns = (0..TURNS).map(|_| work.rate(&self.program, compute)).collect::<Result<Vec<_>>>()?;
        Ok(turns.into_iter().fold(0.0, f64::max))
    }
}

impl Peak {
    fn read(findings: &Value) -> Result<Peak> {
        let found = |what: &str| -> Result<String> {
            let all = findings.as_array().context("expected a list of findings")?;
            let finding = all.iter().find(|finding| finding["what"] == what);
            Ok(finding
                .and_then(|finding| finding["found"].as_str())
                .context("doctor --bench lacks a finding")?
                .to_owned())
        };
        let (products, memory) = (found("products")?, found("memory rate")?);
        let number = |text: &str| text.split(' ').find_map(|word| word.parse::<f64>().ok());
        let mut rates = BTreeMap::from([("f32", number(&products).context("no rate of products")?)]);
        // "142 GFLOP/s in f32, 690 in bf16, on 2 threads"
        if let Some(bf16) = products.split(", ").find(|part| part.ends_with("in bf16")) {
            rates.insert("bf16", number(bf16).context("no rate of bf16")?);
        }
        let memory = number(&memory).context("no rate of memory")?;
        Ok(Peak { products: rates, memory, instructions: found("instructions")? })
    }

    /// The tokens per second that the machine allows for the products with weights, attention left out: by their arithmetic,
    /// and by reading all weights for each token of a batch.
    fn most(&self, work: &Workload, compute: &str) -> f64 {
        let products = self.products[compute] * 1e9 / work.operations();
        let Activity::Decode { batch } = work.activity else { return products };
        let bytes = if compute == "f32" { 4.0 } else { 2.0 };
        products.min(self.memory * 1e9 * batch as f64 / (work.shape.weights() as f64 * bytes))
    }
}

/// Standard output and error of a command that succeeds.
pub fn output(command: &mut Command) -> Result<(String, String)> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let [out, error] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(output.status.success(), "{command:?} failed: {error}");
    Ok((out, error))
}
