//! A run at the paper's scale without a model: `cargo bench -p latrace-run --bench scale -- [QUESTIONS TOKENS]`.
//!
//! Every stage runs on an engine that draws random tokens: 8 traces a question, all of which close, 8 answers
//! after each, half of them right, every trace weighted: but for one trace in 256 all reach the trainer. What is
//! measured is what everything around an engine costs. Beside it stands the time to write and read as many bytes
//! as the stages' tables hold, in files of the same sizes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use latrace_core::{Markers, Tokenizer};
use latrace_engine::boundary::ModelShape;
use latrace_engine::cpu::peak_memory_bytes;
use latrace_engine::random::Random;
use latrace_run::pipeline::context::RunContext;
use latrace_run::pipeline::folder::{RunFolder, read_record};
use latrace_run::pipeline::runner;
use latrace_run::plan::{Node, Plan, Stage, plan};
use latrace_run::recipe::run::RunRecipe;
use serde_json::json;

const TRACES: u64 = 8;
/// Questions with a trace of their own, so that there is something to train pi_theta0 and q on.
const TRACED: usize = 64;
/// Tokens of a question's prompt, about.
const WORDS: usize = 100;

/// Stages of which the time counts.
const MEASURED: [Stage; 6] =
    [Stage::Traces, Stage::Scores, Stage::Answers, Stage::Verdicts, Stage::Weights, Stage::Dataset];

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (questions, tokens) = match numbers[..] {
        [questions, tokens] => (questions, tokens),
        _ => (17_000, 5_000),
    };
    let folder = tempfile::tempdir()?;
    let recipe = write_inputs(folder.path(), questions, tokens)?;
    let engine = engine(&folder.path().join("model"), tokens)?;
    let (plan, context) = (plan(&recipe)?, RunContext::with_engine(Box::new(engine)));
    let run = folder.path().join("run");
    let started = Instant::now();
    runner::run(&plan, &RunFolder::lock(&run)?, &context)?;
    let whole = started.elapsed().as_secs_f64();
    let peak = peak_memory_bytes() as f64 / 1e9;
    let mut measured = 0.0;
    for stage in MEASURED.into_iter().chain([Stage::Final]) {
        let seconds = seconds(&plan, &run, stage)?;
        println!("{stage:<14} {seconds:>8.1} s  {:>8.2} GB", bytes(&run.join(stage.name()))? as f64 / 1e9);
        measured += if stage == Stage::Final { 0.0 } else { seconds };
    }
    let files = tables(&run)?;
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let (each, all) = write_and_read(&files, &folder.path().join("plain"))?;
    println!(
        "{questions} questions × {TRACES} traces × {tokens} tokens: stages 3 to 8 {measured:.1} s; writing and reading \
         their {:.2} GB plainly {each:.1} s (each file by itself: {:.2} times) or {all:.1} s (all kept: {:.2} times); \
         whole run {whole:.1} s; peak memory {peak:.2} GB",
        total as f64 / 1e9,
        measured / each,
        measured / all
    );
    Ok(())
}

/// Questions, a model folder without weights, and a recipe over them.
fn write_inputs(folder: &Path, questions: usize, tokens: usize) -> Result<RunRecipe> {
    let model = folder.join("model");
    fs::create_dir(&model)?;
    let markers = Markers::named("think")?;
    let tokenizer = Tokenizer::train(&["yes no".to_owned()], 300, &markers.specials())?;
    let shape = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": tokens + 4096, "tie_word_embeddings": true,
    });
    latrace_run::stages::model::write_shape(&model, shape, &tokenizer)?;
    let mut rows = String::new();
    for number in 0..questions {
        let question = format!("{number} {}", "w ".repeat(WORDS / 2));
        let mut row =
            json!({"id": number.to_string(), "question": question, "answer": "yes", "kind": "text"});
        if number < TRACED {
            row["trace"] = json!("so it is");
        }
        rows.push_str(&format!("{row}\n"));
    }
    let data = folder.join("questions.jsonl");
    fs::write(&data, &rows)?;
    let test = folder.join("test.jsonl");
    fs::write(&test, json!({"id": "t", "question": "q", "answer": "yes", "kind": "text"}).to_string())?;
    let toml = format!(
        "[model]\nfolder = {:?}\n[questions]\ntrain = {:?}\ntest = {:?}\n[traces]\nn = {TRACES}\nmax_new_tokens = {tokens}\n\
         [answers]\nn = 8\nmax_new_tokens = 16\n[weights]\nselection = \"weighted\"\n[dataset]\noriginals = 0.0\n\
         [initial]\nmax_steps = 1\n[posterior]\nmax_steps = 1\n[final]\nepochs = 1\ncutoff_length = {}\n\
         [evaluation]\nmax_new_tokens = 16\n",
        model.display().to_string(),
        data.display().to_string(),
        test.display().to_string(),
        tokens + 4096,
    );
    let path = folder.join("recipe.toml");
    fs::write(&path, toml)?;
    RunRecipe::read(&path, &[])
}

