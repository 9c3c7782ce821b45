//! Errors of servers.

/// An error of a server, or of the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// A setting that cannot be used.
    #[error("servers.{key}: {detail}")]
    Setting {
        /// The key in `[servers]`.
        key: &'static str,
        /// What was expected and what was found.
        detail: String,
    },
    /// A command that starts servers and is not installed.
    #[error("cannot start servers by `{command}` (servers.command): {what}")]
    Missing {
        /// The command.
        command: String,
        /// What of it is not there.
        what: String,
        /// What to install.
        hint: &'static str,
    },
    /// A request that failed.
    #[error("row {row:?}: {server}: {detail}")]
    Row {
        /// The row's display name.
        row: String,
        /// The server.
        server: String,
        /// What happened.
        detail: String,
    },
    /// A server that cannot be used.
    #[error("{server}: {detail}")]
    Server {
        /// The server.
        server: String,
        /// What happened.
        detail: String,
    },
    /// Log-probs of samples that are not the model's own.
    #[error("{server}: {detail}")]
    Processed {
        /// The server.
        server: String,
        /// How far they are from its scores.
        detail: String,
        /// The setting that the server lacks.
        hint: &'static str,
    },
    /// Servers that do not have the same weights, or not those of the model folder.
    #[error("{server}: {detail}")]
    Weights {
        /// The server.
        server: String,
        /// Whose scores differ, and by how much.
        detail: String,
    },
}

impl ServerError {
    /// A hint on what to do about it, if known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Processed { hint, .. } | Self::Missing { hint, .. } => Some(hint),
            Self::Weights { .. } => {
                Some("start the server anew with the model folder and the dtype of the recipe")
            }
            Self::Row { .. } => Some("finished samples are kept: the same command resumes from them"),
            Self::Setting { .. } | Self::Server { .. } => None,
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another attempt may succeed.
    Passing(String),
    /// Every attempt would fail.
    Final(String),
    /// The key is not the server's: every attempt would fail, at whatever path.
    Refused(String),
}

impl Trouble {
    /// What happened.
    pub fn detail(&self) -> &str {
        match self {
            Self::Passing(detail) | Self::Final(detail) | Self::Refused(detail) => detail,
        }
    }

    pub fn into_detail(self) -> String {
        match self {
            Self::Passing(detail) | Self::Final(detail) | Self::Refused(detail) => detail,
        }
    }
}
