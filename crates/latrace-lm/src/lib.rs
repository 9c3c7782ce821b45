//! Decoder language models: checkpoints, scoring, training. Knows tokens and loss weights, not the method.

pub mod adapter;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod error;
mod fields;
mod forward;
pub mod gradient;
mod low_rank;
pub mod model;
pub mod plan;
mod resume;
pub mod rope;
pub mod row_file;
pub mod rows;
pub mod sample;
pub mod schedule;
pub mod score;
pub mod train;
pub mod train_config;
pub mod trainer;

pub use adapter::{Adapter, Lora};
pub use checkpoint::SaveDtype;
pub use config::Config;
pub use error::Error;
pub use latrace_core::{SamplingParams, StopReason};
pub use latrace_kernels::{Level, level};
pub use model::{Model, TokenLimits};
pub use plan::{Divisor, TrainPlan, Update};
pub use row_file::{RowFile, RowFileWriter};
pub use rows::{Policy, RowLengths, RowSource, TrainRow, Weights};
pub use sample::{Observer, Sample, SampleRequest, Sampler, SamplerOptions};
pub use score::{ScoreRow, Scorer, score};
pub use train::{Event, Metrics, Survey, TrainJob, train, train_on};
pub use train_config::TrainConfig;
pub use trainer::Trainer;
