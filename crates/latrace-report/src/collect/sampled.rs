//! Stages 3 to 7, part by part: losses and weights of traces, and a selection of traces to read.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Reason, Tokenizer};
use latrace_objective::{Rng, TraceScore};
use serde_json::Value;

use super::super::data::{
    BoundPoint, Bounds, Browsed, BrowsedAnswer, BrowsedTrace, FunnelStep, Histogram, LengthFigure,
    TraceBrowser, VerdictCount, WeightFigure,
};
use super::super::page::LARGEST_PAGE;
use super::lengths::lengths;
use super::pieces::pieces;
use super::stages::RunStages;
use latrace_io::table::{Record, Table};
use latrace_run::join::{self, Join, all_matched};
use latrace_run::pipeline::records::{
    AnswerRecord, QuestionRecord, ScoreRecord, TraceRecord, VerdictRecord, WeightRecord,
};
use latrace_run::plan::Stage;
use latrace_run::recipe::run::{Method, Proposal, RunRecipe};

/// Maximum tokens shown of a trace, and characters of an answer.
const SHOWN_TOKENS: usize = 4000;
const SHOWN_LETTERS: usize = 2000;
/// Maximum bytes of questions held for reading: more than fits into a page, so that the page can be filled.
const HELD: usize = 4 * LARGEST_PAGE;

/// The data on sampled traces.
#[derive(Default)]
pub(super) struct Sampled {
    pub(super) funnel: Vec<FunnelStep>,
    pub(super) verdicts: Vec<VerdictCount>,
    pub(super) weights: Option<WeightFigure>,
    pub(super) bounds: Option<Bounds>,
    pub(super) lengths: Option<LengthFigure>,
    pub(super) traces: TraceBrowser,
}

/// Reads the finished ones of stages 3 to 7.
pub(super) fn read(recipe: &RunRecipe, stages: &RunStages) -> Result<Sampled> {
    let (Some(questions), Some(traces)) = (stages.done(Stage::Questions), stages.done(Stage::Traces)) else {
        return Ok(Sampled::default());
    };
    let tables = Tables {
        questions: Table::open(questions),
        traces: Table::open(traces),
        scores: stages.done(Stage::Scores).map(Table::open),
        answers: stages.done(Stage::Answers).map(Table::open),
        verdicts: stages.done(Stage::Verdicts).map(Table::open),
        weights: stages.done(Stage::Weights).map(Table::open),
    };
    let mut counts = Counts { choice: Choice::new(recipe.seed), ..Counts::default() };
    for part in 0..tables.traces.parts()? {
        counts.add(tables.read(part)?);
    }
    Ok(Sampled {
        funnel: counts.funnel(&tables, recipe),
        weights: if tables.weights.is_some() { Some(counts.weights(recipe)?) } else { None },
        bounds: stages.counts(Stage::Weights).map(bounds),
        lengths: lengths(&counts.scores)?,
        traces: counts.choice.traces(recipe, tokenizer(stages)?)?,
        verdicts: verdict_counts(counts.reasons),
    })
}

/// The tables of finished stages.
struct Tables {
    questions: Table<QuestionRecord>,
    traces: Table<TraceRecord>,
    scores: Option<Table<ScoreRecord>>,
    answers: Option<Table<AnswerRecord>>,
    verdicts: Option<Table<VerdictRecord>>,
    weights: Option<Table<WeightRecord>>,
}

type OnTrace = join::OnTrace<Reason>;

/// A question and its traces with the records on them.
type Joined = (QuestionRecord, Vec<(TraceRecord, OnTrace)>);

impl Tables {
    /// The questions of a part that have traces, in order.
    fn read(&self, part: usize) -> Result<Vec<Joined>> {
        let mut join = Join::<TraceRecord, OnTrace>::new(self.traces.read(part)?, join::twice)?;
        all_matched(&join.add(read_part(&self.scores, part)?, OnTrace::put_score)?)?;
        all_matched(&join.add(read_part(&self.weights, part)?, OnTrace::put_weight)?)?;
        all_matched(&join.add(read_part(&self.answers, part)?, OnTrace::put_answer)?)?;
        let put = |_: &TraceRecord, on: &mut OnTrace, record: VerdictRecord| {
            on.put_verdict(&record, record.answer, record.reason)
        };
        all_matched(&join.add(read_part(&self.verdicts, part)?, put)?)?;
        let joined = join.into_questions().into_iter();
        let mut traces: HashMap<String, _> = joined.map(|question| (question.id, question.traces)).collect();
        let questions = self.questions.read(part)?.into_iter();
        Ok(questions
            .filter_map(|question| traces.remove(&question.id).map(|traces| (question, traces)))
            .collect())
    }
}

