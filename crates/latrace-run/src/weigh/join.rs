//! Joins traces, scores, verdicts and references on (id, sample), never by row order. Errors name the file
//! and row that do not join.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use latrace_core::{UnknownVerdict, Verdict, stated_verdict};
use latrace_objective::{AnswerAccuracy, AnswerEstimator, AnswerEvidence, AnswerScore, TraceScore};
use serde_json::Value;

use super::sums::{self, Origin, Sums};
use super::{Evidence, TraceGroup, WeighConfig};
use latrace_io::failure::Failure;
use latrace_io::progress::{Progress, SharedProgress};
use latrace_io::rows::{FieldProblem, Row, describe, field};

/// The input files.
#[derive(Clone, Debug)]
pub struct WeighInputs {
    /// Traces with log q: `id`, `sample`, `logprobs`.
    pub traces: PathBuf,
    /// The same traces with log pi: `id`, `sample`, `logprobs`.
    pub scores: PathBuf,
    /// Verdicts on answers after the traces: `id`, `sample`, `verdict`; several for each trace.
    pub verdicts: Option<PathBuf>,
    /// log pi of the reference answer after each trace: `id`, `sample`, `logprobs`. If only the fallback
    /// needs them, rows for the questions that may fall back suffice.
    pub references: Option<PathBuf>,
}

/// A question and a trace's number.
type Key = (String, u64);

/// The rows of one file by trace.
struct Side<'a, T> {
    path: &'a Path,
    rows: HashMap<Key, (T, Origin)>,
}

/// The verdicts on the answers of each trace.
type Verdicts<'a> = Side<'a, Vec<Verdict>>;

/// Traces with their evidence by question, in file order. A run's unfinished traces (`closed` is false) are
/// only counted, because they have no scores.
pub(super) fn join(inputs: &WeighInputs, config: &WeighConfig) -> Result<Vec<TraceGroup>> {
    let paths =
        [Some(&inputs.traces), Some(&inputs.scores), inputs.verdicts.as_ref(), inputs.references.as_ref()];
    let total = sums::count_rows(&paths.into_iter().flatten().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let progress = SharedProgress::new(Progress::new("rows read", 0, total));
    let traces = sums::read(&inputs.traces, &progress)?;
    let mut scores = read_sums(&inputs.scores, &progress)?;
    let mut verdicts = inputs.verdicts.as_deref().map(|path| read_verdicts(path, &progress)).transpose()?;
    let mut references = inputs.references.as_deref().map(|path| read_sums(path, &progress)).transpose()?;
    progress.finish();
    let may_lack = MayLack::of(config);
    let mut groups = Groups::default();
    for trace in traces {
        let key = (trace.id.to_string(), trace.sample);
        groups.check_new(&key, &trace.origin)?;
        if !trace.closed {
            groups.add_unended(trace);
            continue;
        }
        let score = scores.take(&key).ok_or_else(|| missing(&trace, scores.path))?;
        let logp_sum = same_tokens(&trace, &score)?;
        let accuracy = match &mut verdicts {
            Some(verdicts) => {
                optional(verdicts.take(&key), may_lack.verdicts, || missing(&trace, verdicts.path))?
            }
            None => None,
        };
        let reference = match &mut references {
            Some(references) => {
                optional(references.take(&key), may_lack.references, || missing(&trace, references.path))?
            }
            None => None,
        };
        let answer = AnswerEvidence {
            accuracy: accuracy.map(|(verdict_m, _)| AnswerAccuracy::from_verdicts(&verdict_m)).transpose()?,
            reference: reference.map(|(sums, _)| AnswerScore { logp_sum: sums.sum, tokens: sums.tokens }),
        };
        let score = TraceScore { logp_sum, logq_sum: trace.sum, tokens: trace.tokens };
        groups.add(Evidence { id: trace.id, sample: trace.sample, score, answer }, trace.origin);
    }
    scores.check_nothing_left(&inputs.traces)?;
    verdicts.map_or(Ok(()), |verdicts| verdicts.check_nothing_left(&inputs.traces))?;
    references.map_or(Ok(()), |references| references.check_nothing_left(&inputs.traces))?;
    groups.finish(inputs)
}

/// Evidence that may be missing for a whole question, because its fallback uses the other kind.
struct MayLack {
    verdicts: bool,
    references: bool,
}

impl MayLack {
    fn of(config: &WeighConfig) -> MayLack {
        let falls_back = config.answer == AnswerEstimator::Accuracy && config.reads_references();
        MayLack { verdicts: falls_back, references: falls_back }
    }
}

fn optional<T>(
    found: Option<T>,
    may_lack: bool,
    missing: impl FnOnce() -> anyhow::Error,
) -> Result<Option<T>> {
    if found.is_none() && !may_lack { Err(missing()) } else { Ok(found) }
}

fn missing(trace: &Sums, path: &Path) -> anyhow::Error {
    Failure::work(format!(
        "{}: id {}, sample {} has no row in {}",
        trace.origin,
        trace.id,
        trace.sample,
        path.display()
    ))
    .into()
}

/// log pi of a trace, after checking that it has as many tokens as were scored.
fn same_tokens(trace: &Sums, (score, origin): &(Sums, Origin)) -> Result<f64> {
    if score.tokens == trace.tokens {
        return Ok(score.sum);
    }
    let expected = format!(
        "{} log-probs, as id {}, sample {} has at {}",
        trace.tokens, trace.id, trace.sample, trace.origin
    );
    let problem = FieldProblem::new("logprobs", expected, format!("a list of {}", score.tokens));
    bail!(
        Failure::work(format!("{origin}: {problem}")).hint("score the traces' own token_ids, not their text")
    )
}

impl<T> Side<'_, T> {
    fn take(&mut self, key: &Key) -> Option<(T, Origin)> {
        self.rows.remove(key)
    }

    fn check_nothing_left(self, traces: &Path) -> Result<()> {
        let count = self.rows.len();
        let first = self.rows.into_iter().min_by(|(_, (_, a)), (_, (_, b))| a.cmp(b));
        let Some(((id, sample), (_, origin))) = first else {
            return Ok(());
        };
        let others = if count > 1 {
            format!(", nor have {} others of {}", count - 1, self.path.display())
        } else {
            String::new()
        };
        bail!(Failure::work(format!(
            "{origin}: id {id}, sample {sample} has no trace in {}{others}",
            traces.display()
        )))
    }
}

