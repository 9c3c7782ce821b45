//! The model card: what a model was trained on and how, and what was measured.

use std::fmt::Write;
use std::fs;

use anyhow::Result;
use latrace_io::hub::model_folder;

use crate::pipeline::summary::{ModelSummary, RunSummary};
use crate::plan::{Plan, Stage};
use crate::recipe::method_texts::{MethodText, method_text};
use crate::recipe::run::{Method, RunRecipe};

/// The text of `README.md`.
pub(super) fn of(plan: &Plan, recipe: &RunRecipe, summary: &RunSummary) -> Result<String> {
    let base = recipe.model.folder.as_str();
    let imports = Imports::of(plan, summary);
    let licence = licence(base);
    let mut card = front_matter(base, licence.as_deref(), recipe.method);
    write!(card, "\n# A reasoning model\n\n{}\n", origin(base, &imports, recipe.method, &summary.version))?;
    write!(card, "\n## Data\n\n{}\n", data(recipe))?;
    write!(card, "\n## Results\n\n{}", results(recipe, summary)?)?;
    card += "\n## Use\n\nThe chat template makes the prompts of the training: it opens the thought, behind which the \
             model answers. `generation_config.json` has the sampling of the evaluation.\n";
    write!(card, "\n## Licence\n\n{}\n", terms(base, licence.as_deref(), &imports))?;
    write!(card, "\n## Recipe\n\n```toml\n{}\n```\n", recipe.to_toml()?.trim_end())?;
    Ok(card)
}

/// What hubs and libraries read.
fn front_matter(base: &str, licence: Option<&str>, method: Method) -> String {
    let mut lines = vec!["library_name: transformers".to_owned(), "pipeline_tag: text-generation".to_owned()];
    lines.extend(licence.map(|licence| format!("license: {licence}")));
    // A folder is no name that a hub knows.
    if base.split('/').count() == 2 && !base.starts_with(['.', '/']) {
        lines.push(format!("base_model: {}", base.split('@').next().unwrap_or(base)));
    }
    lines.extend(["tags:", "- reasoning"].map(str::to_owned));
    if method == Method::Variational {
        lines.push("- variational-reasoning".to_owned());
    }
    format!("---\n{}\n---\n", lines.join("\n"))
}

/// Where models of the run came from that were trained elsewhere.
struct Imports<'a> {
    initial: Option<&'a str>,
    last: Option<&'a str>,
    /// All of them, with the stages that they stand for.
    all: Vec<(&'a str, &'a str)>,
}

impl<'a> Imports<'a> {
    fn of(plan: &Plan, summary: &'a RunSummary) -> Imports<'a> {
        let all = summary.provenance.iter().flat_map(|provenance| &provenance.imported);
        let all: Vec<(&str, &str)> = all.map(|(stage, from)| (stage.as_str(), from.as_str())).collect();
        let of = |stage| {
            let folder = plan.nodes[plan.last(stage)?].folder().display().to_string();
            all.iter().find(|(imported, _)| *imported == folder).map(|(_, from)| *from)
        };
        Imports { initial: of(Stage::Initial), last: of(Stage::Final), all }
    }
}

fn terms(base: &str, licence: Option<&str>, imports: &Imports<'_>) -> String {
    let others = if imports.all.is_empty() { "Data" } else { "Data and imported models" };
    let stated = match licence {
        _ if base.is_empty() => "Not stated.".to_owned(),
        None => "The base model's folder states none.".to_owned(),
        Some(licence) => format!("`{licence}`, the base model's."),
    };
    format!("{stated} {others} may bring terms of their own.")
}

/// A method's name, with where it comes from if it is ours.
fn in_full(method: Method) -> String {
    let MethodText { long, .. } = method_text("", method);
    match method {
        Method::Variational => {
            format!("{long} (Zhou et al., *Variational Reasoning for Language Models*, arXiv 2509.22637)")
        }
        _ => long.to_owned(),
    }
}

fn origin(base: &str, imports: &Imports<'_>, method: Method, version: &str) -> String {
    let base = if base.is_empty() { "random weights".to_owned() } else { format!("`{base}`") };
    let start = match imports.initial {
        Some(from) => format!("an imported model (`{from}`, trained elsewhere)"),
        None => base,
    };
    let begun = match imports.last {
        Some(from) => {
            format!("Imported from `{from}`: trained by another program, in a run that starts from {start}, ")
        }
        None => format!("Trained from {start} "),
    };
    let clause = method_text("", method).clause.replace('’', "'");
    let method = format!("{begun}by {} with latrace {version}: {clause}.", in_full(method));
    if imports.all.is_empty() {
        return method;
    }
    let list = imports.all.iter().map(|(stage, from)| format!("* `{stage}`: `{from}`\n"));
    format!(
        "{method}\n\nThese stages of the run were not carried out by latrace; their models were trained elsewhere, and imported:\n\n{}",
        list.collect::<String>().trim_end()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_which_models_were_trained_elsewhere() {
        let imports = |initial, last| {
            let all = [("01-initial", initial), ("09-final", last)];
            let all =
                all.into_iter().filter_map(|(stage, from): (_, Option<_>)| Some((stage, from?))).collect();
            Imports { initial, last, all }
        };
        let check = |base: &str, imports: &Imports<'_>, begin: &str, list: &str| {
            let text = origin(base, imports, Method::Variational, "1.0");
            assert!(text.starts_with(begin) && text.ends_with(list), "{text}");
        };
        let end = "how often right answers follow it.";
        check("", &imports(None, None), "Trained from random weights by variational reasoning", end);
        check("org/m", &imports(None, None), "Trained from `org/m` by", end);
        let initial = imports(Some("a"), None);
        check(
            "org/m",
            &initial,
            "Trained from an imported model (`a`, trained elsewhere) by",
            "* `01-initial`: `a`",
        );
        let last = imports(None, Some("b"));
        let begin =
            "Imported from `b`: trained by another program, in a run that starts from random weights, by";
        check("", &last, begin, "* `09-final`: `b`");
        assert_eq!(
            terms("m", Some("mit"), &last),
            "`mit`, the base model's. Data and imported models may bring terms of their own."
        );
        let other = origin("org/m", &imports(None, None), Method::Rft, "1.0");
        assert!(other.starts_with(
            "Trained from `org/m` by rejection-sampling fine-tuning with latrace 1.0: trains on"
        ));
        assert!(front_matter("", None, Method::Variational).contains("\n- variational-reasoning\n"));
        assert!(!front_matter("", None, Method::Rft).contains("variational"));
        assert_eq!(terms("", None, &imports(None, None)), "Not stated. Data may bring terms of their own.");
    }
}