/// A part of a table; nothing if the stage is not finished.
fn read_part<R: Record>(table: &Option<Table<R>>, part: usize) -> Result<Vec<R>> {
    table.as_ref().map_or(Ok(Vec::new()), |table| table.read(part))
}

/// Sorted by the verdict's name, then by the reason's.
fn verdict_counts(reasons: BTreeMap<Reason, u64>) -> Vec<VerdictCount> {
    let mut counts: Vec<VerdictCount> =
        reasons.into_iter().map(|(reason, count)| VerdictCount { reason, count }).collect();
    counts.sort_by_key(|count| (count.reason.verdict().name(), count.reason.code()));
    counts
}

/// Counts over all parts.
#[derive(Default)]
struct Counts {
    sampled: u64,
    closed: u64,
    right: u64,
    weighed: u64,
    chosen: u64,
    rho: Vec<f64>,
    effective: Vec<f64>,
    without_weight: usize,
    reasons: BTreeMap<Reason, u64>,
    scores: Vec<TraceScore>,
    choice: Choice,
}

impl Counts {
    fn add(&mut self, questions: Vec<Joined>) {
        for (question, traces) in questions {
            traces.iter().for_each(|(trace, on)| self.count(trace, on));
            let weights = traces.iter().filter_map(|(_, on)| on.weight.as_ref());
            let rho_k: Vec<f64> = weights.map(|weight| weight.weight).collect();
            match rho_k.iter().map(|rho| rho * rho).sum::<f64>() {
                squares if squares > 0.0 => self.effective.push(1.0 / squares),
                _ => self.without_weight += 1,
            }
            self.rho.extend(rho_k);
            self.choice.offer(question, traces);
        }
    }

    fn count(&mut self, trace: &TraceRecord, on: &OnTrace) {
        self.sampled += 1;
        self.closed += u64::from(trace.closed);
        let reasons = || on.answers.iter().filter_map(|(_, reason)| *reason);
        self.right += u64::from(reasons().any(|reason| reason.verdict().is_correct()));
        reasons().for_each(|reason| *self.reasons.entry(reason).or_default() += 1);
        self.weighed += u64::from(on.weight.as_ref().is_some_and(|weight| weight.weight > 0.0));
        self.chosen += u64::from(on.weight.as_ref().is_some_and(|weight| weight.chosen > 0.0));
        if let Some(score) = &on.score {
            let sum = |logprobs: &[f32]| logprobs.iter().copied().map(f64::from).sum::<f64>();
            self.scores.push(TraceScore {
                logp_sum: sum(&score.logprobs),
                logq_sum: sum(&trace.logprobs),
                tokens: score.logprobs.len(),
            });
        }
    }

    fn funnel(&self, tables: &Tables, recipe: &RunRecipe) -> Vec<FunnelStep> {
        let has_weights = tables.weights.is_some();
        let steps = [
            ("sampled", self.sampled, "", true),
            ("came to their end", self.closed, "were cut off", true),
            ("led to a right answer", self.right, "led to none", tables.verdicts.is_some()),
            ("weigh something", self.weighed, "weigh nothing", has_weights && self.weighed != self.right),
            // Only the variational method selects examples by weight.
            ("chosen", self.chosen, "were not chosen", has_weights && recipe.method == Method::Variational),
        ];
        let known = steps.into_iter().filter(|(_, _, _, is_known)| *is_known);
        known
            .map(|(name, count, lost, _)| FunnelStep { name: name.to_owned(), count, lost: lost.to_owned() })
            .collect()
    }

    fn weights(&self, recipe: &RunRecipe) -> Result<WeightFigure> {
        let traces_each = recipe.traces.sampling.n as usize;
        Ok(WeightFigure {
            description: describe(recipe)?,
            traces_each,
            rho: Histogram::of(self.rho.iter().copied(), 0.0, 1.0, 20),
            effective: Histogram::of(
                self.effective.iter().copied(),
                1.0,
                traces_each.max(2) as f64,
                2 * (traces_each.max(2) - 1).min(16),
            ),
            mean_effective: self.effective.iter().sum::<f64>() / self.effective.len().max(1) as f64,
            questions: self.effective.len(),
            without_weight: self.without_weight,
        })
    }
}

