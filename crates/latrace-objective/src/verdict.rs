//! What the verifier says of one answer: the one verdict enum of the workspace.

/// `1(y in Y_x)` with its two other outcomes kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// y is in Y_x.
    Correct,
    /// Well-formatted, and not in Y_x.
    Wrong,
    /// No answer could be found (the indicator of well-formattedness in (20) is zero).
    Malformed,
    /// Well-formatted, and the verifier could not tell (unusable reference, no sandbox). Counts as not
    /// correct.
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

    /// The name in files. [`Verdict::Malformed`] is written as `wrong`: a reader of the file who does not
    /// look at the reason beside it should count a missing answer as a wrong one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Wrong | Self::Malformed => "wrong",
            Self::Undetermined => "undetermined",
        }
    }
}
