//! Errors of invalid requests and invalid results of engines.

/// An invalid request, or an invalid result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An invalid request.
    #[error("row {row:?}: {detail}")]
    Request {
        /// The request's display name.
        row: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// A completion that is not a possible result of its request.
    #[error("row {row:?}, sample {sample}: the engine's completion is not usable: {detail}")]
    Completion {
        /// The request's display name.
        row: String,
        /// The sample's place among the request's seeds.
        sample: usize,
        /// What was expected and what was found.
        detail: String,
    },
    /// Log-probs that cannot be the row's.
    #[error("row {row:?}: the engine's log-probs are not usable: {detail}")]
    Scores {
        /// The row's display name.
        row: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// An engine that finished without all results.
    #[error("row {row:?}: the engine finished without {what}")]
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
        /// The requested operation.
        what: &'static str,
    },
}

impl Error {
    /// A hint on what to do about it, if known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Completion { .. } | Self::Scores { .. } => Some(UNUSABLE_RESULT),
            _ => None,
        }
    }
}

/// The hint for results that no intact model gives.
const UNUSABLE_RESULT: &str =
    "the model's weights may be damaged, or the engine at fault; finished samples are kept";
