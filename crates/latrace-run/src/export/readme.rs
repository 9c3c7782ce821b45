//! Paragraphs that the READMEs of both exports share.

use super::job::Job;

/// What is lost in a trainer without sequence weights.
pub(super) fn on_weights(job: &Job) -> String {
    let (rows, (low, high)) = (job.rows.len(), job.weight_range());
    // Weights come from rescaling, so that equal ones may differ in the last digits.
    if high - low <= 1e-9 * high {
        return format!(
            "All {rows} rows have weight {high:.4}: a trainer without sequence weights loses only that factor."
        );
    }
    format!(
        "The weights of the {rows} rows range from {low:.4} to {high:.4} (`weight` in data/train.jsonl): a trainer without sequence weights optimises a different objective."
    )
}

/// Whether the rows' text tokenizes back to their token ids.
pub(super) fn on_text(job: &Job) -> String {
    let rows = job.rows.len();
    match job.ambiguous {
        0 => "The text of every row tokenizes back to its token ids.".to_owned(),
        some => format!(
            "The text of {some} of {rows} rows does not tokenize back to its token ids, since a model may sample tokens that a tokenizer would not produce. Prefer the ids."
        ),
    }
}

/// Where both trainers' optimisation differs from ours, because both pass it to transformers.
pub(super) fn on_optimiser(job: &Job) -> String {
    let decay = job.config.decay_norms_and_biases;
    format!(
        "* **Weight decay.** transformers excludes norms and biases; here they are included if `decay_norms_and_biases = true` ({decay}).\n\
         * **Warm-up.** transformers starts at rate 0, latrace at the first step of the ramp.\n"
    )
}
