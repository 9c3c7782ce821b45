//! Export for LLaMA-Factory. Rows are text, without a template; `tokenized.py` passes the token ids instead.

use serde_json::json;

use super::yaml::Yaml;
use super::{File, Job, json_lines};

const TOKENIZED: &str = include_str!("tokenized.py");

pub(super) fn files(job: &Job) -> Vec<File> {
    let rows = job.rows.iter().map(|example| {
        let mut row = example.row();
        row["prompt_ids"] = json!(example.record.prompt_ids);
        row["completion_ids"] = json!(example.record.response_ids);
        row
    });
    let described = json!({"latrace": {"file_name": "train.jsonl", "formatting": "alpaca", "columns": {"prompt": "prompt", "response": "completion"}}});
    vec![
        ("data/train.jsonl", json_lines(rows)),
        ("data/dataset_info.json", format!("{described:#}\n")),
        ("sft.yaml", settings(job)),
        ("tokenized.py", TOKENIZED.to_owned()),
        ("README.md", readme(job)),
    ]
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
    format!(
        "# For LLaMA-Factory\n\n\
         Written for LLaMA-Factory 0.9.\n\n\
         * `data/train.jsonl`: {rows} rows. `prompt` and `completion` are text, the end of a text included; `prompt_ids` and `completion_ids` are the very tokens of the\n  \
         run; `weight` is the weight of the sequence, `source` the trace's number (-1: the row's own, since no trace was usable; -2: its own, mixed in).\n\
         * `data/dataset_info.json`: the data set, in the alpaca format, as `latrace`.\n\
         * `sft.yaml`: the settings of the last training; `llamafactory-cli train sft.yaml`, in this folder.\n\
         * `tokenized.py`: writes the token ids as a data set for `tokenized_path`, so that no text is tokenised again.\n\n\
         ## What LLaMA-Factory cannot say\n\n\
         * **Weights.** {weights} It knows no weight of a sequence: to keep them, its `CustomSeq2SeqTrainer.compute_loss` must multiply each sequence's sum of token\n  \
         losses by the row's `weight`, and the column must reach it (`remove_unused_columns: false` and a collator that keeps it). Or make the weights equal before: `weights.selection =\n  \
         \"best\"` or `\"resample-multinomial\"` in the recipe.\n\
         * **Normaliser.** It divides an update's sum of token losses by the update's tokens. The recipe's constant would be {mean:.3} tokens times the update's sequences.\n\
         * **Weight decay.** transformers leaves norms and biases out of it; here they are in it with `decay_norms_and_biases = true` ({decay}).\n\
         * **Warm-up.** transformers begins at rate 0, latrace at the first step of the ramp.\n\
         * **Lengths.** {dropped} rows over the cut-off length are left out here already; LLaMA-Factory would cut them.\n\n\
         ## Text\n\n\
         {text}\n",
        rows = job.rows.len(),
        weights = job.on_weights(),
        mean = job.mean_response(),
        decay = job.config.decay_norms_and_biases,
        dropped = job.dropped,
        text = super::on_text(job),
    )
}
