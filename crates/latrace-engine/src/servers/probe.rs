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

/// Largest difference of a log-prob in f32 (nats). Measured between vLLM and the built-in engine: 6.6e-6.
/// Larger models add more numbers in other orders; a step of training changes log-probs by far more.
const F32_LIMIT: f32 = 1e-3;

/// Largest mean difference of log-probs in 16 bits (nats). Measured between bf16 and f32: 0.02.
const HALF_LIMIT: f32 = 0.1;

/// Bytes of weights up to which the built-in engine loads the model as well: 200 million parameters in f32.
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
    scores: Vec<Vec<f32>>,
    /// Whose scores they are.
    source: String,
}

/// Checks all servers of a model.
pub(super) fn all(common: &Common, servers: &[Started]) -> Result<Probe> {
    let rows = rows(common);
    let mut known = built_in(common, &rows)?;
    for server in servers {
        let http = common.http(&server.base, 2);
        let scores = scores(common, server, &http, &rows)?;
        match &known {
            Some((source, expected)) => check_weights(common, server, &scores, source, expected)?,
            None => known = Some((server.label.clone(), scores)),
        }
        check_samples(common, server, &http, &rows[0].prompt)?;
    }
    let (source, scores) = known.unwrap_or_default();
    Ok(Probe { rows, scores, source })
}

/// Checks a server that has been restarted.
pub(super) fn again(common: &Common, server: &Started, probe: &Probe) -> Result<(), ServerError> {
    let http = common.http(&server.base, 2);
    let scores = scores(common, server, &http, &probe.rows)?;
    check_weights(common, server, &scores, &probe.source, &probe.scores)
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

/// The built-in engine's scores, where it computes what the server does, and the model is small.
fn built_in(common: &Common, rows: &[ScoreRow]) -> Result<Option<(String, Vec<Vec<f32>>)>> {
    if !is_f32(common) || weight_bytes(common) > SMALL_MODEL {
        return Ok(None);
    }
    let mut scorer = CpuEngine::default().scorer(&common.model)?;
    Ok(Some(("the built-in engine".to_owned(), score_all(&mut *scorer, rows.to_vec())?)))
}

fn is_f32(common: &Common) -> bool {
    ["float32", "float"].contains(&common.config.dtype.as_str())
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

fn check_weights(
    common: &Common,
    server: &Started,
    scores: &[Vec<f32>],
    source: &str,
    expected: &[Vec<f32>],
) -> Result<(), ServerError> {
    let difference = Difference::of(scores, expected);
    tracing::info!("{}: probed against {source}: {difference}", server.label);
    if difference.is_rounding(common) {
        return Ok(());
    }
    let detail = format!(
        "its weights are not those of {}: its scores differ from those of {source} by {difference}",
        common.model.display()
    );
    Err(ServerError::Weights { server: server.label.clone(), detail })
}

/// Draws with a temperature and few tokens to choose from: log-probs after either are far from the model's
/// own.
fn check_samples(common: &Common, server: &Started, http: &Http, prompt: &[u32]) -> Result<(), ServerError> {
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
    if difference.is_rounding(common) {
        return Ok(());
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

    fn is_rounding(&self, common: &Common) -> bool {
        if is_f32(common) { self.largest <= F32_LIMIT } else { self.mean <= HALF_LIMIT }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2e} nats per token on average, at most {:.2e}", self.mean, self.largest)
    }
}
