//! Sampling: finds which samples are missing, draws them in one loop, and journals them as they finish.

mod collected;
pub mod draw;
pub mod journal;
pub mod output;
mod parts;
pub mod rows;

pub use collected::generate_all;
pub use draw::{Drawing, MissingSamples, Prompt, PromptPlace, SampleJob, Spent, draw_missing};
pub use parts::{PartSamples, draw_parts};
