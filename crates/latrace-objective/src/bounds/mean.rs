//! Mean of a bound over all questions: `(1/Q) Σ_q L^K_q ≤ (1/Q) Σ_q log P(Y_x|x_q)` in expectation.
//!
//! Assumption: every question is there. A question of minus infinity makes the mean minus infinity: the mean
//! of the others would bound nothing. Limit case: one question, which has no standard error.

use super::iwae::IwaePoint;
use super::summary::BoundSummary;

/// Mean of one L^K over all questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundMean {
    /// All questions.
    pub questions: usize,
    /// Those whose L^K is minus infinity.
    pub unbounded: usize,
    /// Nats per question; minus infinity if `unbounded` is above 0, NaN without a question.
    pub mean: f64,
    /// Standard error of `mean` over questions and their traces; `None` below two questions, or where `mean`
    /// is minus infinity.
    pub standard_error: Option<f64>,
    /// Standard error of `mean` over traces alone; `None` where a question states no error, or where `mean`
    /// is minus infinity.
    pub monte_carlo_error: Option<f64>,
}

impl BoundMean {
    /// The mean of one K.
    ///
    /// # Shapes
    /// `point_q`: one estimate per question, all of one K.
    #[must_use]
    pub fn from_points<'a>(point_q: impl IntoIterator<Item = &'a IwaePoint>) -> Self {
        let BoundSummary { questions, unbounded, mean, standard_error, monte_carlo_error, .. } =
            BoundSummary::from_points(point_q);
        let is_finite = unbounded == 0;
        Self {
            questions,
            unbounded,
            mean,
            standard_error: standard_error.filter(|_| is_finite),
            monte_carlo_error: monte_carlo_error.filter(|_| is_finite),
        }
    }
}
