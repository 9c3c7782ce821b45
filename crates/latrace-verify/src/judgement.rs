//! The result of judging: the reason, and what was judged.

use latrace_core::{Reason, Verdict};

/// A verdict's reason and the answer that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why; the verdict follows from it.
    pub reason: Reason,
    /// The answer found in the response, as it stands there.
    pub extracted: Option<String>,
}

impl Judgement {
    /// A judgement of `extracted`.
    pub fn new(reason: Reason, extracted: impl Into<Option<String>>) -> Judgement {
        Judgement { reason, extracted: extracted.into() }
    }

    /// The verdict that follows from the reason.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}
