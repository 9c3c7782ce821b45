//! Export for TRL's `SFTTrainer`. Rows carry `input_ids` and `completion_mask`, which it uses unchanged.

use latrace_engine::train_config::Normaliser;
use serde_json::json;

use super::yaml::Yaml;
use super::{File, Job, json_lines};

const WEIGHTED: &str = include_str!("train_weighted.py");

pub(super) fn files(job: &Job) -> Vec<File> {
    let rows = job.rows.iter().map(|example| {
        let mut row = example.row();
        let (prompt, response) = (&example.record.prompt_ids, &example.record.response_ids);
        row["input_ids"] = json!([prompt.as_slice(), response].concat());
        row["completion_mask"] = json!([vec![0; prompt.len()], vec![1; response.len()]].concat());
        row
    });
    let weighted = WEIGHTED.replace("@MEAN_RESPONSE_LENGTH@", &format!("{:?}", job.mean_response()));
    vec![
        ("data/train.jsonl", json_lines(rows)),
        ("sft.yaml", settings(job)),
        ("train_weighted.py", weighted.replace("@BATCH_SIZE@", &job.config.batch_size.to_string())),
        ("README.md", readme(job)),
    ]
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
    let normaliser = match job.config.normaliser {
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
    };
    format!(
        "# For TRL\n\n\
         Written for TRL 1.x and transformers 5 (`SFTConfig`, `SFTTrainer`).\n\n\
         * `data/train.jsonl`: {rows} rows. `input_ids` and `completion_mask` are the very tokens of the run; `SFTTrainer` takes them as they are. `prompt` and\n  \
         `completion` are their text, `weight` is the weight of the sequence, `source` the trace's number (-1: the row's own, since no trace was usable; -2: its own, mixed in).\n\
         * `sft.yaml`: the settings of the last training, as `SFTConfig` names them.\n\
         * `train_weighted.py`: `SFTTrainer` with weights of sequences; `python train_weighted.py`.\n\n\
         ## What `SFTTrainer` cannot say\n\n\
         * **Weights.** {weights} `train_weighted.py` brings them into the loss.\n\
         * **Normaliser.** {normaliser}\n\
         * **Weight decay.** transformers leaves norms and biases out of it; here they are in it with `decay_norms_and_biases = true` ({decay}).\n\
         * **Warm-up.** transformers begins at rate 0, latrace at the first step of the ramp.\n\
         * **Order.** Each shuffles by its own generator; `seed` gives another order of the same rows.\n\
         * **Lengths.** {dropped} rows over the cut-off length are left out here already.\n\n\
         ## Text\n\n\
         {text}\n",
        rows = job.rows.len(),
        weights = job.on_weights(),
        decay = job.config.decay_norms_and_biases,
        dropped = job.dropped,
        text = super::on_text(job),
    )
}
