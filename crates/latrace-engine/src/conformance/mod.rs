//! What every engine must do, as functions that the tests of an engine call.
//!
//! Each panics where the engine does not. An engine's own tests call [`all`] with a model that the engine can
//! load, and add what is theirs alone: processes, addresses, devices.
#![allow(clippy::unwrap_used, reason = "a suite of tests fails where it stands")]

mod liar;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub use tests::{model as tiny_model, model_of as tiny_model_of};

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use latrace_core::{SamplingParams, StopReason};

use crate::boundary::{
    Completion, Engine, EngineRole, Error, Generate, GenerateClient, Request, Score, ScoreClient, ScoreRow,
    StopTexts,
};
use crate::sampling::generate_all;
use crate::scoring::score_all;

use liar::{LIES, Liar};

/// An engine, a model that it can use, and how far its log-probs of sampling may be from those of scoring.
pub struct Subject<'a> {
    /// The engine.
    pub engine: &'a dyn Engine,
    /// The model's folder.
    pub model: &'a Path,
    /// Largest |sampled - scored| of a token (nats); 0 where the engine says that it is exact.
    pub tolerance: f32,
}

impl Subject<'_> {
    fn generator(&self) -> Box<dyn Generate> {
        self.engine.generator(self.model).unwrap()
    }

    fn scorer(&self) -> Box<dyn Score> {
        self.engine.scorer(self.model).unwrap()
    }

    /// Completions by request and sample, of a generator of their own.
    fn draw(&self, requests: Vec<Request>) -> Vec<Vec<Completion>> {
        generate_all(&mut *self.generator(), requests).unwrap()
    }

    /// The only completion of a request for one sample.
    fn draw_one(&self, request: Request) -> Completion {
        self.draw(vec![request]).remove(0).remove(0)
    }

    /// Log-probs by row, of a scorer of their own.
    fn score(&self, rows: Vec<ScoreRow>) -> Vec<Vec<f32>> {
        score_all(&mut *self.scorer(), rows).unwrap()
    }

    /// Checks that log-probs of samples are those that the scorer gives.
    #[track_caller]
    fn check_scores(&self, requests: &[Request], samples: &[Vec<Completion>]) {
        let of_request = |(request, samples): (&Request, &Vec<Completion>)| {
            samples.iter().map(|sample| row_of(request, sample)).collect::<Vec<_>>()
        };
        let scores = self.score(requests.iter().zip(samples).flat_map(of_request).collect());
        for (sample, scored) in samples.iter().flatten().zip(&scores) {
            close(&sample.logp, scored, self.tolerance);
        }
    }

    /// Requests of several lengths, `samples` of each, without anything that ends a sample but its limit.
    fn requests(&self, samples: u64) -> Vec<Request> {
        // Not of a generator: an engine that only scores has none.
        let vocabulary = self.scorer().shape().vocabulary_size as u32;
        let request = |(number, length): (u64, u32)| {
            // Prompts that differ from their first token on: none is a prefix that another could reuse.
            let prompt = (0..length).map(|at| (at * at + 7 * at + number as u32) % vocabulary).collect();
            let seeds = (0..samples).map(|sample| 1000 * number + sample).collect();
            unstopped(prompt, seeds, 5 + number as usize)
        };
        (0..).zip([1, 9, 3, 17]).map(request).collect()
    }
}

/// A request whose samples end at their limit alone.
fn unstopped(prompt: Vec<u32>, seeds: Vec<u64>, limit: usize) -> Request {
    Request {
        prompt,
        seeds,
        params: SamplingParams::plain(limit),
        stop_ids: Vec::new(),
        stop_texts: StopTexts::default(),
    }
}

fn row_of(request: &Request, sample: &Completion) -> ScoreRow {
    ScoreRow { prompt: request.prompt.clone(), response: sample.ids.clone() }
}

/// Everything that does not depend on the model.
pub fn all(subject: &Subject<'_>) {
    identity_is_stable(subject);
    a_sample_depends_on_its_prompt_and_seed_alone(subject);
    sampled_log_probs_are_the_scorers(subject);
    samples_end_at_their_limit(subject);
    samples_end_at_the_first_stop_id(subject);
    samples_end_at_stop_texts(subject);
    bad_requests_are_errors(subject);
    a_client_can_interrupt_a_sample(subject);
    a_clients_error_ends_the_work(subject);
    many_requests_and_rows_are_kept_apart(subject);
    no_requests_are_no_work(subject);
    scoring(subject);
}

