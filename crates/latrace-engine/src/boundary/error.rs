//! What a request, or an engine's answer to it, cannot be.

/// A request that no engine can do, or an answer that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A request that no engine can do.
    #[error("row {row:?}: {detail}")]
    Request {
        /// What people call the request.
        row: String,
        /// What was expected, and what was there.
        detail: String,
    },
    /// A completion that the engine cannot have drawn as it was asked to.
    #[error("row {row:?}, sample {sample}: the engine's completion is not usable: {detail}")]
    Completion {
        /// What people call the request.
        row: String,
        /// The sample's place among the request's seeds.
        sample: usize,
        /// What was expected, and what was there.
        detail: String,
    },
    /// Log-probs that cannot be the row's.
    #[error("row {row:?}: the engine's log-probs are not usable: {detail}")]
    Scores {
        /// What people call the row.
        row: String,
        /// What was expected, and what was there.
        detail: String,
    },
    /// An engine that ended without an answer to everything.
    #[error("row {row:?}: the engine ended without {what}")]
    Unanswered {
        /// The first row that lacks something.
        row: String,
        /// What it lacks.
        what: String,
    },
    /// An engine that does not do this.
    #[error("the engine \"{engine}\" does not {what}")]
    Unsupported {
        /// Its kind.
        engine: &'static str,
        /// What it was asked for.
        what: &'static str,
    },
}

impl Error {
    /// What the reader can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Completion { .. } | Self::Scores { .. } => {
                Some("the model's weights may be damaged, or the engine at fault; finished samples are kept")
            }
            _ => None,
        }
    }
}
