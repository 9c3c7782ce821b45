//! The nouns of variational reasoning: questions, prompts, markers, tokenizer, chat template, verdicts,
//! sampling parameters, stop reasons, keys of random streams.
//!
//! Opens no files and knows no tensors: callers pass in bytes and get token ids and text.

pub mod chat;
pub mod date;
pub mod error;
pub mod markers;
pub mod prompt;
pub mod question;
pub mod random;
pub mod sampling;
pub mod split;
pub mod tokenizer;
pub mod verdict;

pub use chat::{ChatTemplate, Message, Turn};
pub use date::Date;
pub use error::{Error, Result};
pub use markers::{Markers, boundary};
pub use prompt::PromptTemplate;
pub use question::Question;
pub use sampling::{SamplingParams, StopReason};
pub use split::Split;
pub use tokenizer::Tokenizer;
pub use verdict::{Reason, UnknownVerdict, Verdict, stated_verdict};
