//! Completions of an engine, and their validation.

use latrace_core::StopReason;

use super::{ModelShape, Request, StopTexts};
use crate::text_codec::TextCodec;

/// Log-probs may exceed 0 by this much: log-sum-exp minus a logit is off by a few units in the last place of
/// the logit, which is 6e-5 for logits around 1000.
pub const LOGP_ROUNDING: f32 = 1e-3;

/// A finished sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// Token ids, including the one that ended it.
    pub ids: Vec<u32>,
    /// log p of each (nats), under the unmodified model: temperature 1 without truncation.
    pub logp: Vec<f32>,
    /// Why it stopped.
    pub stop: StopReason,
}

impl Completion {
    /// Checks that the completion is a possible result of `request` for a model of that shape. `text` decodes
    /// its ids, if there is a tokenizer.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn check(
        &self,
        request: &Request,
        shape: &ModelShape,
        text: Option<&TextCodec>,
    ) -> Result<(), String> {
        Expected::of(request, shape).check(self, shape, text)
    }
}

/// The parts of a request that a completion is checked against, without its prompt, which would be kept
/// twice.
#[derive(Debug)]
pub(super) struct Expected {
    limit: usize,
    stop_ids: Vec<u32>,
    stop_texts: StopTexts,
}

impl Expected {
    pub fn of(request: &Request, shape: &ModelShape) -> Expected {
        Expected {
            limit: request.limit(shape),
            stop_ids: request.stop_ids.clone(),
            stop_texts: request.stop_texts.clone(),
        }
    }

    pub fn check(
        &self,
        completion: &Completion,
        shape: &ModelShape,
        text: Option<&TextCodec>,
    ) -> Result<(), String> {
        let Completion { ids, logp, stop } = completion;
        if ids.is_empty() {
            return Err("expected at least one token, got none".to_owned());
        }
        // Before any use of the ids: decoding one that the model lacks would fail elsewhere.
        shape.check_ids(ids)?;
        check_logp(logp, ids.len())?;
        self.check_end(ids, *stop, text)
    }

    fn check_end(&self, ids: &[u32], stop: StopReason, text: Option<&TextCodec>) -> Result<(), String> {
        let (limit, tokens) = (self.limit, ids.len());
        if tokens > limit {
            return Err(format!("expected at most {limit} tokens, got {tokens}"));
        }
        self.check_stop_id(ids, stop)?;
        match stop {
            StopReason::MaxTokens if tokens < limit => Err(format!(
                "it claims to have stopped at the token limit: expected {limit} tokens, got {tokens}"
            )),
            StopReason::StopString if !self.holds_stop(ids, text) => {
                Err("it claims to have stopped at a stop text, but its last tokens contain none".to_owned())
            }
            // Stop ids were checked above; an interruption is checked where the client's answers are known.
            _ => Ok(()),
        }
    }

    /// The first stop id ends a sample, whatever else would: it stands last, or nowhere.
    fn check_stop_id(&self, ids: &[u32], stop: StopReason) -> Result<(), String> {
        let got = ids.iter().position(|id| self.stop_ids.contains(id));
        let expected = (stop == StopReason::End).then_some(ids.len() - 1);
        if got == expected {
            return Ok(());
        }
        let [expected, got] =
            [expected, got].map(|at| at.map_or("none".to_owned(), |at| format!("token {at}")));
        let stop = stop.name();
        Err(format!(
            "it claims to have stopped by \"{stop}\": expected {expected} to be its first stop id, got {got}"
        ))
    }

    fn holds_stop(&self, ids: &[u32], text: Option<&TextCodec>) -> bool {
        // Without a tokenizer, nothing can refute the claim; the boundary refuses such requests beforehand.
        !self.stop_texts.is_empty() && text.is_none_or(|text| self.stop_texts.found(ids, text))
    }
}

