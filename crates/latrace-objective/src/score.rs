//! Sums of token log-probs: all that the estimators need of a trace or an answer.

use crate::error::{Error, Result, same_length};

/// Log-probs of one trace z under both models, summed over its tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceScore {
    /// `log pi(z|x)`, nats summed over the trace.
    pub logp_sum: f64,
    /// `log q(z|x,y')`, nats summed over the trace.
    pub logq_sum: f64,
    /// `|z|`, tokens of the trace up to and including its close marker.
    pub tokens: usize,
}

impl TraceScore {
    /// Sums a trace's token log-probs in one pass.
    ///
    /// # Shapes
    /// `logp_t`, `logq_t`: T ≥ 1 log-probs of the same token ids under pi and q, nats per token (f32 or f64).
    ///
    /// # Errors
    /// Different lengths (the ids are the same, so there is nothing to cut), no token, NaN, or `log q =
    /// -inf`: a trace that q cannot produce was not drawn from it.
    ///
    /// differs in: the published build cuts both lists to the shorter one (sail-sg/variational-reasoning
    /// 21bc48a).
    pub fn from_tokens<T: Copy + Into<f64>>(logp_t: &[T], logq_t: &[T]) -> Result<Self> {
        let operation = "TraceScore::from_tokens";
        same_length(operation, logp_t.len(), logq_t.len())?;
        if logp_t.is_empty() {
            return Err(Error::Empty { operation, noun: "trace token" });
        }
        // pi may find a trace of q impossible (rho = 0); q may not, since it drew the trace.
        let logp_sum = sum_below_infinity(operation, logp_t)?;
        let logq_sum = sum(logq_t);
        if logq_sum.is_finite() {
            return Ok(Self { logp_sum, logq_sum, tokens: logp_t.len() });
        }
        Err(first_outside(operation, "a finite log q of a trace drawn from q", logq_t, f64::is_finite))
    }

    /// `log pi(z|x) − log q(z|x,y')`, nats summed over the trace.
    #[must_use]
    pub fn log_ratio_sum(&self) -> f64 {
        self.logp_sum - self.logq_sum
    }
}

/// Log-prob of one answer y given its trace, summed over its tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerScore {
    /// `log pi(y|x,z)`, nats summed over the answer.
    pub logp_sum: f64,
    /// `|y|`, tokens of the answer up to and including its close marker.
    pub tokens: usize,
}

impl AnswerScore {
    /// Sums an answer's token log-probs.
    ///
    /// # Shapes
    /// `logp_t`: T ≥ 1 log-probs under pi given x and z, nats per token.
    ///
    /// # Errors
    /// No token, NaN or +inf.
    pub fn from_tokens<T: Copy + Into<f64>>(logp_t: &[T]) -> Result<Self> {
        let operation = "AnswerScore::from_tokens";
        if logp_t.is_empty() {
            return Err(Error::Empty { operation, noun: "answer token" });
        }
        Ok(Self { logp_sum: sum_below_infinity(operation, logp_t)?, tokens: logp_t.len() })
    }
}

fn sum<T: Copy + Into<f64>>(values: &[T]) -> f64 {
    values.iter().map(|&value| value.into()).sum()
}

/// Log-probs may be -inf (a token of probability zero), never NaN and never +inf.
fn sum_below_infinity<T: Copy + Into<f64>>(operation: &'static str, values: &[T]) -> Result<f64> {
    let total = sum(values);
    // False for NaN too, which is why the test is not `total == inf`.
    if total < f64::INFINITY {
        return Ok(total);
    }
    Err(first_outside(operation, "a log pi below +inf", values, |value| value < f64::INFINITY))
}

/// The first token outside the domain; sums are checked, since tokens are many and faults are rare.
fn first_outside<T: Copy + Into<f64>>(
    operation: &'static str,
    expected: &'static str,
    values: &[T],
    inside: fn(f64) -> bool,
) -> Error {
    let index = values.iter().position(|&value| !inside(value.into())).unwrap_or(0);
    Error::Domain { operation, expected, got: values[index].into(), index }
}
