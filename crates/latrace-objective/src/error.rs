//! What can go wrong, with the operands that show it.

/// An operand that the formula is not defined for. Empty outcomes (no correct trace) are not errors: see
/// [`GroupOutcome`](crate::GroupOutcome).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two axes that must agree do not.
    #[error("{operation}: expected {expected} values, got {got}")]
    Length {
        /// The function that was called.
        operation: &'static str,
        /// Length asked for by the other operands.
        expected: usize,
        /// Length found.
        got: usize,
    },
    /// A mean over nothing.
    #[error("{operation}: expected at least one {noun}, got none")]
    Empty {
        /// The function that was called.
        operation: &'static str,
        /// What is missing.
        noun: &'static str,
    },
    /// A number outside the domain of the formula (NaN included).
    #[error("{operation}: expected {expected}, got {got} at index {index}")]
    Domain {
        /// The function that was called.
        operation: &'static str,
        /// The domain in words.
        expected: &'static str,
        /// The number found.
        got: f64,
        /// Where along the innermost axis.
        index: usize,
    },
    /// A statistic that the chosen estimator or objective needs was not given.
    #[error("{operation}: needs {statistic}, which the group does not hold")]
    Missing {
        /// The objective or estimator.
        operation: &'static str,
        /// The statistic it needs.
        statistic: &'static str,
    },
    /// A name that is in no registry.
    #[error("unknown {kind} {name:?}, expected one of: {known}")]
    UnknownName {
        /// Which registry was asked.
        kind: &'static str,
        /// The name given.
        name: String,
        /// The known names.
        known: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

pub(crate) fn same_length(operation: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Length { operation, expected, got }) }
}

/// Log-weights may be -inf (weight zero), never NaN and never +inf.
pub(crate) fn check_log_weights(operation: &'static str, log_weight_k: &[f64]) -> Result<()> {
    if log_weight_k.is_empty() {
        return Err(Error::Empty { operation, noun: "trace" });
    }
    // False for NaN too.
    check_domain(operation, "a log-weight below +inf", log_weight_k, |value| value < f64::INFINITY)
}

/// Fails at the first value that is not inside the domain that `expected` describes.
pub(crate) fn check_domain(
    operation: &'static str,
    expected: &'static str,
    values: &[f64],
    inside: impl Fn(f64) -> bool,
) -> Result<()> {
    match values.iter().position(|&value| !inside(value)) {
        None => Ok(()),
        Some(index) => Err(Error::Domain { operation, expected, got: values[index], index }),
    }
}
