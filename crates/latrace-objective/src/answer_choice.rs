//! Which verified answer of a chosen trace goes with it into the data set (section 8).
//!
//! Assumption: any verified answer is as good as another; a seeded draw keeps their spread. differs in: the
//! paper says "random", its release takes the first (21bc48a); here `random` is the default and `first` the
//! release. Limit case: one verified answer, where both agree; none, where there is no choice.

use crate::names::named;
use crate::{Rng, Verdict};

/// How the answer is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerChoice {
    /// Uniform over the correct answers, seeded.
    #[default]
    Random,
    /// The correct answer of lowest index.
    First,
}

named!(AnswerChoice, "answer choice", {
    Random = "random",
    First = "first",
});

impl AnswerChoice {
    /// Index m of the chosen answer; `None` where none is correct.
    ///
    /// # Shapes
    /// `verdict_m`: n verdicts on the answers of one trace.
    #[must_use]
    pub fn choose(&self, verdict_m: &[Verdict], rng: &mut Rng) -> Option<usize> {
        let mut correct =
            verdict_m.iter().enumerate().filter(|(_, verdict)| verdict.is_correct()).map(|(m, _)| m);
        match self {
            Self::First => correct.next(),
            Self::Random => {
                let count = correct.clone().count();
                correct.nth(rng.below(count))
            }
        }
    }
}