/// One finite log-prob of at most 0, up to rounding, for each of `tokens` tokens.
pub(super) fn check_logp(logp: &[f32], tokens: usize) -> Result<(), String> {
    if logp.len() != tokens {
        return Err(format!("expected {tokens} log-probs, one per token, got {}", logp.len()));
    }
    // A comparison with NaN is false.
    let is_logp = |logp: f32| (logp <= LOGP_ROUNDING) & (logp > f32::NEG_INFINITY);
    // Without a branch per token: all log-probs of a run pass through here.
    if logp.iter().fold(true, |valid, &logp| valid & is_logp(logp)) {
        return Ok(());
    }
    let at = logp.iter().position(|&logp| !is_logp(logp)).unwrap_or_default();
    Err(format!("log-prob of token {at}: expected a finite number of at most 0, got {}", logp[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use latrace_core::SamplingParams;

    const SHAPE: ModelShape = ModelShape { vocabulary_size: 10, positions: 7, end_ids: Vec::new() };

    fn request() -> Request {
        Request {
            prompt: vec![1, 2],
            seeds: vec![0],
            params: SamplingParams::plain(3),
            stop_ids: vec![8, 9],
            stop_texts: StopTexts::new(vec!["stop".to_owned()]),
        }
    }

    fn completion(ids: &[u32], stop: StopReason) -> Completion {
        Completion { ids: ids.to_vec(), logp: vec![-0.5; ids.len()], stop }
    }

    #[track_caller]
    fn check(completion: &Completion, expected: Result<(), &str>) {
        let got = completion.check(&request(), &SHAPE, None);
        match expected {
            Ok(()) => assert_eq!(got, Ok(())),
            Err(part) => assert!(got.as_ref().is_err_and(|got| got.contains(part)), "{part:?}: {got:?}"),
        }
    }

    #[test]
    fn a_completion_ends_as_it_says() {
        check(&completion(&[1, 8], StopReason::End), Ok(()));
        check(&completion(&[1, 2, 9], StopReason::End), Ok(()));
        check(&completion(&[1, 2, 3], StopReason::MaxTokens), Ok(()));
        check(&completion(&[1], StopReason::Interrupted), Ok(()));
        check(&completion(&[1, 2], StopReason::StopString), Ok(()));
        check(
            &completion(&[1, 2], StopReason::End),
            Err("expected token 1 to be its first stop id, got none"),
        );
        check(&completion(&[8, 1, 9], StopReason::End), Err("expected token 2"));
        check(&completion(&[1, 2, 8], StopReason::MaxTokens), Err("expected none"));
        check(&completion(&[8, 2], StopReason::StopString), Err("got token 0"));
        check(&completion(&[1, 2], StopReason::MaxTokens), Err("expected 3 tokens, got 2"));
        check(&completion(&[1, 2, 3, 4], StopReason::MaxTokens), Err("expected at most 3 tokens, got 4"));
        check(&completion(&[], StopReason::Interrupted), Err("at least one token"));
        let without = Request { stop_texts: StopTexts::default(), ..request() };
        let got = completion(&[1, 2], StopReason::StopString).check(&without, &SHAPE, None);
        assert!(got.unwrap_err().contains("stop text"));
    }

    #[test]
    fn the_limit_is_that_of_the_models_positions_where_those_are_fewer() {
        let long = Request { params: SamplingParams::plain(100), ..request() };
        assert_eq!(completion(&[1; 5], StopReason::MaxTokens).check(&long, &SHAPE, None), Ok(()));
        assert!(completion(&[1; 4], StopReason::MaxTokens).check(&long, &SHAPE, None).is_err());
    }

    #[test]
    fn every_id_is_the_models_and_has_a_log_prob() {
        check(
            &completion(&[1, 10], StopReason::Interrupted),
            Err("token 1: expected an id below 10, got 10"),
        );
        let with =
            |logp: &[f32]| Completion { logp: logp.to_vec(), ..completion(&[1, 2], StopReason::Interrupted) };
        check(&with(&[0.0, LOGP_ROUNDING]), Ok(()));
        check(&with(&[-1e4]), Err("expected 2 log-probs, one per token, got 1"));
        check(&with(&[-1.0; 3]), Err("expected 2 log-probs, one per token, got 3"));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.01] {
            check(&with(&[-1.0, bad]), Err("log-prob of token 1: expected a finite number of at most 0"));
        }
    }
}