/// What does not depend on samples, for engines that only score.
pub fn scoring(subject: &Subject<'_>) {
    a_score_depends_on_its_row_alone(subject);
    bad_rows_are_errors(subject);
    a_score_clients_error_ends_the_work(subject);
    no_rows_are_no_work(subject);
}

/// The same engine has one identity, and it does not change with use.
pub fn identity_is_stable(subject: &Subject<'_>) {
    for role in [EngineRole::Generate, EngineRole::Score, EngineRole::Train] {
        let before = subject.engine.identity(role);
        assert!(!before.kind.is_empty() && !before.version.is_empty(), "{before:?}");
        drop(subject.generator());
        assert_eq!(subject.engine.identity(role), before);
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<crate::Identity>(&text).unwrap(), before);
    }
}

/// Whatever it is drawn with, in whatever order, and by whichever generator.
pub fn a_sample_depends_on_its_prompt_and_seed_alone(subject: &Subject<'_>) {
    let requests = subject.requests(3);
    let together = subject.draw(requests.clone());
    let mut generator = subject.generator();
    // In reverse, so that what the generator has cached from earlier requests is not what it was above.
    for (at, request) in requests.iter().enumerate().rev() {
        for (sample, &seed) in request.seeds.iter().enumerate() {
            let alone = Request { seeds: vec![seed], ..request.clone() };
            let alone = generate_all(&mut *generator, vec![alone]).unwrap();
            assert_eq!(alone, [[together[at][sample].clone()]], "request {at}, sample {sample}");
        }
    }
    // A generator that ignored its seeds would pass all of the above. Of three samples, two may be equal by
    // chance.
    let seeds = |samples: &[Completion]| samples.iter().map(|c| c.ids.clone()).collect::<Vec<_>>();
    let longest = seeds(&together[3]);
    assert!(longest[0] != longest[1] || longest[0] != longest[2], "seeds make samples differ");
    let again = generate_all(&mut *generator, requests).unwrap();
    assert_eq!(again, together, "used once more");
}

/// Log-probs are of the model as it is, whatever the samples are drawn from.
pub fn sampled_log_probs_are_the_scorers(subject: &Subject<'_>) {
    let exact = subject.engine.identity(EngineRole::Generate).exact;
    assert_eq!(exact, subject.tolerance == 0.0, "an engine is exact, or has a tolerance");
    // Neither a temperature nor truncation may show in log-probs, which are those of the model itself.
    let hot = SamplingParams { temperature: 1.7, top_p: 0.9, top_k: 5, min_p: 0.01, max_new_tokens: 8 };
    for params in [SamplingParams::plain(8), hot, SamplingParams { temperature: 0.0, ..hot }] {
        let requests: Vec<Request> =
            subject.requests(2).into_iter().map(|request| Request { params, ..request }).collect();
        subject.check_scores(&requests, &subject.draw(requests.clone()));
    }
}

/// Whatever it is scored with.
pub fn a_score_depends_on_its_row_alone(subject: &Subject<'_>) {
    let row = |request: Request| ScoreRow { response: request.prompt.clone(), prompt: request.prompt };
    let rows: Vec<ScoreRow> = subject.requests(1).into_iter().map(row).collect();
    let mut scorer = subject.scorer();
    let together = score_all(&mut *scorer, rows.clone()).unwrap();
    for (row, together) in rows.into_iter().zip(&together).rev() {
        let alone = score_all(&mut *scorer, vec![row]).unwrap();
        close(&alone[0], together, subject.tolerance);
    }
}

#[track_caller]
fn close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    let differs = |(got, expected): (&f32, &f32)| {
        // An exact engine is exact to the bit, which `==` does not see in zeros of either sign.
        if tolerance == 0.0 {
            got.to_bits() != expected.to_bits()
        } else {
            (got - expected).abs() > tolerance
        }
    };
    let worst = got.iter().zip(expected).position(differs);
    assert_eq!(worst, None, "{got:?} against {expected:?}, tolerance {tolerance}");
}

/// That of the request, or of the model's positions.
pub fn samples_end_at_their_limit(subject: &Subject<'_>) {
    let positions = subject.generator().shape().positions;
    let short = Request { params: SamplingParams::plain(1), ..subject.requests(1).remove(1) };
    // Room for two tokens, though its parameters allow eight.
    let nearly_full = Request { prompt: vec![1; positions - 2], ..subject.requests(1).remove(3) };
    let samples = subject.draw(vec![short, nearly_full]);
    let lengths: Vec<(usize, StopReason)> =
        samples.iter().flatten().map(|sample| (sample.ids.len(), sample.stop)).collect();
    assert_eq!(lengths, [(1, StopReason::MaxTokens), (2, StopReason::MaxTokens)]);
}

