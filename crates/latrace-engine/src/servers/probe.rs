//! Checks of servers before their first request: they have the same weights, those of the model folder, and
//! give the log-probs of the model itself.

use std::fs;
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use latrace_core::SamplingParams;
use latrace_core::random::{draw, unit};

use super::ask::{Ask, SampleAsk, ScoreAsk};
use super::error::{ServerError, Trouble};
use super::fleet::Common;
use super::http::Http;
use super::launch::Started;
use super::work::backoff;
use crate::boundary::{Engine, Request, ScoreRow, StopTexts};
use crate::cpu::CpuEngine;
use crate::scoring::score_all;

/// How far log-probs of the same weights may be apart (nats per token).
#[derive(Debug, PartialEq)]
struct Limits {
    mean: f32,
    largest: f32,
}

/// Measured between vLLM in f32 and the built-in engine: at most 6.6e-6. Larger models add more numbers in other
/// orders; a step of training changes log-probs by far more.
const F32: Limits = Limits { mean: 1e-3, largest: 1e-3 };

/// Measured between bf16 and f32: 0.02 on average, at most 0.12 for a token. Other weights are nats away.
const HALF: Limits = Limits { mean: 0.1, largest: 1.0 };

/// Bytes of weights up to which the built-in engine loads the model as well: 200 million parameters in f32, or 400
/// million in 16 bits, which it holds as 1.6 GB.
const SMALL_MODEL: u64 = 800_000_000;

/// Rows that every server scores, and the tokens of each.
const ROWS: u64 = 3;
const ROW_TOKENS: usize = 32;

/// Samples whose log-probs are compared with scores, and the tokens of each.
const SAMPLES: u64 = 2;
const SAMPLE_TOKENS: usize = 12;

/// What every server of a model has to give.
#[derive(Debug)]
pub(super) struct Probe {
    rows: Vec<ScoreRow>,
    expected: Option<Expected>,
}

/// Scores of the rows, and whose they are.
#[derive(Debug)]
struct Expected {
    source: String,
    scores: Vec<Vec<f32>>,
}

/// Checks all servers of a model.
pub(super) fn all(common: &Common, servers: &[Started]) -> Result<Probe> {
    let rows = rows(common);
    let (mut expected, why_not) = match built_in(common, &rows)? {
        Ok(expected) => (Some(expected), String::new()),
        Err(why_not) => (None, why_not),
    };
    for server in servers {
        let http = common.http(&server.base, 2);
        let scores = scores(common, server, &http, &rows)?;
        let weights = match &expected {
            Some(expected) => check_weights(common, server, &scores, expected)?,
            None => format!("its scores are compared with nothing: {why_not}"),
        };
        let samples = check_samples(common, server, &http, &rows[0].prompt)?;
        tracing::info!("{}: probed: {weights}; {samples}", server.label);
        expected.get_or_insert(Expected { source: server.label.clone(), scores });
    }
    Ok(Probe { rows, expected })
}

/// Checks a server that has been restarted.
pub(super) fn again(common: &Common, server: &Started, probe: &Probe) -> Result<(), ServerError> {
    let Some(expected) = &probe.expected else { return Ok(()) };
    let http = common.http(&server.base, 2);
    let scores = scores(common, server, &http, &probe.rows)?;
    let weights = check_weights(common, server, &scores, expected)?;
    tracing::info!("{}: probed: {weights}", server.label);
    Ok(())
}

/// Fixed rows of the model's ids, and thus the same for every server.
fn rows(common: &Common) -> Vec<ScoreRow> {
    let vocabulary = common.shape.vocabulary_size as f64;
    let tokens = ROW_TOKENS.min(common.shape.positions.saturating_sub(1)).max(2);
    let row = |row: u64| {
        let id = |at: usize| (unit(draw(row, at as u64)) * vocabulary) as u32;
        let prompt = (0..tokens / 4 + 1).map(id).collect();
        ScoreRow { prompt, response: (tokens / 4 + 1..tokens).map(id).collect() }
    };
    (0..ROWS).map(row).collect()
}

/// The built-in engine's scores, or why it gives none: the model is too large, or it does not know its family.
fn built_in(common: &Common, rows: &[ScoreRow]) -> Result<Result<Expected, String>> {
    let bytes = weight_bytes(common);
    if bytes > SMALL_MODEL {
        let gigabytes = bytes as f64 / 1e9;
        return Ok(Err(format!(
            "the built-in engine is not tried on {gigabytes:.1} GB of weights, more than {:.1} GB",
            SMALL_MODEL as f64 / 1e9
        )));
    }
    let scorer = CpuEngine::default().scorer(&common.model);
    let scored = scorer.and_then(|mut scorer| score_all(&mut *scorer, rows.to_vec()));
    match scored {
        Ok(scores) => Ok(Ok(Expected { source: "the built-in engine".to_owned(), scores })),
        Err(error) if is_unknown(&error) => {
            Ok(Err(format!("the built-in engine does not know it: {error:#}")))
        }
        Err(error) => Err(error),
    }
}

