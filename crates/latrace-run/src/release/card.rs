//! The model card: what a model was trained on and how, and what was measured.

use std::fmt::Write;
use std::fs;

use anyhow::Result;
use latrace_io::hub::model_folder;

use crate::pipeline::summary::{ModelSummary, RunSummary};
use crate::recipe::run::RunRecipe;

/// The text of `README.md`.
pub(super) fn of(recipe: &RunRecipe, summary: &RunSummary) -> Result<String> {
    let base = recipe.model.folder.as_str();
    let licence = licence(base);
    let mut card = front_matter(base, licence.as_deref());
    write!(card, "\n# A reasoning model\n\n{}\n", origin(base, &summary.version))?;
    write!(card, "\n## Data\n\n{}\n", data(recipe))?;
    write!(card, "\n## Results\n\n{}", results(recipe, summary)?)?;
    card += "\n## Use\n\nThe chat template makes the prompts of the training: it opens the thought, behind which the \
             model answers. `generation_config.json` has the sampling of the evaluation.\n";
    let stated = licence.map_or_else(
        || "The base model's folder states none. Data may bring terms of their own.".to_owned(),
        |licence| format!("`{licence}`, the base model's. Data may bring terms of their own."),
    );
    write!(card, "\n## Licence\n\n{}\n", if base.is_empty() { "Not stated." } else { &stated })?;
    write!(card, "\n## Recipe\n\n```toml\n{}\n```\n", recipe.to_toml()?.trim_end())?;
    Ok(card)
}

/// What hubs and libraries read.
fn front_matter(base: &str, licence: Option<&str>) -> String {
    let mut lines = vec!["library_name: transformers".to_owned(), "pipeline_tag: text-generation".to_owned()];
    lines.extend(licence.map(|licence| format!("license: {licence}")));
    // A folder is no name that a hub knows.
    if base.split('/').count() == 2 && !base.starts_with(['.', '/']) {
        lines.push(format!("base_model: {}", base.split('@').next().unwrap_or(base)));
    }
    format!("---\n{}\ntags:\n- reasoning\n- variational-reasoning\n---\n", lines.join("\n"))
}

fn origin(base: &str, version: &str) -> String {
    let base = if base.is_empty() { "random weights".to_owned() } else { format!("`{base}`") };
    format!(
        "Trained from {base} by variational reasoning (Zhou et al., *Variational Reasoning for Language Models*, \
         arXiv 2509.22637) with latrace {version}: thoughts are sampled from a posterior that sees a hint of the \
         answer, and weighted by how much they help to answer correctly without it."
    )
}

fn data(recipe: &RunRecipe) -> String {
    let source = &recipe.questions;
    if !source.task.is_empty() {
        return format!("Questions of the built-in task `{}`, drawn with seed {}.", source.task, source.seed);
    }
    let splits = [("training", &source.train), ("validation", &source.validation), ("test", &source.test)];
    let lines = splits.iter().filter(|(_, file)| !file.is_empty());
    lines.map(|(split, file)| format!("* {split}: `{file}`")).collect::<Vec<_>>().join("\n")
}

/// Accuracies with their intervals: the final model, the one that it started from, and baselines.
fn results(recipe: &RunRecipe, summary: &RunSummary) -> Result<String> {
    let mut table = format!(
        "Questions of the {} split, {} responses to each; accuracy in percent, 95 % intervals by bootstrap over \
         questions. Seed {}.\n\n| model | accuracy | interval | questions |\n| --- | --- | --- | --- |\n",
        recipe.evaluation.split.name(),
        recipe.evaluation.sampling.n,
        summary.seed
    );
    for (name, ModelSummary { overall, .. }) in &summary.models {
        let percent = |share: f64| 100.0 * share;
        writeln!(
            table,
            "| {} | {:.1} | {:.1} to {:.1} | {} |",
            if name == "final" { "**this model**" } else { name },
            percent(overall.accuracy),
            percent(overall.low),
            percent(overall.high),
            overall.questions
        )?;
    }
    Ok(table)
}

/// The licence that the base model's own card states.
fn licence(base: &str) -> Option<String> {
    let card = fs::read_to_string(model_folder(base).ok()?.join("README.md")).ok()?;
    let front = card.strip_prefix("---\n")?.split("\n---").next()?;
    let licence = front.lines().find_map(|line| line.strip_prefix("license:"))?.trim();
    (!licence.is_empty()).then(|| licence.to_owned())
}
