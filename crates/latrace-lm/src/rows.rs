//! Training rows, and where they come from: memory or a file, a batch at a time.

use crate::error::{Error, Result};
use crate::train_config::Loss;
use std::ops::Range;
use std::path::Path;

/// One number for each response token of a row: loss weights, or advantages.
#[derive(Clone, Debug, PartialEq)]
pub enum Weights {
    /// The same for all of them: rho~ of a trace, or its advantage.
    Row(f32),
    /// One by one.
    PerToken(Vec<f32>),
}

impl Weights {
    /// The number of response token `token`.
    ///
    /// # Panics
    /// If the numbers are given one by one and there is none for that token.
    #[must_use]
    pub fn at(&self, token: usize) -> f32 {
        match self {
            Self::Row(value) => *value,
            Self::PerToken(values) => values[token],
        }
    }

    /// The numbers that are written down: one, or one per token.
    pub(crate) fn stored(&self) -> &[f32] {
        match self {
            Self::Row(value) => std::slice::from_ref(value),
            Self::PerToken(values) => values,
        }
    }

    /// The numbers of all `response` tokens.
    fn spread(&self, response: usize) -> impl Iterator<Item = f32> {
        // Without allocating: the fingerprint runs over every token of every row.
        let repeat = if let Self::Row(_) = self { response } else { 1 };
        self.stored().iter().flat_map(move |&value| std::iter::repeat_n(value, repeat))
    }

    fn truncate(&mut self, response: usize) {
        if let Self::PerToken(values) = self {
            values.truncate(response);
        }
    }

    fn fits(&self, response: usize) -> bool {
        if let Self::PerToken(values) = self { values.len() == response } else { true }
    }
}

/// What a policy gradient needs of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Advantages of the response tokens.
    pub advantages: Weights,
    /// Response tokens that were given to the policy, not drawn from it. They are no actions: their advantage
    /// is 0, whatever `advantages` says.
    pub given: Range<usize>,
    /// log p (nats) of each response token under the policy that sampled it.
    pub old_logp: Vec<f32>,
}

impl Policy {
    /// Advantage of response token `token`.
    #[must_use]
    pub fn advantage(&self, token: usize) -> f32 {
        if self.given.contains(&token) { 0.0 } else { self.advantages.at(token) }
    }

    fn is_valid(&self, response: usize) -> bool {
        self.advantages.fits(response) && self.old_logp.len() == response && self.is_finite()
    }

    fn is_finite(&self) -> bool {
        self.advantages.stored().iter().chain(&self.old_logp).all(|x| x.is_finite())
    }

    /// Advantages of all `response` tokens, then their old log-probs.
    fn numbers(&self, response: usize) -> impl Iterator<Item = f32> {
        let advantages = self.advantages.spread(response).enumerate();
        // As training sees them: a change of an advantage that has no effect changes no fingerprint.
        let drawn = |token: usize| !self.given.contains(&token);
        let advantages = advantages.map(move |(t, value)| if drawn(t) { value } else { 0.0 });
        advantages.chain(self.old_logp.iter().copied())
    }

    fn truncate(&mut self, response: usize) {
        self.advantages.truncate(response);
        self.old_logp.truncate(response);
    }
}

/// One training example.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainRow {
    /// Its name, for messages.
    pub id: String,
    /// Prompt, then response.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_len: usize,
    /// Loss weights of the response tokens: finite, not negative.
    pub weights: Weights,
    /// For the clipped policy gradient only.
    pub policy: Option<Policy>,
}

impl TrainRow {
    /// Tokens of the response.
    #[must_use]
    pub fn response_len(&self) -> usize {
        self.lengths().response
    }

    /// Whether response token `token` is part of the loss. Tokens of weight 0 need no log-prob, and the head
    /// is spared their logits.
    pub(crate) fn is_scored(&self, token: usize) -> bool {
        self.weights.at(token) != 0.0
    }

    /// Tokens of prompt and response.
    #[must_use]
    pub fn lengths(&self) -> RowLengths {
        RowLengths { prompt: self.prompt_len, response: self.tokens.len().saturating_sub(self.prompt_len) }
    }

    /// Mean weight of the response tokens.
    #[must_use]
    pub fn mean_weight(&self) -> f64 {
        // One number for the whole row is its own mean, bit for bit; summing copies of it would round.
        let weights = self.weights.stored();
        weights.iter().map(|&weight| f64::from(weight)).sum::<f64>() / weights.len() as f64
    }

