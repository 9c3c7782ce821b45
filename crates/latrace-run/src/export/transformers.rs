//! Settings that LLaMA-Factory and TRL both pass to transformers, under its names.

use latrace_engine::TrainConfig;
use latrace_engine::train_config::{Schedule, StoreAs};

use super::Job;
use super::yaml::Yaml;

impl Yaml {
    /// Batch size, epochs, learning rate and optimizer.
    pub(super) fn updates(self, job: &Job) -> Yaml {
        let config = &job.config;
        self.batches(job)
            .number("learning_rate", config.learning_rate)
            .text("lr_scheduler_type", schedule(config.schedule))
            .whole("warmup_steps", job.warmup_steps())
            .adamw(config)
            .number("max_grad_norm", config.clip_norm)
    }

    /// One sequence at a time, accumulated: the batch of an update is then the recipe's on any one device, and
    /// its memory that of the longest sequence.
    fn batches(self, job: &Job) -> Yaml {
        self.whole("max_steps", job.steps())
            .comment("Per device; times gradient_accumulation_steps and the number of devices: the sequences of an update.")
            .whole("per_device_train_batch_size", 1)
            .whole("gradient_accumulation_steps", job.rows_per_update())
    }

    fn adamw(self, config: &TrainConfig) -> Yaml {
        self.text("optim", "adamw_torch")
            .number("adam_beta1", config.beta1)
            .number("adam_beta2", config.beta2)
            .number("adam_epsilon", config.epsilon)
            .number("weight_decay", config.weight_decay)
    }

    /// Precision, seed and logging.
    pub(super) fn run_settings(self, config: &TrainConfig) -> Yaml {
        let yaml = self.flag("bf16", config.save_dtype == StoreAs::Bf16).whole("seed", config.seed);
        yaml.whole("logging_steps", 1).text("report_to", "none")
    }
}

fn schedule(schedule: Schedule) -> &'static str {
    match schedule {
        Schedule::Cosine => "cosine",
        Schedule::Linear => "linear",
        // transformers' `constant` has no warm-up.
        Schedule::Constant => "constant_with_warmup",
    }
}
