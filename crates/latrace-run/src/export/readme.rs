//! The READMEs of exports: a template for each trainer, and the sentences that depend on the training.

use super::job::Job;

/// Fills a trainer's template. `normaliser` says how the recipe normalises, in that trainer's terms.
pub(super) fn filled(template: &str, job: &Job, normaliser: &str) -> String {
    template
        .replace("@ROWS@", &job.rows.len().to_string())
        .replace("@WEIGHTS@", &on_weights(job))
        .replace("@NORMALISER@", normaliser)
        .replace("@DECAY@", &job.config.decay_norms_and_biases.to_string())
        .replace("@DROPPED@", &job.dropped.to_string())
        .replace("@TEXT@", &on_text(job))
}

/// What is lost in a trainer without sequence weights.
fn on_weights(job: &Job) -> String {
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
fn on_text(job: &Job) -> String {
    let rows = job.rows.len();
    match job.ambiguous {
        0 => "The text of every row tokenizes back to its token ids.".to_owned(),
        some => format!(
            "The text of {some} of {rows} rows does not tokenize back to its token ids, since a model may sample tokens that a tokenizer would not produce. Prefer the ids."
        ),
    }
}