/// Traces that close, then "yes" or "no".
fn engine(model: &Path, tokens: usize) -> Result<Random> {
    let tokenizer = Tokenizer::from_bytes(&fs::read(model.join("tokenizer.json"))?)?;
    let shape = ModelShape::read(model)?;
    let markers = Markers::named("think")?;
    let closing_id = tokenizer.token_id(&markers.cut).context("the cut is no single token")?;
    let first = markers.specials().iter().filter_map(|text| tokenizer.token_id(text)).max().unwrap_or(0) + 1;
    let answers = vec![tokenizer.encode("yes")?, tokenizer.encode("no")?];
    let ids = first..tokenizer.vocabulary_size() as u32;
    Ok(Random { shape, ids, length: tokens, closing_id, answers })
}

fn seconds(plan: &Plan, run: &Path, stage: Stage) -> Result<f64> {
    let node: &Node = &plan.nodes[plan.last(stage).context("the plan lacks the stage")?];
    let record = read_record(&run.join(node.folder()))?.context("the stage left no record")?;
    Ok(record.seconds)
}

fn bytes(folder: &Path) -> Result<u64> {
    Ok(files_of(folder)?.iter().map(|(_, bytes)| bytes).sum())
}

/// The files of the measured stages, with their sizes.
fn tables(run: &Path) -> Result<Vec<(PathBuf, u64)>> {
    MEASURED
        .iter()
        .map(|stage| files_of(&run.join(stage.name())))
        .collect::<Result<Vec<_>>>()
        .map(|all| all.concat())
}

fn files_of(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// Seconds to write files of the same bytes, each to the disk, and to read them again: each right after it is
/// written, and all after the last, with none deleted before.
///
/// The second is what stages do with their tables. The first is a machine's best: a file that takes the place of a
/// deleted one in the page cache costs a fraction of one that needs memory of its own, and is read from a warm cache.
fn write_and_read(files: &[(PathBuf, u64)], folder: &Path) -> Result<(f64, f64)> {
    fs::create_dir(folder)?;
    let copies =
        || files.iter().enumerate().map(|(at, (path, bytes))| (path, folder.join(at.to_string()), *bytes));
    let (mut each, mut all) = (0.0, 0.0);
    for (path, copy, bytes) in copies() {
        each += write(path, &copy)? + read(&copy, bytes)?;
        fs::remove_file(copy)?;
    }
    for (path, copy, _) in copies() {
        all += write(path, &copy)?;
    }
    for (_, copy, bytes) in copies() {
        all += read(&copy, bytes)?;
    }
    Ok((each, all))
}

fn write(path: &Path, copy: &Path) -> Result<f64> {
    let contents = fs::read(path)?;
    let started = Instant::now();
    let mut file = File::create(copy)?;
    file.write_all(&contents)?;
    file.sync_all()?;
    Ok(started.elapsed().as_secs_f64())
}

fn read(copy: &Path, bytes: u64) -> Result<f64> {
    let started = Instant::now();
    let mut back = Vec::with_capacity(bytes as usize);
    File::open(copy)?.read_to_end(&mut back)?;
    anyhow::ensure!(back.len() as u64 == bytes, "read less than was written");
    Ok(started.elapsed().as_secs_f64())
}
