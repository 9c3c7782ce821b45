//! Sampling requests.

use latrace_core::SamplingParams;

use super::{ModelShape, StopTexts};

/// A prompt, and the samples to draw from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// The seed of each sample's random numbers. A prompt's samples are requested together, so that an engine
    /// prefills the prompt only once.
    pub seeds: Vec<u64>,
    /// Sampling parameters.
    pub params: SamplingParams,
    /// Tokens that end a sample; the one that does is its last token.
    pub stop_ids: Vec<u32>,
    /// Texts that end a sample, with the token that completes one.
    pub stop_texts: StopTexts,
}

impl Request {
    /// Maximum tokens of a sample: the requested limit, capped by the model's remaining positions.
    pub fn limit(&self, shape: &ModelShape) -> usize {
        self.params.max_new_tokens.min(shape.positions.saturating_sub(self.prompt.len()))
    }

    /// Checks that the request is valid for a model of that shape.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn check(&self, shape: &ModelShape) -> Result<(), String> {
        self.params.validate().map_err(|error| error.to_string())?;
        self.check_prompt(shape)?;
        if self.seeds.is_empty() {
            return Err("expected at least one sample, got no seeds".into());
        }
        if self.stop_texts.texts().iter().any(String::is_empty) {
            return Err("expected non-empty stop texts, got an empty one".into());
        }
        Ok(())
    }

    fn check_prompt(&self, shape: &ModelShape) -> Result<(), String> {
        if self.prompt.is_empty() {
            return Err(no_tokens("new"));
        }
        shape.check_ids(&self.prompt)?;
        shape.check_length(self.prompt.len())?;
        if self.limit(shape) > 0 {
            return Ok(());
        }
        let positions = shape.positions;
        Err(format!(
            "the prompt fills all {positions} of the model's positions: expected room for a new token"
        ))
    }
}

/// An empty prompt: a model predicts tokens only after others.
pub(super) fn no_tokens(following: &str) -> String {
    format!("the prompt has no tokens: expected at least one for the first {following} token to follow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_no_engine_can_do_are_refused_by_what_is_wrong() {
        let shape = ModelShape { vocabulary_size: 10, positions: 4, end_ids: vec![] };
        let good = Request {
            prompt: vec![0, 9, 0],
            seeds: vec![1],
            params: SamplingParams::plain(2),
            stop_ids: vec![],
            stop_texts: StopTexts::default(),
        };
        assert_eq!((good.check(&shape), good.limit(&shape)), (Ok(()), 1));
        assert_eq!(Request { prompt: vec![1], ..good.clone() }.limit(&shape), 2);
        let empty_text = StopTexts::new(vec!["x".to_owned(), String::new()]);
        let bad = [
            (Request { prompt: vec![], ..good.clone() }, "the prompt has no tokens"),
            (Request { prompt: vec![1, 10], ..good.clone() }, "token 1: expected an id below 10, got 10"),
            (Request { prompt: vec![1; 4], ..good.clone() }, "fills all 4 of the model's positions"),
            (Request { prompt: vec![1; 5], ..good.clone() }, "expected at most 4 tokens"),
            (Request { seeds: vec![], ..good.clone() }, "got no seeds"),
            (Request { params: SamplingParams::plain(0), ..good.clone() }, "max_new_tokens"),
            (Request { stop_texts: empty_text, ..good.clone() }, "an empty one"),
        ];
        for (request, expected) in bad {
            let got = request.check(&shape).unwrap_err();
            assert!(got.contains(expected), "expected {expected:?} in {got:?}");
        }
    }
}
