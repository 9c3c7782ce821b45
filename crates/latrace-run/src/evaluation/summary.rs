//! `summary.json`: the results of an evaluation in aggregate.
//!
//! Readable by SkyThought's evaluation tools. The fields that follow theirs are `configuration`,
//! `total_completion_tokens`, `avg_completion_tokens`, `total_prompt_tokens`, `avg_prompt_tokens`, `accuracy`
//! (a fraction) and `pass_at_k` (percent by "k=…"). Differs in: a prompt's tokens count once per response,
//! both in the sum and in the mean; `pass_at_k` has every k.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::judging::{JudgedResponse, Scored};
use super::responses::Responses;
use super::{BenchmarkRun, SUMMARY};
use latrace_io::failure::Failure;
use latrace_io::files::{checksum, write_atomically};
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

/// Distribution of lengths, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Number of sequences.
    pub count: usize,
    /// Mean.
    pub mean: f64,
    /// Minimum.
    pub least: u64,
    /// Median: the smallest length that at least half do not exceed.
    pub median: u64,
    /// 90th percentile, in the same sense.
    pub ninetieth: u64,
    /// Maximum.
    pub most: u64,
}

impl Lengths {
    /// `None` for an empty list.
    pub fn of(lengths: impl Iterator<Item = u64>) -> Option<Lengths> {
        let mut sorted: Vec<u64> = lengths.collect();
        sorted.sort_unstable();
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        // Nearest-rank quantile: an observed length, never an interpolated one.
        let at = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1];
        let mean = sorted.iter().sum::<u64>() as f64 / sorted.len() as f64;
        Some(Lengths { count: sorted.len(), mean, least, median: at(0.5), ninetieth: at(0.9), most })
    }
}

/// The counts that follow from the responses alone.
struct Counts {
    tally_q: Vec<Tally>,
    completion: u64,
    prompt: u64,
}

impl Counts {
    fn of(scored: &[Scored]) -> Counts {
        let right =
            |question: &Scored| question.responses.iter().filter(|response| response.is_right()).count();
        let responses = || scored.iter().flat_map(|question| &question.responses);
        Counts {
            tally_q: scored
                .iter()
                .map(|question| Tally { right: right(question), samples: question.responses.len() })
                .collect(),
            completion: responses().filter_map(|response| response.tokens).sum(),
            prompt: scored
                .iter()
                .map(|question| question.prompt_tokens * question.responses.len() as u64)
                .sum(),
        }
    }
}

