//! What the verifier says of one answer, as the objectives see it.

/// `1(y in Y_x)` with its two other outcomes kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// y is in Y_x.
    Correct,
    /// Well-formatted, and not in Y_x.
    Wrong,
    /// No answer could be read (the indicator of well-formattedness in (20) is zero).
    Malformed,
    /// Well-formatted, and the verifier could not tell (time limit, no verifier). Counts as not correct.
    Undetermined,
}

impl Verdict {
    /// `1(y in Y_x)`.
    #[must_use]
    pub fn is_correct(self) -> bool {
        self == Self::Correct
    }

    /// The format indicator of (20): everything but [`Verdict::Malformed`].
    #[must_use]
    pub fn is_formatted(self) -> bool {
        self != Self::Malformed
    }
}
