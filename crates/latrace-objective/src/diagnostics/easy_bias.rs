//! The bias towards easy questions — section 6: weight per question against accuracy, and who receives the
//! gradient.
//!
//! Assumption: a question's share is its weight, i.e. every question's forward-KL gradient is of equal size.
//! Limit case: a weight of 1 gives each stratum its share of the questions that have a gradient at all.

use crate::error::{Error, Result};
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
    let mut share = GradientShare::default();
    for (index, &accuracy) in accuracy_q.iter().enumerate() {
        // A range refuses NaN too.
        if !(0.0..=1.0).contains(&accuracy) {
            return Err(Error::Domain {
                operation: "gradient_share",
                expected: "an accuracy in [0, 1]",
                got: accuracy,
                index,
            });
        }
        let stratum = match accuracy {
            accuracy if accuracy < HARD_BELOW => &mut share.hard,
            accuracy if accuracy < EASY_FROM => &mut share.medium,
            _ => &mut share.easy,
        };
        *stratum += objective.question_weight(accuracy);
    }
    let total = share.easy + share.medium + share.hard;
    if total > 0.0 {
        share = GradientShare {
            easy: share.easy / total,
            medium: share.medium / total,
            hard: share.hard / total,
        };
    }
    Ok(share)
}

/// Weight per question at `points` + 1 evenly spaced accuracies from 0 to 1: rows of (accuracy, weight).
#[must_use]
pub fn weight_curve(objective: &Objective, points: usize) -> Vec<(f64, f64)> {
    let accuracy = |i: usize| i as f64 / points.max(1) as f64;
    (0..=points).map(|i| (accuracy(i), objective.question_weight(accuracy(i)))).collect()
}