impl EvaluationSummary {
    /// Counts.
    ///
    /// # Errors
    /// Files that cannot be read again for their checksums.
    pub fn of(
        plan: &BenchmarkRun,
        scored: &[Scored],
        responses: &Responses,
        judging_seconds: f64,
    ) -> Result<EvaluationSummary> {
        let counts = Counts::of(scored);
        let overall = Accuracy::of(&counts.tally_q, plan.seed);
        let pass: BTreeMap<usize, Interval> = (1..).zip(pass_curve(&counts.tally_q, plan.seed)).collect();
        let all = || scored.iter().flat_map(|question| &question.responses);
        let of = |pick: &dyn Fn(&JudgedResponse) -> bool| {
            Lengths::of(all().filter(|response| pick(response)).filter_map(|response| response.tokens))
        };
        let count =
            |pick: &dyn Fn(&JudgedResponse) -> bool| all().filter(|response| pick(response)).count() as u64;
        let truncated = count(&|response| response.truncated);
        Ok(EvaluationSummary {
            configuration: configuration(plan, responses),
            total_completion_tokens: counts.completion,
            avg_completion_tokens: counts.completion as f64 / overall.samples as f64,
            total_prompt_tokens: counts.prompt,
            avg_prompt_tokens: counts.prompt as f64 / overall.samples as f64,
            overall,
            pass_at_k: pass.iter().map(|(k, interval)| (format!("k={k}"), 100.0 * interval.mean)).collect(),
            benchmark: plan.benchmark.name.clone(),
            title: plan.benchmark.title.clone(),
            model: responses.name.clone(),
            k: pass.len(),
            average: Interval { mean: overall.accuracy, low: overall.low, high: overall.high },
            pass,
            by_subset: by_subset(scored, &counts.tally_q, plan.seed),
            tabled_by_subset: plan.benchmark.by_subset,
            truncated,
            truncation_rate: truncated as f64 / overall.samples as f64,
            unclosed: count(&|response| response.unclosed),
            lengths: of(&|_| true),
            lengths_of_correct: of(&JudgedResponse::is_right),
            lengths_of_wrong: of(&|response| !response.is_right()),
            lengths_of_thoughts: Lengths::of(all().filter_map(|response| response.thought_tokens)),
            verdicts: by(all().map(|response| response.reason.verdict().name())),
            reasons: by(all().map(|response| response.reason.code())),
            seconds: seconds(responses, judging_seconds),
            settings: responses.settings.clone(),
            seed: plan.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hashes: json!({"model": responses.model, "data": plan.files.iter().map(|file| checksum(file)).collect::<Result<Vec<_>>>()?}),
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

fn by_subset(scored: &[Scored], tally_q: &[Tally], seed: u64) -> BTreeMap<String, Accuracy> {
    let names: BTreeSet<&String> = scored.iter().filter_map(|question| question.subset.as_ref()).collect();
    let of = |name: &String| {
        scored
            .iter()
            .zip(tally_q)
            .filter(|(question, _)| question.subset.as_ref() == Some(name))
            .map(|(_, tally)| *tally)
            .collect::<Vec<_>>()
    };
    names.into_iter().map(|name| (name.clone(), Accuracy::of(&of(name), seed))).collect()
}

fn by<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name.to_owned()).or_default() += 1);
    counts
}

fn seconds(responses: &Responses, judging: f64) -> Value {
    match responses.drawn {
        Some((earlier, tokens, sampling)) => {
            let rate = if tokens > 0 { Some(tokens as f64 / sampling) } else { None };
            json!({"sampling": sampling, "judging": judging, "earlier": earlier, "tokens_per_second": rate})
        }
        None => json!({"judging": judging}),
    }
}

/// The model and benchmark, in SkyThought's format.
fn configuration(plan: &BenchmarkRun, responses: &Responses) -> Value {
    let source = &plan.benchmark.source;
    let drawing = &plan.benchmark.sampling;
    json!({
        "task": {
            "name": plan.benchmark.name,
            "config": {"handler": plan.benchmark.kind, "dataset_path": source.dataset, "dataset_subset": source.config, "dataset_split": source.split},
            "start": 0,
            "end": plan.chosen.limit.map_or(-1, |limit| limit as i64),
        },
        "model": {"name": responses.name, "config": {"model_id": responses.name}},
        "backend": {"name": "latrace", "backend_args": {"version": env!("CARGO_PKG_VERSION")}},
        "sampling_params": {
            "n": plan.benchmark.k, "temperature": drawing.temperature, "top_p": drawing.top_p, "max_tokens": drawing.max_new_tokens, "seed": plan.seed,
        },
    })
}

/// The summary as a table.
pub fn table(summary: &EvaluationSummary) -> String {
    let header =
        [summary.title.clone(), "questions".to_owned(), format!("avg@{}", summary.k), "95 %".to_owned()];
    let row = |name: &str, accuracy: &Accuracy| {
        [
            name.to_owned(),
            accuracy.questions.to_string(),
            percent(accuracy.accuracy),
            range(accuracy.low, accuracy.high),
        ]
    };
    let mut rows = vec![row("all", &summary.overall)];
    rows.extend(summary.by_subset.iter().map(|(name, accuracy)| row(name, accuracy)));
    let mut text = text_table::markdown(&header, &rows);
    let powers = || summary.pass.iter().filter(|(k, _)| k.is_power_of_two() || **k == summary.k);
    if summary.k > 1 {
        let header: Vec<String> = powers().map(|(k, _)| format!("pass@{k}")).collect();
        let cells: Vec<String> = powers()
            .map(|(_, interval)| {
                format!("{} ({})", percent(interval.mean), range(interval.low, interval.high))
            })
            .collect();
        text.push_str(&format!("\n{}", text_table::markdown(&header, &[cells])));
    }
    text
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
            tokens: Some(tokens),
            thought_tokens: None,
        }
    }

    #[test]
    fn lengths_are_those_of_the_sorted_list() {
        let lengths = Lengths::of([5, 1, 2, 4, 3, 10, 7, 8, 9, 6].into_iter()).unwrap();
        assert_eq!(
            (lengths.least, lengths.median, lengths.ninetieth, lengths.most, lengths.mean, lengths.count),
            (1, 5, 9, 10, 5.5, 10)
        );
        assert_eq!(
            Lengths::of([3].into_iter()).map(|lengths| (lengths.median, lengths.ninetieth)),
            Some((3, 3))
        );
        assert_eq!(Lengths::of(std::iter::empty()), None);
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
        let counts = Counts::of(&all);
        assert_eq!((counts.completion, counts.prompt), (16, 18));
        let subsets = by_subset(&all, &counts.tally_q, 0);
        assert_eq!(
            (subsets["easy"].accuracy, subsets["hard"].accuracy, subsets["hard"].samples),
            (1.0, 0.25, 4)
        );
        let reasons =
            by(all.iter().flat_map(|question| &question.responses).map(|response| response.reason.code()));
        assert_eq!(
            reasons.into_iter().collect::<Vec<_>>(),
            [("different", 1), ("equal", 3), ("no_answer", 1), ("no_sandbox", 1)]
                .map(|(name, count)| (name.to_owned(), count))
        );
    }
}
