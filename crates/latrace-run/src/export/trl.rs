//! Export for TRL's `SFTTrainer`. Rows carry `input_ids` and `completion_mask`, which it uses unchanged.

use latrace_engine::train_config::Normaliser;
use serde_json::json;

use super::yaml::Yaml;
use super::{File, Job, readme, rows};

const WEIGHTED: &str = include_str!("train_weighted.py");

pub(super) fn files(job: &Job) -> Vec<File> {
    vec![
        rows(job, |record, row| {
            let (prompt, response) = (&record.prompt_ids, &record.response_ids);
            row["input_ids"] = json!([prompt.as_slice(), response].concat());
            row["completion_mask"] = json!([vec![0; prompt.len()], vec![1; response.len()]].concat());
        }),
        ("sft.yaml", settings(job)),
        ("train_weighted.py", weighted(job)),
        ("README.md", readme(job)),
    ]
}

/// The script that trains with weights. `{:?}` writes a mean without a fraction as `12.0`, a float in Python.
fn weighted(job: &Job) -> String {
    WEIGHTED
        .replace("@MEAN_RESPONSE_LENGTH@", &format!("{:?}", job.mean_response()))
        .replace("@BATCH_SIZE@", &job.config.batch_size.to_string())
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
        .flag("packing", false)
        .flag("completion_only_loss", true)
        .flag("gradient_checkpointing", config.recompute)
        .run_settings(config)
        .into_text()
}

fn readme(job: &Job) -> String {
    format!("{}\n{}\n## Text\n\n{}\n", on_files(job), on_differences(job), readme::on_text(job))
}

fn on_files(job: &Job) -> String {
    format!(
        "# For TRL\n\n\
         Written for TRL 1.x and transformers 5 (`SFTConfig`, `SFTTrainer`).\n\n\
         * `data/train.jsonl`: {rows} rows. `input_ids` and `completion_mask` are the exact token ids of the run, which `SFTTrainer` uses unchanged. `prompt` and\n  \
         `completion` are their text, `weight` is the weight of the sequence, `source` the trace's number (-1: the row's own trace, because no sampled one was usable; -2: its own, mixed in).\n\
         * `sft.yaml`: the settings of the last training, under the names of `SFTConfig`.\n\
         * `train_weighted.py`: `SFTTrainer` with sequence weights. Run `python train_weighted.py`.\n",
        rows = job.rows.len(),
    )
}

fn on_differences(job: &Job) -> String {
    format!(
        "## What `SFTTrainer` cannot express\n\n\
         * **Weights.** {weights} `train_weighted.py` includes them in the loss.\n\
         * **Normaliser.** {normaliser}\n\
         {optimiser}\
         * **Order.** The two trainers shuffle with different generators; `seed` gives a different order of the same rows.\n\
         * **Lengths.** {dropped} rows over the cut-off length have already been left out.\n",
        weights = readme::on_weights(job),
        normaliser = on_normaliser(job),
        optimiser = readme::on_optimiser(job),
        dropped = job.dropped,
    )
}

fn on_normaliser(job: &Job) -> String {
    match job.config.normaliser {
        Normaliser::Constant => format!(
            "The recipe divides an update's sum of token losses by a constant, the mean response length ({:.3} tokens) times its sequences, so that long \
             responses keep their weight. `train_weighted.py` does so; `SFTTrainer` divides by the update's tokens.",
            job.mean_response()
        ),
        Normaliser::TokenMean => {
            "The recipe divides an update's sum of token losses by its response tokens, as `SFTTrainer` does; `train_weighted.py` divides by a constant, the \
             mean response length times its sequences."
                .to_owned()
        }
    }
}
