//! The mathematics of variational reasoning: bounds, estimators, weights, selection.