/// Traces grouped by question, with the origin of each.
#[derive(Default)]
struct Groups {
    groups: Vec<OpenGroup>,
    places: HashMap<String, usize>,
}

/// A question's traces so far.
struct OpenGroup {
    id: Value,
    traces: Vec<(Evidence, Origin)>,
    /// The unfinished ones, by number.
    unended: Vec<(u64, Origin)>,
}

impl OpenGroup {
    /// The origin of the trace with this number, if it has been read.
    fn origin(&self, sample: u64) -> Option<&Origin> {
        let ended = self.traces.iter().map(|(trace, origin)| (trace.sample, origin));
        let unended = self.unended.iter().map(|(sample, origin)| (*sample, origin));
        ended.chain(unended).find(|(known, _)| *known == sample).map(|(_, origin)| origin)
    }

    fn finished(self) -> TraceGroup {
        let traces = self.traces.into_iter().map(|(trace, _)| trace).collect();
        TraceGroup { id: self.id, traces, unended: self.unended.len() }
    }
}

impl Groups {
    fn check_new(&self, (id, sample): &Key, origin: &Origin) -> Result<()> {
        let earlier = self.places.get(id).and_then(|&place| self.groups[place].origin(*sample));
        earlier.map_or(Ok(()), |earlier| Err(twice(id, *sample, origin, earlier)))
    }

    fn add(&mut self, trace: Evidence, origin: Origin) {
        self.of(&trace.id).traces.push((trace, origin));
    }

    fn add_unended(&mut self, Sums { id, sample, origin, .. }: Sums) {
        self.of(&id).unended.push((sample, origin));
    }

    fn of(&mut self, id: &Value) -> &mut OpenGroup {
        let place = *self.places.entry(id.to_string()).or_insert(self.groups.len());
        if place == self.groups.len() {
            self.groups.push(OpenGroup { id: id.clone(), traces: Vec::new(), unended: Vec::new() });
        }
        &mut self.groups[place]
    }

    /// Evidence may be missing only for all traces of a question.
    fn finish(self, inputs: &WeighInputs) -> Result<Vec<TraceGroup>> {
        let has_verdicts: fn(&Evidence) -> bool = |trace| trace.answer.accuracy.is_some();
        let has_reference: fn(&Evidence) -> bool = |trace| trace.answer.reference.is_some();
        for (path, has) in [(&inputs.verdicts, has_verdicts), (&inputs.references, has_reference)] {
            let Some(path) = path else { continue };
            let traces = self.groups.iter().map(|group| &group.traces);
            for group in traces.filter(|group| group.iter().any(|(trace, _)| has(trace))) {
                if let Some((trace, origin)) = group.iter().find(|(trace, _)| !has(trace)) {
                    let message = format!(
                        "{origin}: id {}, sample {} has no row in {}",
                        trace.id,
                        trace.sample,
                        path.display()
                    );
                    bail!(Failure::work(message).hint("other traces of the same question have one"));
                }
            }
        }
        Ok(self.groups.into_iter().map(OpenGroup::finished).collect())
    }
}

fn twice(id: impl std::fmt::Display, sample: u64, origin: &Origin, earlier: &Origin) -> anyhow::Error {
    Failure::work(format!("{origin}: id {id}, sample {sample} appears again, after {earlier}")).into()
}

/// Sums by question and trace; a duplicate pair is an error.
fn read_sums<'a>(path: &'a Path, progress: &SharedProgress) -> Result<Side<'a, Sums>> {
    let all = sums::read(path, progress)?;
    let mut rows: HashMap<Key, (Sums, Origin)> = HashMap::with_capacity(all.len());
    for sums in all {
        let (key, origin) = ((sums.id.to_string(), sums.sample), sums.origin.clone());
        if let Some((earlier, _)) = rows.get(&key) {
            return Err(twice(&sums.id, sums.sample, &origin, &earlier.origin));
        }
        rows.insert(key, (sums, origin));
    }
    Ok(Side { path, rows })
}

/// Verdicts on the answers of each trace.
fn read_verdicts<'a>(path: &'a Path, progress: &SharedProgress) -> Result<Verdicts<'a>> {
    let mut rows: HashMap<Key, (Vec<Verdict>, Origin)> = HashMap::new();
    sums::read_rows(
        path,
        progress,
        |row| Ok((sums::key_of(row)?, verdict_of(row)?)),
        |((id, sample), verdict), origin| {
            rows.entry((id.to_string(), sample))
                .or_insert_with(|| (Vec::new(), origin.clone()))
                .0
                .push(verdict);
        },
    )?;
    Ok(Side { path, rows })
}

fn verdict_of(row: &Row) -> Result<Verdict, FieldProblem> {
    let problem = |got| FieldProblem::new("verdict", UnknownVerdict::EXPECTED, got);
    let got = field(row, "verdict");
    let reason = field(row, "reason").and_then(Value::as_str);
    let name =
        got.and_then(Value::as_str).ok_or_else(|| problem(got.map_or("nothing".to_owned(), describe)))?;
    stated_verdict(name, reason).map_err(|_| problem(got.map_or_else(String::new, describe)))
}