/// The id is the last of the sample, and what comes before is as without it.
pub fn samples_end_at_the_first_stop_id(subject: &Subject<'_>) {
    let free = subject.requests(1).remove(3);
    let whole = subject.draw_one(free.clone());
    let at = whole.ids.len() / 2;
    // The id may be drawn earlier as well, and ends the sample there.
    let first = whole.ids.iter().position(|id| *id == whole.ids[at]).unwrap();
    let stopped = Request { stop_ids: vec![whole.ids[at]], ..free };
    let got = subject.draw_one(stopped);
    assert_eq!((got.stop, got.ids.as_slice()), (StopReason::End, &whole.ids[..=first]));
    close(&got.logp, &whole.logp[..=first], 0.0);
}

/// With the token that completes the text; without a tokenizer, stop texts are refused.
pub fn samples_end_at_stop_texts(subject: &Subject<'_>) {
    let mut generator = subject.generator();
    let free = subject.requests(1).remove(3);
    let whole = subject.draw_one(free.clone());
    let Some(text) = generator.text() else {
        let request = Request { stop_texts: StopTexts::new(vec!["x".to_owned()]), ..free };
        refused(&mut *generator, request, "stop texts need a tokenizer");
        return;
    };
    let at = whole.ids.len() / 2;
    // The text of one token may hold another's; the first token after which it is there is what counts.
    let Some(stop) = text.decode(&whole.ids[at..=at]).filter(|stop| !stop.trim().is_empty()) else { return };
    let stop_texts = StopTexts::new(vec![stop]);
    let first = (1..=whole.ids.len()).find(|&tokens| stop_texts.found(&whole.ids[..tokens], &text)).unwrap();
    let got = subject.draw_one(Request { stop_texts, ..free });
    assert_eq!((got.stop, got.ids.as_slice()), (StopReason::StopString, &whole.ids[..first]));
}

/// By what is wrong, and by the request's name.
pub fn bad_requests_are_errors(subject: &Subject<'_>) {
    let mut generator = subject.generator();
    let shape = generator.shape().clone();
    let good = subject.requests(1).remove(0);
    let id = shape.vocabulary_size as u32;
    refused(&mut *generator, Request { prompt: vec![], ..good.clone() }, "the prompt has no tokens");
    refused(&mut *generator, Request { prompt: vec![id], ..good.clone() }, "expected an id below");
    let full = Request { prompt: vec![0; shape.positions], ..good.clone() };
    refused(&mut *generator, full, "expected room for a new token");
    refused(&mut *generator, Request { seeds: vec![], ..good.clone() }, "at least one sample");
    let cold = SamplingParams { temperature: -1.0, ..good.params };
    refused(&mut *generator, Request { params: cold, ..good }, "temperature");
}

#[track_caller]
fn refused(generator: &mut dyn Generate, request: Request, expected: &str) {
    let error = generate_all(generator, vec![request]).unwrap_err();
    check_refusal(&error, "0", expected);
}

#[track_caller]
fn check_refusal(error: &anyhow::Error, name: &str, expected: &str) {
    let Some(Error::Request { row, detail }) = error.downcast_ref() else { panic!("{error:?}") };
    assert_eq!(row, name);
    assert!(detail.contains(expected), "expected {expected:?} in {detail:?}");
}

/// By what is wrong, and by the row's name.
pub fn bad_rows_are_errors(subject: &Subject<'_>) {
    let mut scorer = subject.scorer();
    let shape = scorer.shape().clone();
    let row =
        |prompt: &[u32], response: &[u32]| ScoreRow { prompt: prompt.into(), response: response.into() };
    let id = shape.vocabulary_size as u32;
    let bad = [
        (row(&[], &[1]), "the prompt has no tokens"),
        (row(&[1], &[]), "the response has no tokens"),
        (row(&[id], &[1]), "expected an id below"),
        (row(&[1], &[id]), "expected an id below"),
        (row(&[1], &vec![0; shape.positions]), "expected at most"),
    ];
    for (row, expected) in bad {
        // Behind a good one, so that a name that is always "0" fails.
        let rows = vec![ScoreRow { prompt: vec![1], response: vec![0] }, row];
        check_refusal(&score_all(&mut *scorer, rows).unwrap_err(), "1", expected);
    }
}

struct Stopping {
    requests: std::vec::IntoIter<Request>,
    /// Tokens after which samples are interrupted.
    after: usize,
    completions: Vec<Completion>,
    /// Completions before the client fails.
    failing_after: usize,
}

impl GenerateClient for Stopping {
    fn next_request(&mut self) -> Result<Option<Request>> {
        Ok(self.requests.next())
    }

