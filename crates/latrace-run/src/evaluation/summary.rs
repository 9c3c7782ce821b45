//! `summary.json`: the results of an evaluation in aggregate.
//!
//! Readable by SkyThought's evaluation tools. The fields that follow theirs are `configuration`,
//! `total_completion_tokens`, `avg_completion_tokens`, `total_prompt_tokens`, `avg_prompt_tokens`, `accuracy`
//! (a fraction) and `pass_at_k` (percent by "k=…"). Differs in: a prompt's tokens count once per response,
//! both in the sum and in the mean; `pass_at_k` has every k.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::judging::{JudgedResponse, Scored};
use super::lengths::Lengths;
use super::responses::Responses;
use super::{BenchmarkRun, SUMMARY, accuracy_by};
use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use latrace_io::text_table::{self, percent, range};
use latrace_objective::statistics::{Accuracy, Interval, Tally, pass_curve};

/// The summary of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSummary {
    /// The model and benchmark, in SkyThought's format.
    pub configuration: Value,
    /// Total tokens of all responses.
    pub total_completion_tokens: u64,
    /// Mean tokens per response.
    pub avg_completion_tokens: f64,
    /// Total prompt tokens, counted once per response.
    pub total_prompt_tokens: u64,
    /// Mean tokens per prompt.
    pub avg_prompt_tokens: f64,
    /// Accuracy with its interval, numbers of questions and responses.
    #[serde(flatten)]
    pub overall: Accuracy,
    /// pass@k in percent, by "k=…".
    pub pass_at_k: BTreeMap<String, f64>,
    /// The benchmark's name.
    pub benchmark: String,
    /// The benchmark's display name.
    pub title: String,
    /// The model's display name.
    pub model: String,
    /// Responses per question (the minimum).
    pub k: usize,
    /// avg@k: the mean over questions of the share of correct responses.
    #[serde(rename = "avg@k")]
    pub average: Interval,
    /// Probability that at least one of k responses is correct, by k.
    #[serde(rename = "pass@k")]
    pub pass: BTreeMap<usize, Interval>,
    /// Accuracy by subject or difficulty.
    pub by_subset: BTreeMap<String, Accuracy>,
    /// Whether tables show a column per subset instead of one for all questions.
    pub tabled_by_subset: bool,
    /// Responses truncated at the token limit.
    pub truncated: u64,
    /// Their share.
    pub truncation_rate: f64,
    /// Thoughts without an end, including truncated ones; none is judged as an answer.
    pub unclosed: u64,
    /// Responses without a thought, each judged as a whole unless it was truncated.
    #[serde(default)]
    pub without_thought: u64,
    /// Tokens of responses.
    pub lengths: Option<Lengths>,
    /// Tokens of correct responses.
    pub lengths_of_correct: Option<Lengths>,
    /// Tokens of the others.
    pub lengths_of_wrong: Option<Lengths>,
    /// Tokens of finished thoughts.
    pub lengths_of_thoughts: Option<Lengths>,
    /// Responses by verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Responses by the verdict's reason.
    pub reasons: BTreeMap<String, u64>,
    /// Time of the last run: `sampling` and `judging`, without the `earlier` responses of interrupted runs.
    pub seconds: Value,
    /// How responses were sampled; null if they were given.
    pub settings: Value,
    /// Random seed.
    pub seed: u64,
    /// Version of the program.
    pub version: String,
    /// Checksums of `model`, by file, and of `data`.
    pub hashes: Value,
}

/// All judged responses of an evaluation.
struct All<'a>(&'a [Scored]);

impl All<'_> {
    fn responses(&self) -> impl Iterator<Item = &JudgedResponse> {
        self.0.iter().flat_map(|question| &question.responses)
    }

    fn tallies(&self) -> Vec<Tally> {
        self.0.iter().map(Scored::tally).collect()
    }

    fn completion_tokens(&self) -> u64 {
        self.responses().filter_map(|response| response.tokens).sum()
    }

    /// A prompt counts once for each of its responses, since each reads it.
    fn prompt_tokens(&self) -> u64 {
        self.0.iter().map(|question| question.prompt_tokens * question.responses.len() as u64).sum()
    }

    fn count(&self, pick: impl Fn(&JudgedResponse) -> bool) -> u64 {
        self.responses().filter(|response| pick(response)).count() as u64
    }

    /// The lengths of the responses picked. A given response without token ids has none.
    fn lengths(&self, pick: impl Fn(&JudgedResponse) -> bool) -> Option<Lengths> {
        Lengths::of(self.responses().filter(|response| pick(response)).filter_map(|response| response.tokens))
    }

    fn lengths_of_thoughts(&self) -> Option<Lengths> {
        Lengths::of(self.responses().filter_map(|response| response.thought_tokens))
    }

    /// Numbers of responses by a name that each of them has.
    fn by(&self, name: impl Fn(&JudgedResponse) -> &'static str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        self.responses().for_each(|response| *counts.entry(name(response).to_owned()).or_default() += 1);
        counts
    }

    fn by_subset(&self, seed: u64) -> BTreeMap<String, Accuracy> {
        accuracy_by(self.0.iter().map(|question| (question.subset.as_ref(), question.tally())), seed)
    }
}

