//! A surrogate over many questions, with the questions where it is -inf counted rather than dropped silently.
//! Its mean over the others bounds nothing: see [`super::BoundMean`].

use super::iwae::IwaePoint;

/// Mean of one surrogate over questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundSummary {
    /// Questions seen.
    pub questions: usize,
    /// Questions whose bound is -inf. For K = N these are the questions with no correct trace.
    pub unbounded: usize,
    /// Mean over all questions, nats per question: -inf as soon as one is.
    pub mean: f64,
    /// Mean over the questions with a finite bound, nats; NaN where there is none. Not a bound on the whole
    /// set.
    pub mean_of_finite: f64,
    /// Standard error of `mean_of_finite` over questions and their traces: another set of questions would
    /// differ by so much. `None` below two of them.
    pub standard_error: Option<f64>,
    /// Standard error of `mean_of_finite` over traces alone, `sqrt(Σ_q error_q²) / questions`: the same
    /// questions with other traces would differ by so much. `None` where a question states no error.
    pub monte_carlo_error: Option<f64>,
}

impl BoundSummary {
    /// Summarises one pass over questions (Welford's update, no allocation).
    ///
    /// # Shapes
    /// `bound_q`: nats per question, -inf allowed.
    #[must_use]
    pub fn from_questions(bound_q: impl IntoIterator<Item = f64>) -> Self {
        Self::from_pairs(bound_q.into_iter().map(|bound| (bound, None)))
    }

    /// Summarises one K of L^K, with the error of each question's estimate.
    ///
    /// # Shapes
    /// `point_q`: one estimate per question, all of one K.
    #[must_use]
    pub fn from_points<'a>(point_q: impl IntoIterator<Item = &'a IwaePoint>) -> Self {
        Self::from_pairs(point_q.into_iter().map(|point| (point.value, point.error())))
    }

    fn from_pairs(pairs_q: impl Iterator<Item = (f64, Option<f64>)>) -> Self {
        let mut unbounded = 0;
        let mut moments = Moments { count: 0, mean: 0.0, squares: 0.0, error_squares: Some(0.0) };
        for (bound, error) in pairs_q {
            if bound == f64::NEG_INFINITY {
                unbounded += 1;
            } else {
                moments.add(bound, error);
            }
        }
        Self {
            questions: unbounded + moments.count,
            unbounded,
            mean: if unbounded > 0 { f64::NEG_INFINITY } else { moments.mean() },
            mean_of_finite: moments.mean(),
            standard_error: moments.standard_error(),
            monte_carlo_error: moments.monte_carlo_error(),
        }
    }

    /// Share of questions whose bound is -inf, in [0, 1]; 0 for no question.
    #[must_use]
    pub fn unbounded_share(&self) -> f64 {
        if self.questions == 0 { 0.0 } else { self.unbounded as f64 / self.questions as f64 }
    }
}

/// Running moments of the finite bounds.
struct Moments {
    count: usize,
    mean: f64,
    /// Σ (bound − mean)².
    squares: f64,
    /// Σ error², while every question has an error.
    error_squares: Option<f64>,
}

impl Moments {
    /// Welford's update (1962): bounds are hundreds of nats with a spread of a few, so the difference of
    /// Σ x² and (Σ x)² would lose digits.
    fn add(&mut self, bound: f64, error: Option<f64>) {
        self.count += 1;
        let delta = bound - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (bound - self.mean);
        // One question without an error leaves the mean without one: its share is not known to be zero.
        self.error_squares = self.error_squares.zip(error).map(|(sum, error)| sum + error * error);
    }

    fn mean(&self) -> f64 {
        // Not 0: a set without a finite bound has no such mean, and 0 nats would be the best possible bound.
        if self.count == 0 { f64::NAN } else { self.mean }
    }

    fn standard_error(&self) -> Option<f64> {
        let count = self.count as f64;
        (self.count > 1).then(|| (self.squares / (count - 1.0) / count).sqrt())
    }

    fn monte_carlo_error(&self) -> Option<f64> {
        self.error_squares.filter(|_| self.count > 0).map(|sum| sum.sqrt() / self.count as f64)
    }
}