    fn grown(&mut self, _: usize, _: usize, ids: &[u32], new: usize) -> ControlFlow<()> {
        assert!((1..=ids.len()).contains(&new));
        if ids.len() >= self.after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finished(&mut self, _: usize, _: usize, completion: Completion) -> Result<()> {
        ensure!(self.completions.len() < self.failing_after, "the disk is full");
        self.completions.push(completion);
        Ok(())
    }
}

/// An engine that streams ends it there; one that does not gives all of it.
pub fn a_client_can_interrupt_a_sample(subject: &Subject<'_>) {
    let request = subject.requests(1).remove(3);
    let whole = subject.draw_one(request.clone());
    let (after, requests) = (2, vec![request].into_iter());
    let mut client = Stopping { requests, after, completions: Vec::new(), failing_after: 1 };
    subject.generator().generate(&mut client).unwrap();
    let got = &client.completions[0];
    assert_eq!(got.stop, StopReason::Interrupted);
    assert!(got.ids.len() >= after && whole.ids.starts_with(&got.ids), "{got:?} of {whole:?}");
}

/// Unchanged, and without further completions.
pub fn a_clients_error_ends_the_work(subject: &Subject<'_>) {
    let requests = subject.requests(4).into_iter();
    let mut client = Stopping { requests, after: usize::MAX, completions: Vec::new(), failing_after: 2 };
    let error = subject.generator().generate(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
    assert_eq!(client.completions.len(), 2);
}

struct FailingScores(std::vec::IntoIter<ScoreRow>);

impl ScoreClient for FailingScores {
    fn next_row(&mut self) -> Result<Option<ScoreRow>> {
        Ok(self.0.next())
    }

    fn scored(&mut self, _: usize, _: Vec<f32>) -> Result<()> {
        Err(anyhow!("no space").context("the disk is full"))
    }
}

/// Unchanged, with what caused it.
pub fn a_score_clients_error_ends_the_work(subject: &Subject<'_>) {
    let rows = vec![ScoreRow { prompt: vec![1], response: vec![0] }; 3];
    let error = subject.scorer().score(&mut FailingScores(rows.into_iter())).unwrap_err();
    assert_eq!(format!("{error:#}"), "the disk is full: no space");
}

/// Streams what it draws, and checks that it is of the request that it says.
struct Streamed {
    requests: std::vec::IntoIter<Request>,
    grown: BTreeMap<usize, Vec<u32>>,
}

impl GenerateClient for Streamed {
    fn next_request(&mut self) -> Result<Option<Request>> {
        Ok(self.requests.next())
    }

    fn grown(&mut self, request: usize, _: usize, ids: &[u32], _: usize) -> ControlFlow<()> {
        self.grown.insert(request, ids.to_vec());
        ControlFlow::Continue(())
    }

    fn finished(&mut self, request: usize, _: usize, completion: Completion) -> Result<()> {
        assert_eq!(self.grown.get(&request), Some(&completion.ids), "request {request}");
        Ok(())
    }
}

/// More of them than an engine takes at once.
pub fn many_requests_and_rows_are_kept_apart(subject: &Subject<'_>) {
    let one = subject.requests(1).remove(0);
    // Seven prompts in all: requests of the same prompt must not get each other's samples.
    let request = |seed: u64| Request { prompt: vec![(seed % 7) as u32], seeds: vec![seed], ..one.clone() };
    let requests: Vec<Request> = (0..200).map(request).collect();
    let samples = subject.draw(requests.clone());
    let mut client = Streamed { requests: requests.clone().into_iter(), grown: BTreeMap::new() };
    subject.generator().generate(&mut client).unwrap();
    assert_eq!(client.grown.len(), 200);
    subject.check_scores(&requests, &samples);
}

/// And no error.
pub fn no_requests_are_no_work(subject: &Subject<'_>) {
    assert!(subject.draw(Vec::new()).is_empty());
}

/// And no error.
pub fn no_rows_are_no_work(subject: &Subject<'_>) {
    assert!(subject.score(Vec::new()).is_empty());
}

/// Refused on arrival, naming request and sample. `engine` tells the truth.
pub fn completions_that_cannot_be_right_are_refused(engine: &dyn Engine, model: &Path) {
    let subject = Subject { engine, model, tolerance: 0.0 };
    for (lie, expected) in LIES {
        let mut liar = Liar { honest: subject.generator(), lie };
        let error = generate_all(&mut liar, subject.requests(2)).unwrap_err().to_string();
        assert!(error.contains(expected), "{lie:?}: expected {expected:?} in {error:?}");
        assert!(error.contains("row \"0\""), "{lie:?}: {error}");
    }
}