    /// Cuts the row to `limit` tokens, if it is longer.
    pub fn truncate(&mut self, limit: usize) {
        self.tokens.truncate(limit);
        // The prompt stays whole: the plan drops rows whose prompt alone reaches the limit.
        let response = self.response_len();
        self.weights.truncate(response);
        self.policy.iter_mut().for_each(|policy| policy.truncate(response));
    }

    /// All numbers that training depends on, spread over the response tokens: weights, then advantages and
    /// old log-probs. A row thus gives the same numbers however its weights are stored.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = f32> {
        let response = self.response_len();
        let of_policy = self.policy.iter().flat_map(move |policy| policy.numbers(response));
        self.weights.spread(response).chain(of_policy)
    }

    /// Fails unless the row can be trained on with `loss`.
    pub(crate) fn check(&self, loss: Loss) -> Result<()> {
        self.check_lengths()?;
        self.check_weights()?;
        match (&self.policy, loss) {
            (None, Loss::Nll) => Ok(()),
            (Some(policy), Loss::ClippedPolicyGradient) => self.check_policy(policy),
            (None, Loss::ClippedPolicyGradient) => {
                self.fail("loss = \"clipped-policy-gradient\" needs advantages and old log-probs")
            }
            (Some(_), Loss::Nll) => {
                self.fail("advantages and old log-probs have no meaning with loss = \"nll\"")
            }
        }
    }

    fn check_lengths(&self) -> Result<()> {
        check_not_empty(&self.id, self.prompt_len, self.response_len())
    }

    fn check_weights(&self) -> Result<()> {
        let (response, got) = (self.response_len(), self.weights.stored().len());
        if self.weights.fits(response) {
            return self.check_weight_values();
        }
        self.fail(format!("expected {response} token weights, one per response token, got {got}"))
    }

    fn check_weight_values(&self) -> Result<()> {
        // A negative weight would maximise the loss of its token without bound.
        let is_bad = |weight: &f32| !weight.is_finite() || *weight < 0.0;
        match self.weights.stored().iter().enumerate().find(|(_, weight)| is_bad(weight)) {
            Some((at, weight)) => self.fail(format!(
                "weight of response token {at}: expected a finite number of at least 0, got {weight}"
            )),
            None => Ok(()),
        }
    }

    fn check_policy(&self, policy: &Policy) -> Result<()> {
        let response = self.response_len();
        if policy.is_valid(response) {
            return Ok(());
        }
        self.fail(format!("expected {response} finite advantages and old log-probs, one per response token"))
    }

    fn fail(&self, detail: impl Into<String>) -> Result<()> {
        Err(Error::row(&self.id, detail))
    }
}

/// Fails unless both prompt and response have tokens.
pub(crate) fn check_not_empty(id: &str, prompt: usize, response: usize) -> Result<()> {
    if prompt == 0 {
        let detail = "the prompt has no tokens: expected at least one for the first response token to follow";
        return Err(Error::row(id, detail));
    }
    if response == 0 { Err(Error::row(id, "the response has no tokens")) } else { Ok(()) }
}

/// Tokens of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLengths {
    /// Of its prompt.
    pub prompt: usize,
    /// Of its response.
    pub response: usize,
}

impl RowLengths {
    /// Of both.
    #[must_use]
    pub fn total(self) -> usize {
        self.prompt + self.response
    }
}

/// Rows to train on. Lengths are known of all rows; contents are read for one update at a time, so that a
/// data set larger than memory can be trained on.
pub trait RowSource: Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Lengths of row `row`, below [`RowSource::len`].
    fn lengths(&self, row: usize) -> RowLengths;

    /// Whether row `row` is of the same question as the one before it: rows of a question have its id, and follow
    /// one another.
    fn continues_question(&self, row: usize) -> bool;

    /// The given rows, in the order asked for.
    ///
    /// # Errors
    /// A row that cannot be read.
    fn read(&self, rows: &[usize]) -> Result<Vec<TrainRow>>;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The [`crate::RowFile`] that holds exactly these rows, if they are in one: another process can read it.
    fn file(&self) -> Option<&Path> {
        None
    }
}