impl EvaluationSummary {
    /// Summarises judged responses.
    ///
    /// # Errors
    /// Files that cannot be read again for their checksums.
    pub fn of(
        plan: &BenchmarkRun,
        scored: &[Scored],
        responses: &Responses,
        judging_seconds: f64,
    ) -> Result<EvaluationSummary> {
        let all = All(scored);
        let tally_q = all.tallies();
        let overall = Accuracy::of(&tally_q, plan.seed);
        let per_response = |total: u64| total as f64 / overall.samples as f64;
        // The curve ends at the fewest responses of any question, which beyond them has no estimate.
        let pass: BTreeMap<usize, Interval> = (1..).zip(pass_curve(&tally_q, &overall, plan.seed)).collect();
        let truncated = all.count(|response| response.truncated);
        Ok(EvaluationSummary {
            configuration: configuration(plan, responses),
            total_completion_tokens: all.completion_tokens(),
            avg_completion_tokens: per_response(all.completion_tokens()),
            total_prompt_tokens: all.prompt_tokens(),
            avg_prompt_tokens: per_response(all.prompt_tokens()),
            overall,
            pass_at_k: pass.iter().map(|(k, interval)| (format!("k={k}"), 100.0 * interval.mean)).collect(),
            benchmark: plan.benchmark.name.clone(),
            title: plan.benchmark.title.clone(),
            model: responses.name.clone(),
            k: pass.len(),
            average: overall.interval(),
            pass,
            by_subset: all.by_subset(plan.seed),
            tabled_by_subset: plan.benchmark.by_subset,
            truncated,
            truncation_rate: per_response(truncated),
            unclosed: all.count(|response| response.unclosed),
            without_thought: all.count(|response| response.without_thought),
            lengths: all.lengths(|_| true),
            lengths_of_correct: all.lengths(JudgedResponse::is_right),
            lengths_of_wrong: all.lengths(|response| !response.is_right()),
            lengths_of_thoughts: all.lengths_of_thoughts(),
            verdicts: all.by(|response| response.reason.verdict().name()),
            reasons: all.by(|response| response.reason.code()),
            seconds: seconds(responses, judging_seconds),
            settings: responses.settings.clone(),
            seed: plan.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hashes: json!({"model": responses.model, "data": plan.data_checksums()?}),
        })
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, out: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        write_atomically(&out.join(SUMMARY), |writer| {
            writeln!(writer, "{text}").context("cannot write a summary")
        })
    }

    /// Parses a summary file.
    ///
    /// # Errors
    /// The contents are not a summary.
    pub fn parse(path: &Path, value: Value) -> Result<EvaluationSummary> {
        serde_json::from_value(value).map_err(|error| {
            Failure::work(format!("{} is not an evaluation's summary: {error}", path.display())).into()
        })
    }
}

fn seconds(responses: &Responses, judging: f64) -> Value {
    let Some((earlier, tokens, sampling)) = responses.drawn else { return json!({"judging": judging}) };
    // Null if earlier runs had sampled everything: the time is then that of reading a journal.
    let rate = (tokens > 0).then(|| tokens as f64 / sampling);
    json!({"sampling": sampling, "judging": judging, "earlier": earlier, "tokens_per_second": rate})
}

/// The model and benchmark, in SkyThought's format.
fn configuration(plan: &BenchmarkRun, responses: &Responses) -> Value {
    json!({
        "task": task(plan),
        "model": {"name": responses.name, "config": {"model_id": responses.name}},
        "backend": {"name": "latrace", "backend_args": {"version": env!("CARGO_PKG_VERSION")}},
        "sampling_params": sampling_params(plan),
    })
}

fn task(plan: &BenchmarkRun) -> Value {
    let source = &plan.benchmark.source;
    json!({
        "name": plan.benchmark.name,
        "config": {
            "handler": plan.benchmark.kind,
            "dataset_path": source.dataset,
            "dataset_subset": source.config,
            "dataset_split": source.split,
        },
        "start": 0,
        // -1 is SkyThought's value for an evaluation of all questions.
        "end": plan.chosen.limit.map_or(-1, |limit| limit as i64),
    })
}

fn sampling_params(plan: &BenchmarkRun) -> Value {
    let sampling = &plan.benchmark.sampling;
    json!({
        "n": plan.benchmark.k,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
        "seed": plan.seed,
    })
}