fn is_unknown(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(latrace_lm::Error::UnknownArchitecture { .. }))
}

/// What the servers' data type allows. Whatever is not f32 by name is taken for 16 bits: `auto` is the checkpoint's
/// data type, and 16 bits for one in f32 as well.
fn limits(common: &Common) -> &'static Limits {
    if ["float32", "float"].contains(&common.config.dtype.as_str()) { &F32 } else { &HALF }
}

fn weight_bytes(common: &Common) -> u64 {
    let entries = fs::read_dir(&common.model).into_iter().flatten().flatten();
    let weights = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "safetensors"));
    // Behind a link as well: the hub's cache is made of them.
    weights.filter_map(|entry| fs::metadata(entry.path()).ok()).map(|file| file.len()).sum()
}

fn scores(
    common: &Common,
    server: &Started,
    http: &Http,
    rows: &[ScoreRow],
) -> Result<Vec<Vec<f32>>, ServerError> {
    let asks = rows.iter().cloned().enumerate().map(|(number, row)| ScoreAsk { number, row });
    asks.map(|one| ask(common, server, http, &one)).collect()
}

/// Asks until there is an answer, as often as for any request.
fn ask<A: Ask>(common: &Common, server: &Started, http: &Http, ask: &A) -> Result<A::Answer, ServerError> {
    let mut failed = 0;
    loop {
        match super::work::answer(common, http, ask) {
            Ok(answer) => return Ok(answer),
            Err(Trouble::Passing(_)) if failed < common.config.retries => {
                thread::sleep(backoff(failed));
                failed += 1;
            }
            Err(trouble) => {
                let detail = format!("it does not pass the probe: {}", trouble.into_detail());
                return Err(ServerError::Server { server: server.label.clone(), detail });
            }
        }
    }
}

/// Gives how far its scores are from those, in words.
fn check_weights(
    common: &Common,
    server: &Started,
    scores: &[Vec<f32>],
    expected: &Expected,
) -> Result<String, ServerError> {
    let difference = Difference::of(scores, &expected.scores);
    let apart = format!("its scores differ from those of {} by {difference}", expected.source);
    if difference.is_within(limits(common)) {
        return Ok(apart);
    }
    let detail = format!("its weights are not those of {}: {apart}", common.model.display());
    Err(ServerError::Weights { server: server.label.clone(), detail })
}

/// Draws with a temperature and few tokens to choose from: log-probs after either are far from the model's
/// own. Gives how far they are from its scores, in words.
fn check_samples(
    common: &Common,
    server: &Started,
    http: &Http,
    prompt: &[u32],
) -> Result<String, ServerError> {
    let limit = SAMPLE_TOKENS.min(common.shape.positions.saturating_sub(prompt.len() + 1)).max(1);
    // vLLM takes temperatures up to 2.
    let params = SamplingParams { temperature: 2.0, top_k: 5, ..SamplingParams::plain(limit) };
    let request = Arc::new(Request {
        prompt: prompt.to_vec(),
        seeds: (1..=SAMPLES).collect(),
        params,
        stop_ids: Vec::new(),
        stop_texts: StopTexts::default(),
    });
    let (mut sampled, mut rows) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES as usize {
        let request = Arc::clone(&request);
        let one = SampleAsk { number: 0, sample, request, limit, stops_at_end_ids: false, text: None };
        let drawn = ask(common, server, http, &one)?;
        sampled.push(drawn.logp);
        rows.push(ScoreRow { prompt: prompt.to_vec(), response: drawn.ids });
    }
    let difference = Difference::of(&sampled, &scores(common, server, http, &rows)?);
    if difference.is_within(limits(common)) {
        return Ok(format!("its samples' log-probs differ from its scores by {difference}"));
    }
    Err(ServerError::Processed {
        server: server.label.clone(),
        detail: format!(
            "log-probs of its samples are not the model's own but those after temperature and truncation: \
             they differ from its scores by {difference}"
        ),
        hint: common.dialect.raw_log_probs(),
    })
}

/// How far log-probs are apart (nats per token).
#[derive(Debug)]
struct Difference {
    mean: f32,
    largest: f32,
}

impl Difference {
    fn of(some: &[Vec<f32>], others: &[Vec<f32>]) -> Difference {
        let pairs = some.iter().flatten().zip(others.iter().flatten());
        let apart: Vec<f32> = pairs.map(|(one, other)| (one - other).abs()).collect();
        let largest = apart.iter().copied().fold(0.0, f32::max);
        Difference { mean: apart.iter().sum::<f32>() / apart.len().max(1) as f32, largest }
    }

    fn is_within(&self, limits: &Limits) -> bool {
        self.mean <= limits.mean && self.largest <= limits.largest
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2e} nats per token on average, at most {:.2e}", self.mean, self.largest)
    }
}
