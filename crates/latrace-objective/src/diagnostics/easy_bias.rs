//! The bias towards easy questions — section 6: weight per question against accuracy, and who receives the
//! gradient.
//!
//! Assumption: a question's share is its weight, i.e. every question's forward-KL gradient is of equal size.
//! Limit case: a weight of 1 gives each stratum its share of the questions that have a gradient at all.

use crate::error::{Result, check_domain};
use crate::objectives::Objective;

/// Accuracy below which a question is hard.
pub const HARD_BELOW: f64 = 1.0 / 3.0;
/// Accuracy from which a question is easy.
pub const EASY_FROM: f64 = 2.0 / 3.0;

/// Shares of the gradient, which sum to 1 (or are all 0 where no question has weight).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GradientShare {
    /// Accuracy in [2/3, 1].
    pub easy: f64,
    /// Accuracy in [1/3, 2/3).
    pub medium: f64,
    /// Accuracy in [0, 1/3).
    pub hard: f64,
}

/// Share of the gradient that each stratum of questions receives under an objective.
///
/// # Shapes
/// `accuracy_q`: P(Y_x|x) per question, in [0, 1].
///
/// # Errors
/// An accuracy outside [0, 1].
pub fn gradient_share(objective: &Objective, accuracy_q: &[f64]) -> Result<GradientShare> {
    let is_share = |accuracy| (0.0..=1.0).contains(&accuracy);
    check_domain("gradient_share", "an accuracy in [0, 1]", accuracy_q, is_share)?;
    let mut share = GradientShare::default();
    for &accuracy in accuracy_q {
        *share.stratum(accuracy) += objective.question_weight(accuracy);
    }
    Ok(share.normalised())
}

impl GradientShare {
    fn stratum(&mut self, accuracy: f64) -> &mut f64 {
        match accuracy {
            accuracy if accuracy < HARD_BELOW => &mut self.hard,
            accuracy if accuracy < EASY_FROM => &mut self.medium,
            _ => &mut self.easy,
        }
    }

    fn normalised(self) -> Self {
        let Self { easy, medium, hard } = self;
        let total = easy + medium + hard;
        // Where no question has weight, there is no gradient to have shares of.
        let scale = if total > 0.0 { total } else { 1.0 };
        Self { easy: easy / scale, medium: medium / scale, hard: hard / scale }
    }
}

/// Weight per question at `points` + 1 evenly spaced accuracies from 0 to 1: rows of (accuracy, weight).
#[must_use]
pub fn weight_curve(objective: &Objective, points: usize) -> Vec<(f64, f64)> {
    let accuracies = (0..=points).map(|i| i as f64 / points.max(1) as f64);
    accuracies.map(|accuracy| (accuracy, objective.question_weight(accuracy))).collect()
}
