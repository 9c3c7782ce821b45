//! Mixture proposal `m(z) = a pi(z|x) + (1−a) q(z|x,y')` (CoVRL, arXiv 2512.12576): of a question's K traces a K are
//! drawn from pi and the others from q, and each is weighed against m, whichever drew it (the balance heuristic).
//!
//! Then `pi/m ≤ 1/a`: the full ratio has bounded weights, and the mean of `pi/m · pi(Y_x|x,z)` over the K traces is an
//! unbiased estimate of `P(Y_x|x)`, so that its log is a bound in expectation for every number of traces. Limit
//! cases: a = 0 is q alone, a = 1 is pi alone.

use crate::TraceScore;
use crate::log_space::log_sum_exp;

impl TraceScore {
    /// The score with m in the place of q.
    ///
    /// # Shapes
    /// `share` a in [0, 1], no unit; sums in nats over the trace, as before.
    #[must_use]
    pub fn against_mixture(self, share: f64) -> TraceScore {
        let logq_sum = log_sum_exp(&[share.ln() + self.logp_sum, (-share).ln_1p() + self.logq_sum]);
        TraceScore { logq_sum, ..self }
    }
}
