//! Export for LLaMA-Factory. Rows are text, without a template; `tokenized.py` passes the token ids instead.

use serde_json::{Value, json};

use super::yaml::Yaml;
use super::{File, Job, readme, rows};

const TOKENIZED: &str = include_str!("tokenized.py");

pub(super) fn files(job: &Job) -> Vec<File> {
    vec![
        rows(job, |record, row| {
            row["prompt_ids"] = json!(record.prompt_ids);
            row["completion_ids"] = json!(record.response_ids);
        }),
        ("data/dataset_info.json", format!("{:#}\n", dataset_info())),
        ("sft.yaml", settings(job)),
        ("tokenized.py", TOKENIZED.to_owned()),
        ("README.md", readme(job)),
    ]
}

fn dataset_info() -> Value {
    let columns = json!({"prompt": "prompt", "response": "completion"});
    json!({"latrace": {"file_name": "train.jsonl", "formatting": "alpaca", "columns": columns}})
}

fn settings(job: &Job) -> String {
    let config = &job.config;
    Yaml::default()
        .comment("Run in this folder: `llamafactory-cli train sft.yaml`")
        .text("model_name_or_path", &job.model)
        .text("stage", "sft")
        .flag("do_train", true)
        .text("finetuning_type", "full")
        .text("dataset", "latrace")
        .text("dataset_dir", "data")
        .comment("Prompts are complete: no template is applied.")
        .text("template", "empty")
        .whole("cutoff_len", config.cutoff_length as u64)
        .flag("packing", false)
        .text("output_dir", "trained")
        .updates(job)
        .flag("disable_gradient_checkpointing", !config.recompute)
        .run_settings(config)
        .into_text()
}

fn readme(job: &Job) -> String {
    format!("{}\n{}\n## Text\n\n{}\n", on_files(job), on_differences(job), readme::on_text(job))
}

fn on_files(job: &Job) -> String {
    format!(
        "# For LLaMA-Factory\n\n\
         Written for LLaMA-Factory 0.9.\n\n\
         * `data/train.jsonl`: {rows} rows. `prompt` and `completion` are text, including the end token; `prompt_ids` and `completion_ids` are the exact token ids of\n  \
         the run; `weight` is the weight of the sequence, `source` the trace's number (-1: the row's own trace, because no sampled one was usable; -2: its own, mixed in).\n\
         * `data/dataset_info.json`: describes the data set to LLaMA-Factory, as `latrace`, in the alpaca format.\n\
         * `sft.yaml`: the settings of the last training. Run `llamafactory-cli train sft.yaml` in this folder.\n\
         * `tokenized.py`: writes the token ids as a data set for `tokenized_path`, so that no text is tokenized again.\n",
        rows = job.rows.len(),
    )
}

fn on_differences(job: &Job) -> String {
    format!(
        "## What LLaMA-Factory cannot express\n\n\
         * **Weights.** {weights} LLaMA-Factory has no sequence weights. To keep them, its `CustomSeq2SeqTrainer.compute_loss` must multiply each sequence's sum of\n  \
         token losses by the row's `weight`, and the column must reach it (`remove_unused_columns: false` and a collator that keeps it). Alternatively, make the\n  \
         weights equal beforehand, with `weights.selection = \"best\"` or `\"resample-multinomial\"` in the recipe.\n\
         * **Normaliser.** It divides an update's sum of token losses by the update's tokens. The recipe's constant would be {mean:.3} tokens times the update's sequences.\n\
         {optimiser}\
         * **Lengths.** {dropped} rows over the cut-off length have already been left out; LLaMA-Factory would truncate them.\n",
        weights = readme::on_weights(job),
        mean = job.mean_response(),
        optimiser = readme::on_optimiser(job),
        dropped = job.dropped,
    )
}
