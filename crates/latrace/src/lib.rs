//! Variational reasoning from questions to a trained, measured model.
