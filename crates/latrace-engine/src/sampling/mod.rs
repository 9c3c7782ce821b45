//! Samples that are wanted of prompts: which are missing, drawn by one loop, kept as they come.

mod collected;
pub mod draw;
pub mod journal;
pub mod output;
mod parts;
pub mod rows;

pub use collected::generate_all;
pub use draw::{Drawing, MissingSamples, Prompt, PromptPlace, SampleJob, Spent, draw_missing};
pub use parts::{PartSamples, draw_parts};