/// The summary as a table.
pub fn table(summary: &EvaluationSummary) -> String {
    let header =
        [summary.title.clone(), "questions".to_owned(), format!("avg@{}", summary.k), "95 %".to_owned()];
    let mut rows = vec![accuracy_row("all", &summary.overall)];
    rows.extend(summary.by_subset.iter().map(|(name, accuracy)| accuracy_row(name, accuracy)));
    let accuracies = text_table::markdown(&header, &rows);
    // With one response, pass@1 is avg@1, which the first table has.
    if summary.k > 1 { format!("{accuracies}\n{}", pass_table(summary)) } else { accuracies }
}

/// A row of the first table.
fn accuracy_row(name: &str, accuracy: &Accuracy) -> [String; 4] {
    let range = range(accuracy.low, accuracy.high);
    [name.to_owned(), accuracy.questions.to_string(), percent(accuracy.accuracy), range]
}

/// pass@k at the powers of two and at the last k: the curve is smooth in log k, and a column for every k
/// would not fit a terminal.
fn pass_table(summary: &EvaluationSummary) -> String {
    let is_shown = |k: usize| k.is_power_of_two() || k == summary.k;
    let (header, cells): (Vec<String>, Vec<String>) =
        summary.pass.iter().filter(|(k, _)| is_shown(**k)).map(|(k, pass)| pass_cell(*k, pass)).unzip();
    text_table::markdown(&header, &[cells])
}

fn pass_cell(k: usize, pass: &Interval) -> (String, String) {
    (format!("pass@{k}"), format!("{} ({})", percent(pass.mean), range(pass.low, pass.high)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use latrace_verify::Reason;

    fn response(reason: Reason, tokens: u64) -> JudgedResponse {
        JudgedResponse {
            reason,
            truncated: tokens == 9,
            unclosed: tokens == 9,
            without_thought: false,
            tokens: Some(tokens),
            thought_tokens: None,
        }
    }

    #[test]
    fn subsets_and_reasons_are_counted() {
        let scored = |subset: &str, responses: Vec<JudgedResponse>| Scored {
            subset: Some(subset.to_owned()),
            prompt_tokens: 3,
            responses,
        };
        let all = [
            scored("easy", vec![response(Reason::Equal, 1), response(Reason::Equal, 2)]),
            scored("hard", vec![response(Reason::Different, 1), response(Reason::NoAnswer, 9)]),
            scored("hard", vec![response(Reason::Equal, 1), response(Reason::NoSandbox, 2)]),
        ];
        let all = All(&all);
        assert_eq!((all.completion_tokens(), all.prompt_tokens()), (16, 18));
        let subsets = all.by_subset(0);
        assert_eq!(
            (subsets["easy"].accuracy, subsets["hard"].accuracy, subsets["hard"].samples),
            (1.0, 0.25, 4)
        );
        let reasons = all.by(|response| response.reason.code());
        assert_eq!(
            reasons.into_iter().collect::<Vec<_>>(),
            [("different", 1), ("equal", 3), ("no_answer", 1), ("no_sandbox", 1)]
                .map(|(name, count)| (name.to_owned(), count))
        );
    }

    #[test]
    fn the_table_shows_pass_at_powers_of_two_and_at_the_last_k() {
        let shown = |k: usize| {
            let interval = Interval { mean: 0.5, low: 0.4, high: 0.6 };
            let pass: BTreeMap<String, Interval> = (1..=k).map(|k| (k.to_string(), interval)).collect();
            let value = json!({
                "configuration": null, "total_completion_tokens": 0, "avg_completion_tokens": 0.0,
                "total_prompt_tokens": 0, "avg_prompt_tokens": 0.0, "accuracy": 0.5, "low": 0.4, "high": 0.6,
                "questions": 10, "samples": 10 * k, "pass_at_k": {}, "benchmark": "own", "title": "Own", "model": "m",
                "k": k, "avg@k": interval, "pass@k": pass, "by_subset": {}, "tabled_by_subset": false, "truncated": 0,
                "truncation_rate": 0.0, "unclosed": 0, "lengths": null, "lengths_of_correct": null,
                "lengths_of_wrong": null, "lengths_of_thoughts": null, "verdicts": {}, "reasons": {}, "seconds": null,
                "settings": null, "seed": 0, "version": "", "hashes": null,
            });
            table(&EvaluationSummary::parse(Path::new("summary.json"), value).unwrap())
        };
        let text = shown(6);
        assert!(text.starts_with("| Own | questions | avg@6 |"), "{text}");
        let columns: Vec<bool> = (1..=6).map(|k| text.contains(&format!("pass@{k} "))).collect();
        assert_eq!(columns, [true, true, false, true, false, true], "{text}");
        assert!(!shown(1).contains("pass@"));
    }
}
