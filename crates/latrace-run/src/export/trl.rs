//! Export for TRL's `SFTTrainer`. Rows carry `input_ids` and `completion_mask`, which it uses unchanged.

use latrace_engine::train_config::Normaliser;
use serde_json::json;

use super::yaml::Yaml;
use super::{File, Job, readme, rows};

const README: &str = include_str!("trl.md");
const WEIGHTED: &str = include_str!("train_weighted.py");

pub(super) fn files(job: &Job) -> Vec<File> {
    vec![
        rows(job, |record, row| {
            let (prompt, response) = (&record.prompt_ids, &record.response_ids);
            // With both columns present, `SFTTrainer` neither tokenizes nor applies a template.
            row["input_ids"] = json!([prompt.as_slice(), response].concat());
            row["completion_mask"] = json!([vec![0; prompt.len()], vec![1; response.len()]].concat());
        }),
        ("sft.yaml", settings(job)),
        ("train_weighted.py", weighted(job)),
        ("README.md", readme::filled(README, job, &on_normaliser(job))),
    ]
}

/// The script that trains with weights. `{:?}` writes a mean without a fraction as `12.0`, a float in Python.
fn weighted(job: &Job) -> String {
    WEIGHTED
        .replace("@MEAN_RESPONSE_LENGTH@", &format!("{:?}", job.mean_response()))
        .replace("@BATCH_SIZE@", &job.rows_per_update().to_string())
}

/// `SFTConfig`, with the names common to transformers 4 and 5.
fn settings(job: &Job) -> String {
    let config = &job.config;
    Yaml::default()
        .comment("Run in this folder: `python train_weighted.py`, which keeps the weights, or `trl sft --config sft.yaml`, which does not.")
        .text("model_name_or_path", &job.model)
        .text("dataset_name", "data")
        .text("output_dir", "trained")
        .updates(job)
        .whole("max_length", config.cutoff_length as u64)
        // Packing would join sequences of different weights.
        .flag("packing", false)
        .flag("completion_only_loss", true)
        .flag("gradient_checkpointing", config.recompute)
        .run_settings(config)
        .into_text()
}

fn on_normaliser(job: &Job) -> String {
    match job.config.normaliser {
        Normaliser::Constant => CONSTANT.replace("@MEAN@", &format!("{:.3}", job.mean_response())),
        Normaliser::TokenMean => TOKEN_MEAN.to_owned(),
    }
}

const CONSTANT: &str = "The recipe divides an update's sum of token losses by a constant, the mean response length (@MEAN@ tokens) times its sequences, so that long \
    responses keep their weight. `train_weighted.py` does so; `SFTTrainer` divides by the update's tokens.";

const TOKEN_MEAN: &str = "The recipe divides an update's sum of token losses by its response tokens, as `SFTTrainer` does; `train_weighted.py` divides by a constant, the \
    mean response length times its sequences.";
