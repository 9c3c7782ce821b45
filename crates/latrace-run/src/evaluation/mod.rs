//! How good a model is on a benchmark: responses drawn or given, judged, counted.
//!
//! What is counted and how (`summary`, `answer`) knows no files; `responses`, `judging` and `results` do.

mod answer;
mod judging;
mod prompts;
mod responses;
mod results;
mod summary;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use latrace_core::Markers;

pub use answer::{Answer, answer_of};
pub use judging::{JudgedResponse, Scored};
pub use prompts::Wrapping;
pub use responses::{EvaluatedModel, ResponseSource};
pub use results::{Correctness, QuestionResult, read_results};
pub use summary::{EvaluationSummary, Lengths, table};

use latrace_questions::benchmarks::{Benchmark, Chosen, for_each};

/// File of an evaluation's folder: each question with its responses and verdicts.
pub const RESULTS: &str = "results.json";
/// What the results come to.
pub const SUMMARY: &str = "summary.json";
/// Responses as they were drawn, while they are and afterwards.
pub const RESPONSES: &str = "responses.jsonl";

/// What is evaluated, and where to.
#[derive(Debug)]
pub struct BenchmarkRun {
    /// The benchmark, with the settings that count.
    pub benchmark: Benchmark,
    /// Files with its questions.
    pub files: Vec<PathBuf>,
    /// Which of them are asked.
    pub chosen: Chosen,
    /// What marks a thought.
    pub markers: Markers,
    /// Seed of all random numbers.
    pub seed: u64,
    /// The folder for what comes out.
    pub out: PathBuf,
}

/// A question as it is put.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// Its text, without what goes around it for the model.
    pub text: String,
}

/// Evaluates: asks, draws or takes responses, judges them, writes `results.json` and `summary.json`.
///
/// # Errors
/// Questions that cannot be read, models that cannot be used, a folder that holds another evaluation; what
/// the file system refuses.
pub fn run(plan: &BenchmarkRun, source: &ResponseSource) -> Result<EvaluationSummary> {
    let out = &plan.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let asked = questions(plan)?;
    tracing::info!("{} questions of {}", asked.len(), plan.benchmark.title);
    let responses = responses::of(plan, source, &asked)?;
    let started = Instant::now();
    let scored = judging::judge(plan, &responses)?;
    let summary = EvaluationSummary::of(plan, &scored, &responses, started.elapsed().as_secs_f64())?;
    summary.write(out)?;
    Ok(summary)
}

/// The chosen questions; what their answers are compared with is read again when it is needed.
fn questions(plan: &BenchmarkRun) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for_each(&plan.benchmark, &plan.files, &plan.chosen, |id, item| {
        asked.push(Asked { id, text: item.asked });
        Ok(())
    })?;
    Ok(asked)
}
