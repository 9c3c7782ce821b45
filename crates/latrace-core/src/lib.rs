//! The nouns of variational reasoning: questions, prompts, markers, tokenizer, chat template, verdicts.
//!
//! Opens no files and knows no tensors: callers hand in bytes and take away token ids and text.

pub mod chat;
pub mod error;
pub mod markers;
pub mod prompt;
pub mod question;
pub mod tokenizer;
pub mod verdict;

pub use chat::{ChatTemplate, Message, Turn};
pub use error::{Error, Result};
pub use markers::{Markers, border};
pub use prompt::PromptTemplate;
pub use question::Question;
pub use tokenizer::Tokenizer;
pub use verdict::{Reason, UnknownVerdict, Verdict, stated_verdict};
