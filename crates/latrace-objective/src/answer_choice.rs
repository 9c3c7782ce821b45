//! Which verified answers of a chosen trace go with it into the data set, section 8.
//!
//! Assumption: any verified answer is as good as another. `all` is the answer gradient of section 3, the mean
//! over the correct ones; `one` has its expectation, from a shorter data set. differs in: the paper draws one
//! at random, its release (sail-sg/variational-reasoning 21bc48a) takes the first; here `all` is the default.
//! Limit cases: one verified answer, where all three agree; none, where no answer has a share.

use crate::names::named;
use crate::{Rng, Verdict};

/// How a trace's weight is shared out among its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerChoice {
    /// Equal shares for all correct answers.
    #[default]
    All,
    /// Everything to one correct answer, drawn uniformly.
    One,
    /// Everything to the correct answer of lowest index.
    First,
}

named!(AnswerChoice, "answer choice", {
    All = "all",
    One = "one",
    First = "first",
});

impl AnswerChoice {
    /// The share of each answer in its trace's weight.
    ///
    /// # Shapes
    /// `verdict_m`: n verdicts on the answers of one trace. `rng`: the trace's own stream, opened by
    /// [`AnswerChoice::One`] alone. Returns n shares: they sum to 1, or are all 0 where no answer is correct.
    #[must_use]
    pub fn shares(&self, verdict_m: &[Verdict], rng: impl FnOnce() -> Rng) -> Vec<f64> {
        let correct = verdict_m.iter().filter(|verdict| verdict.is_correct()).count();
        match self {
            Self::All => shares_by(verdict_m, |_| 1.0 / correct as f64),
            Self::One => {
                // Opened here: the other choices must not consume a draw of the stream.
                let drawn = rng().below(correct);
                shares_by(verdict_m, |rank| if rank == drawn { 1.0 } else { 0.0 })
            }
            Self::First => shares_by(verdict_m, |rank| if rank == 0 { 1.0 } else { 0.0 }),
        }
    }
}

/// Shares of the correct answers by their rank among themselves; the other answers have none.
fn shares_by(verdict_m: &[Verdict], share_of_rank: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut share_m = vec![0.0; verdict_m.len()];
    let correct = share_m.iter_mut().zip(verdict_m).filter(|(_, verdict)| verdict.is_correct());
    correct.enumerate().for_each(|(rank, (share, _))| *share = share_of_rank(rank));
    share_m
}