/// A sentence on how weights are computed and traces selected.
fn describe(recipe: &RunRecipe) -> Result<String> {
    let config = recipe.weigh_config();
    let answer = match config.answer.name() {
        "accuracy" => "the share of right answers after it",
        "geometric-likelihood" => "the mean likelihood per token of the reference answer after it",
        _ => "the likelihood of the reference answer after it",
    };
    let made_of = match config.weighting.name() {
        "uniform" => "All traces weigh the same.".to_owned(),
        "ratio-only" => {
            format!("A trace weighs in proportion to its {} likelihood ratio alone.", config.ratio.name())
        }
        "accuracy-only" => format!("A trace weighs in proportion to {answer} alone."),
        other => {
            let how = if other == "rho" { String::new() } else { format!(" ({other})") };
            format!(
                "A trace weighs in proportion to its {} likelihood ratio times {answer}{how}.",
                config.ratio.name()
            )
        }
    };
    let chosen = match recipe.weights.selection.name() {
        "weighted" => "The final model learns from all of them, by weight.",
        "best" => "The final model learns from the heaviest one of each question.",
        _ => "The final model learns from some of them, drawn by weight.",
    };
    Ok(if recipe.method == Method::Variational { format!("{made_of} {chosen}") } else { made_of })
}

/// The bounds from stage 7, or the surrogates over the questions where all of them are finite.
fn bounds(counts: &Value) -> Bounds {
    let no_bounds = counts["bounds"]["reason"].as_str().map(str::to_owned);
    let (series, means, mean) = match &no_bounds {
        None => (&counts["bounds"], "of_k", "mean"),
        Some(_) => (&counts["surrogates"], "common", "mean_of_finite"),
    };
    let point = |(at, bound): (usize, &Value)| BoundPoint {
        k: at + 1,
        mean: bound[mean].as_f64(),
        standard_error: bound["standard_error"].as_f64(),
        unbounded: series["of_k"][at]["unbounded"].as_u64().unwrap_or(0) as usize,
    };
    let points = series[means].as_array().into_iter().flatten().enumerate().map(point).collect();
    Bounds { no_bounds, ratio: series["ratio"].as_str().unwrap_or_default().to_owned(), points }
}

/// Reservoir sample of questions to read: those with the lowest random keys, up to the byte limit.
#[derive(Default)]
struct Choice {
    seed: u64,
    offered: usize,
    held: usize,
    questions: BTreeMap<(u64, usize), (usize, Browsed)>,
}

impl Choice {
    fn new(seed: u64) -> Choice {
        Choice { seed, ..Choice::default() }
    }

    fn offer(&mut self, question: QuestionRecord, traces: Vec<(TraceRecord, OnTrace)>) {
        let key = Rng::at(self.seed, &[11, self.offered as u64]).next_u64();
        let browsed = browsed(question, traces);
        let bytes = bytes_of(&browsed);
        self.questions.insert((key, self.offered), (bytes, browsed));
        self.offered += 1;
        self.held += bytes;
        while self.held > HELD
            && let Some((_, (bytes, _))) = self.questions.pop_last()
        {
            self.held -= bytes;
        }
    }

    /// The questions in run order, with token ids decoded.
    fn traces(self, recipe: &RunRecipe, tokenizer: Option<Tokenizer>) -> Result<TraceBrowser> {
        let mut questions: Vec<(usize, Browsed)> =
            self.questions.into_iter().map(|((_, place), (_, browsed))| (place, browsed)).collect();
        questions.sort_by_key(|&(place, _)| place);
        let mut questions: Vec<Browsed> = questions.into_iter().map(|(_, browsed)| browsed).collect();
        let mut words: HashMap<String, u32> = HashMap::new();
        let decode = |ids: &[u32]| {
            tokenizer
                .as_ref()
                .and_then(|tokenizer| tokenizer.decode_drawn(ids).ok())
                .unwrap_or_else(|| numbers(ids))
        };
        for trace in questions.iter_mut().flat_map(|question| &mut question.traces) {
            let pieces = pieces(&trace.tokens, decode);
            trace.tokens = pieces.into_iter().map(|piece| number_of(&mut words, piece)).collect();
        }
        let mut vocabulary: Vec<(String, u32)> = words.into_iter().collect();
        vocabulary.sort_by_key(|&(_, number)| number);
        let vocabulary = vocabulary.into_iter().map(|(word, _)| word).collect();
        let writer = match recipe.proposal() {
            Proposal::Posterior => "the posterior",
            Proposal::Initial => "the initial model itself",
        };
        Ok(TraceBrowser { of: self.offered, seed: None, writer: writer.to_owned(), vocabulary, questions })
    }
}