impl RowSource for Vec<TrainRow> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn lengths(&self, row: usize) -> RowLengths {
        self[row].lengths()
    }

    fn continues_question(&self, row: usize) -> bool {
        row > 0 && self[row].id == self[row - 1].id
    }

    fn read(&self, rows: &[usize]) -> Result<Vec<TrainRow>> {
        Ok(rows.iter().map(|&row| self[row].clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(weights: Weights) -> TrainRow {
        TrainRow { id: "a".into(), tokens: vec![7, 8, 9, 10, 11], prompt_len: 2, weights, policy: None }
    }

    fn policy(advantages: Weights, given: Range<usize>) -> Policy {
        Policy { advantages, given, old_logp: vec![-1.0, -2.0, -3.0] }
    }

    #[track_caller]
    fn check(row: &TrainRow, loss: Loss, expected: &str) {
        let got = row.check(loss).map_or_else(|error| error.to_string(), |()| "fine".into());
        assert!(got.contains(expected), "expected {expected:?} in {got:?}");
    }

    #[test]
    fn one_weight_means_the_same_as_many_equal_ones() {
        let (one, many) = (row(Weights::Row(0.5)), row(Weights::PerToken(vec![0.5; 3])));
        assert_eq!(one.numbers().collect::<Vec<_>>(), [0.5; 3]);
        assert_eq!(many.numbers().collect::<Vec<_>>(), [0.5; 3]);
        assert_eq!((one.mean_weight(), many.mean_weight()), (0.5, 0.5));
        assert_eq!(row(Weights::PerToken(vec![1.0, 2.0, 6.0])).mean_weight(), 3.0);
    }

    #[test]
    fn given_tokens_have_no_advantage() {
        for advantages in [Weights::Row(2.0), Weights::PerToken(vec![2.0; 3])] {
            let policy = policy(advantages, 1..2);
            assert_eq!([0, 1, 2].map(|token| policy.advantage(token)), [2.0, 0.0, 2.0]);
            let row = TrainRow { policy: Some(policy), ..row(Weights::Row(1.0)) };
            assert_eq!(row.numbers().collect::<Vec<_>>(), [1.0, 1.0, 1.0, 2.0, 0.0, 2.0, -1.0, -2.0, -3.0]);
        }
    }

    #[test]
    fn cutting_keeps_the_numbers_of_what_is_left() {
        let policy = policy(Weights::PerToken(vec![4.0, 5.0, 6.0]), 0..0);
        let mut cut = TrainRow { policy: Some(policy), ..row(Weights::PerToken(vec![1.0, 2.0, 3.0])) };
        cut.truncate(9);
        assert_eq!(cut.lengths(), RowLengths { prompt: 2, response: 3 });
        cut.truncate(4);
        assert_eq!((cut.lengths().total(), cut.tokens.as_slice()), (4, &[7, 8, 9, 10][..]));
        assert_eq!(cut.numbers().collect::<Vec<_>>(), [1.0, 2.0, 4.0, 5.0, -1.0, -2.0]);
        check(&cut, Loss::ClippedPolicyGradient, "fine");
    }

    #[test]
    fn rows_that_cannot_be_trained_on_are_named() {
        let good = row(Weights::Row(0.0));
        check(&good, Loss::Nll, "fine");
        check(&TrainRow { prompt_len: 0, ..good.clone() }, Loss::Nll, "the prompt has no tokens");
        for prompt_len in [5, 6] {
            check(
                &TrainRow { prompt_len, ..good.clone() },
                Loss::Nll,
                "row \"a\": the response has no tokens",
            );
        }
        let message = "expected 3 token weights, one per response token, got 2";
        check(&row(Weights::PerToken(vec![1.0; 2])), Loss::Nll, message);
        let message = "weight of response token 1: expected a finite number of at least 0, got -1";
        check(&row(Weights::PerToken(vec![0.0, -1.0, 0.0])), Loss::Nll, message);
        check(&row(Weights::Row(f32::NAN)), Loss::Nll, "weight of response token 0");
        check(&row(Weights::Row(f32::INFINITY)), Loss::Nll, "got inf");
        check(&good, Loss::ClippedPolicyGradient, "needs advantages");
    }

    #[test]
    fn policies_that_cannot_be_trained_on_are_named() {
        let with = |policy| TrainRow { policy: Some(policy), ..row(Weights::Row(1.0)) };
        let good = with(policy(Weights::Row(-1.0), 0..3));
        check(&good, Loss::ClippedPolicyGradient, "fine");
        check(&good, Loss::Nll, "no meaning with loss = \"nll\"");
        let bad = [
            policy(Weights::Row(f32::NAN), 0..0),
            policy(Weights::PerToken(vec![1.0; 2]), 0..0),
            Policy { old_logp: vec![-1.0; 2], ..policy(Weights::Row(1.0), 0..0) },
            Policy { old_logp: vec![f32::NEG_INFINITY; 3], ..policy(Weights::Row(1.0), 0..0) },
        ];
        for policy in bad {
            let message = "expected 3 finite advantages and old log-probs";
            check(&with(policy), Loss::ClippedPolicyGradient, message);
        }
    }
}
