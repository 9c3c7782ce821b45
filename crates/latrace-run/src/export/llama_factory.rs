//! Export for LLaMA-Factory. Rows are text, without a template; `tokenized.py` passes the token ids instead.

use serde_json::{Value, json};

use super::yaml::Yaml;
use super::{File, Job, readme, rows};

const README: &str = include_str!("llama_factory.md");
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
        ("README.md", readme::filled(README, job, &on_normaliser(job))),
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

fn on_normaliser(job: &Job) -> String {
    let mean = job.mean_response();
    format!("The recipe's constant would be {mean:.3} tokens times the update's sequences.")
}
