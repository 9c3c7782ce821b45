//! Decoder language models: checkpoints, scoring, training. Knows tokens and loss weights, not the method.

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod error;
mod fields;
mod forward;
pub mod gradient;
pub mod model;
pub mod resume;
pub mod rope;
pub mod sample;
pub mod schedule;
pub mod score;
pub mod train;
pub mod train_config;

pub use checkpoint::SaveDtype;
pub use config::Config;
pub use error::Error;
pub use latrace_core::{SamplingParams, StopReason};
pub use latrace_kernels::{Level, level};
pub use model::Model;
pub use sample::{Observer, Sample, SampleRequest, Sampler, SamplerOptions, Sampling};
pub use score::{ScoreRow, Scorer, score};
pub use train::{Event, Metrics, Policy, TrainJob, TrainRow, train};
pub use train_config::TrainConfig;
