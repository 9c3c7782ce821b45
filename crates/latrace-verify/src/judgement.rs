//! The result of judging: the reason, and what was judged.

use latrace_core::{Reason, Verdict};

/// A verdict's reason and the answer that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why; the verdict follows from it.
    pub reason: Reason,
    /// The answer found in the response, as it stands there.
    pub extracted: Option<String>,
    /// What a verifier of the user's own says besides, or how it failed.
    pub note: Option<String>,
}

impl Judgement {
    /// A judgement of `extracted`.
    pub fn new(reason: Reason, extracted: impl Into<Option<String>>) -> Judgement {
        Judgement { reason, extracted: extracted.into(), note: None }
    }

    /// The judgement with a note.
    #[must_use]
    pub fn with_note(self, note: impl Into<Option<String>>) -> Judgement {
        Judgement { note: note.into(), ..self }
    }

    /// The verdict that follows from the reason.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}
