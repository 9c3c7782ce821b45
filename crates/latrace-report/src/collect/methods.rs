//! The methods of a run, in words.

use anyhow::Result;
use latrace_run::diagnostics::is_ceiling;
use latrace_run::recipe::method_texts::{MethodText, method_text};
use latrace_run::recipe::run::RunRecipe;
use toml::{Table, Value};

use crate::data::NamedMethod;
use crate::text::capital;

/// The run's own method, then its baselines by name.
pub(super) fn of(recipe: &RunRecipe) -> Result<Vec<NamedMethod>> {
    let MethodText { long, clause, .. } = method_text("", recipe.method);
    let own = NamedMethod {
        name: "final".to_owned(),
        title: "Final".to_owned(),
        long: format!("the run’s own method, {long}"),
        clause: clause.to_owned(),
        settings: String::new(),
        is_ceiling: false,
    };
    let others = recipe.variants()?.into_iter().map(|(name, variant)| baseline(recipe, name, &variant));
    Ok(std::iter::once(own).chain(others).collect())
}

fn baseline(recipe: &RunRecipe, name: String, variant: &RunRecipe) -> NamedMethod {
    let MethodText { name: known, short, long, clause, .. } = method_text(&name, variant.method);
    NamedMethod {
        // A name that the recipe chose is shown as it stands, with the words of its method.
        title: if known == name { capital(short) } else { capital(&name.replace('-', " ")) },
        long: long.to_owned(),
        clause: clause.to_owned(),
        settings: recipe.baselines.get(&name).map(settings).unwrap_or_default(),
        is_ceiling: is_ceiling(recipe, variant),
        name,
    }
}

/// The settings of a baseline's table, but for its method, which is named anyway.
fn settings(table: &Table) -> String {
    let mut found = Vec::new();
    leaves(table, "", &mut found);
    let shown = found.into_iter().filter(|(name, _)| name != "method");
    shown.map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

/// The values of a table by their dotted names.
pub(crate) fn leaves(table: &Table, prefix: &str, found: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => leaves(inner, &format!("{name}."), found),
            other => found.push((name, other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn baselines_are_named_by_what_they_are_and_say_what_differs() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let own = "baselines.my-rft={method = \"rft\", rounds = 3}".to_owned();
        let methods = of(&RunRecipe::read(&file, &[own]).unwrap()).unwrap();
        let shown: Vec<[&str; 3]> =
            methods.iter().map(|of| [of.name.as_str(), of.title.as_str(), of.long.as_str()]).collect();
        let expected = [
            ["final", "Final", "the run’s own method, variational reasoning"],
            ["gold", "Gold traces", "training on gold traces"],
            ["my-rft", "My rft", "rejection-sampling fine-tuning"],
            ["rft", "RFT", "rejection-sampling fine-tuning"],
        ];
        assert_eq!(shown, expected);
        assert_eq!(methods.iter().map(|of| of.is_ceiling).collect::<Vec<_>>(), [false, true, false, false]);
        assert_eq!(methods[2].settings, "rounds = 3");
        assert_eq!(methods[3].settings, "answers.n = 1, rounds = 2, traces.n = 7");
    }
}
