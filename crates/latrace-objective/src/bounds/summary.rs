//! A bound over many questions, with the questions whose bound is -inf counted rather than dropped silently.

/// Mean of one bound over questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundSummary {
    /// Questions seen.
    pub questions: usize,
    /// Questions whose bound is -inf. For K = N these are the questions with no correct trace.
    pub unbounded: usize,
    /// Mean over all questions, nats per question: -inf as soon as one is.
    pub mean: f64,
    /// Mean over the questions with a finite bound, nats; NaN where there is none. Not a bound on the whole set.
    pub mean_of_finite: f64,
    /// Standard error of `mean_of_finite` over questions; `None` below two of them.
    pub standard_error: Option<f64>,
}

impl BoundSummary {
    /// Summarises one pass over questions (Welford's update, no allocation).
    ///
    /// # Shapes
    /// `bound_q`: nats per question, -inf allowed.
    #[must_use]
    pub fn from_questions(bound_q: impl IntoIterator<Item = f64>) -> Self {
        let (mut questions, mut finite, mut mean, mut squares) = (0_usize, 0_usize, 0.0, 0.0);
        for bound in bound_q {
            questions += 1;
            if bound == f64::NEG_INFINITY {
                continue;
            }
            finite += 1;
            let delta = bound - mean;
            mean += delta / finite as f64;
            squares += delta * (bound - mean);
        }
        let mean_of_finite = if finite == 0 { f64::NAN } else { mean };
        let standard_error = (finite > 1).then(|| (squares / (finite - 1) as f64 / finite as f64).sqrt());
        let all = if finite < questions { f64::NEG_INFINITY } else { mean_of_finite };
        Self { questions, unbounded: questions - finite, mean: all, mean_of_finite, standard_error }
    }

    /// Share of questions whose bound is -inf, in [0, 1]; 0 for no question.
    #[must_use]
    pub fn unbounded_share(&self) -> f64 {
        if self.questions == 0 { 0.0 } else { self.unbounded as f64 / self.questions as f64 }
    }
}