fn number_of(words: &mut HashMap<String, u32>, word: String) -> u32 {
    let next = words.len() as u32;
    *words.entry(word).or_insert(next)
}

/// Decodes ids of a model without a tokenizer: the numbers themselves.
fn numbers(ids: &[u32]) -> String {
    ids.iter().map(|id| format!("{id} ")).collect()
}

/// A question to read; its traces are still token ids.
fn browsed(question: QuestionRecord, traces: Vec<(TraceRecord, OnTrace)>) -> Browsed {
    let QuestionRecord { id, question, hint, difficulty, .. } = question;
    Browsed {
        id,
        question: shortened(question),
        hint: hint.map(shortened),
        difficulty,
        traces: traces.into_iter().map(|(trace, on)| browsed_trace(trace, on)).collect(),
    }
}

fn browsed_trace(trace: TraceRecord, on: OnTrace) -> BrowsedTrace {
    let OnTrace { score, answers, weight } = on;
    let centinats = score.map(|score| {
        score
            .logprobs
            .iter()
            .zip(&trace.logprobs)
            .take(SHOWN_TOKENS)
            .map(|(&logp, &logq)| ((f64::from(logp) - f64::from(logq)) * 100.0).round() as i32)
            .collect()
    });
    BrowsedTrace {
        sample: trace.sample,
        closed: trace.closed,
        weight: weight.as_ref().map(|weight| weight.weight),
        chosen: weight.as_ref().map_or(0.0, |weight| weight.chosen),
        log_ratio: weight.as_ref().and_then(|weight| weight.log_ratio),
        log_answer: weight.as_ref().and_then(|weight| weight.log_answer),
        length: trace.token_ids.len(),
        tokens: trace.token_ids.into_iter().take(SHOWN_TOKENS).collect(),
        centinats: centinats.unwrap_or_default(),
        answers: browsed_answers(answers),
    }
}

/// Merges equal answers, in order of first occurrence.
fn browsed_answers(answers: Vec<(AnswerRecord, Option<Reason>)>) -> Vec<BrowsedAnswer> {
    let mut browsed: Vec<BrowsedAnswer> = Vec::new();
    for (answer, reason) in answers {
        let new = BrowsedAnswer { text: shortened(answer.text), reason, ended: answer.ended, times: 1 };
        let is_same = |known: &&mut BrowsedAnswer| {
            known.text == new.text && known.reason == new.reason && known.ended == new.ended
        };
        match browsed.iter_mut().find(is_same) {
            Some(known) => known.times += 1,
            None => browsed.push(new),
        }
    }
    browsed
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(SHOWN_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Approximate size of a question in memory and on the page.
fn bytes_of(question: &Browsed) -> usize {
    let trace = |trace: &BrowsedTrace| {
        150 + 8 * trace.tokens.len()
            + trace.answers.iter().map(|answer| 80 + answer.text.len()).sum::<usize>()
    };
    200 + question.question.len()
        + question.hint.as_ref().map_or(0, String::len)
        + question.traces.iter().map(trace).sum::<usize>()
}

/// The tokenizer shared by the run's models, if any.
fn tokenizer(stages: &RunStages) -> Result<Option<Tokenizer>> {
    let folders = [Stage::Initial, Stage::Posterior].into_iter().filter_map(|stage| stages.done(stage));
    let found: Option<std::path::PathBuf> =
        folders.map(|folder| folder.join("tokenizer.json")).find(|path| path.is_file());
    found.map(|path| read_tokenizer(&path)).transpose()
}

fn read_tokenizer(path: &Path) -> Result<Tokenizer> {
    let cannot = || format!("cannot read {}", path.display());
    Tokenizer::from_bytes(&std::fs::read(path).with_context(cannot)?).with_context(cannot)
}
