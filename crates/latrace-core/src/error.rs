//! Errors of the conversion between text and token ids, and of names and parameters.

/// An error of the core: the operation, what it got, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tokenizer definition cannot be used.
    #[error("cannot read the tokenizer definition ({bytes} bytes): {reason}")]
    BadTokenizer {
        /// Length of the definition.
        bytes: usize,
        /// The tokenizer library's message.
        reason: String,
    },
    /// A text cannot be turned into token ids.
    #[error("cannot encode a text of {bytes} bytes: {reason}")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// The tokenizer library's message.
        reason: String,
    },
    /// Token ids cannot be turned into text.
    #[error("cannot decode {tokens} token ids: {reason}")]
    Decode {
        /// Number of ids.
        tokens: usize,
        /// The tokenizer library's message, or the id it does not know.
        reason: String,
    },
    /// The chat template is not valid.
    #[error("cannot read the chat template: {reason}")]
    BadTemplate {
        /// The template engine's message, with the line.
        reason: String,
    },
    /// The chat template refuses the messages.
    #[error("cannot render the chat template over {messages} messages: {reason}")]
    Render {
        /// Number of messages.
        messages: usize,
        /// The template engine's message, with the line.
        reason: String,
    },
    /// No tokenizer can be trained.
    #[error("cannot learn a tokenizer from {texts} texts: {reason}")]
    Train {
        /// Number of texts.
        texts: usize,
        /// The library's message.
        reason: String,
    },
    /// A prompt template refuses a question.
    #[error("cannot render the prompt template: {reason}")]
    RenderPrompt {
        /// The template engine's message, with the line.
        reason: String,
    },
    /// An unknown name.
    #[error("unknown {what} \"{name}\"; known are {known}")]
    UnknownName {
        /// The kind of thing that it should name.
        what: &'static str,
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// A parameter out of range.
    #[error("{name}: expected {expected}, got {got}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// The valid range.
        expected: &'static str,
        /// Its value.
        got: String,
    },
    /// A text that is no date, or one that asks for more than a date.
    #[error("expected {expected}, got {got}")]
    NoDate {
        /// What is due.
        expected: &'static str,
        /// The text.
        got: String,
    },
    /// Markers with which no trace would ever end.
    #[error("markers: expected `cut` within `close` {close:?}, got {cut:?}")]
    BadMarkers {
        /// The cut.
        cut: String,
        /// The close.
        close: String,
    },
    /// Markers with which every trace would end where it begins.
    #[error("markers: expected a `cut` of `close` alone, got {cut:?}, which `open` {open:?} holds already")]
    EqualMarkers {
        /// The cut.
        cut: String,
        /// The open.
        open: String,
    },
    /// A conversation cannot be split into prompt and response.
    #[error("cannot split a conversation of {messages} messages: {reason}")]
    Split {
        /// Number of messages.
        messages: usize,
        /// Why.
        reason: String,
    },
}

/// A result of the core.
pub type Result<T> = std::result::Result<T, Error>;
