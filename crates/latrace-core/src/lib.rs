//! The nouns of variational reasoning: tokenizer, chat template, seeds.
//!
//! Opens no files and knows no tensors: callers hand in bytes and take away token ids and text.

pub mod chat;
pub mod error;
pub mod tokenizer;

pub use chat::{ChatTemplate, Message, Turn};
pub use error::{Error, Result};
pub use tokenizer::Tokenizer;
