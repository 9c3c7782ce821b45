//! Files that a recipe names, looked for in the recipe's own folder first.
//!
//! What is not there is left as it stands: a path in the working directory, or an id on the hub.

use std::path::Path;

use latrace_core::PromptTemplate;
use toml::{Table, Value};

use crate::prompting::Conversation;

/// Settings that name a file or a folder.
const FILES: [&str; 5] =
    ["model.folder", "questions.train", "questions.validation", "questions.test", "questions.tests.from"];

/// Settings that name a template, which may be built in.
const TEMPLATES: [&str; 2] = ["prompts.reasoner", "prompts.posterior"];

/// The setting that names a program and its arguments.
const COMMAND: &str = "verifier.command";

/// Replaces names of files that are in `folder`, in a recipe's own settings and in those of its baselines.
pub(super) fn look_beside(table: &mut Table, folder: &Path) {
    look_in_settings(table, folder);
    let baselines = table.get_mut("baselines").and_then(Value::as_table_mut).into_iter().flatten();
    baselines
        .filter_map(|(_, baseline)| baseline.as_table_mut())
        .for_each(|baseline| look_in_settings(baseline, folder));
}

fn look_in_settings(table: &mut Table, folder: &Path) {
    for name in FILES {
        replace(table, name, |text| beside(text, folder));
    }
    for name in TEMPLATES {
        // A file cannot change what a built-in name means.
        replace(table, name, |text| beside(text, folder).filter(|_| !is_built_in(text)));
    }
    let command = value_at(table, COMMAND).and_then(Value::as_array_mut).into_iter().flatten();
    for (place, argument) in command.enumerate() {
        // A program without a folder is looked for where programs are.
        let is_named = |text: &str| place > 0 || text.contains('/');
        replace_value(argument, |text| beside(text, folder).filter(|_| is_named(text)));
    }
}

fn is_built_in(name: &str) -> bool {
    PromptTemplate::built_in(name).is_some() || Conversation::named(name, "").is_some()
}

/// The path of a file in the folder, if there is one of this name.
fn beside(text: &str, folder: &Path) -> Option<String> {
    let path = folder.join(text);
    let is_there = !text.is_empty() && path.exists();
    path.to_str().filter(|_| is_there).map(str::to_owned)
}

fn replace(table: &mut Table, dotted: &str, with: impl Fn(&str) -> Option<String>) {
    if let Some(value) = value_at(table, dotted) {
        replace_value(value, with);
    }
}

fn replace_value(value: &mut Value, with: impl Fn(&str) -> Option<String>) {
    if let Some(found) = value.as_str().and_then(with) {
        *value = Value::String(found);
    }
}

fn value_at<'a>(table: &'a mut Table, dotted: &str) -> Option<&'a mut Value> {
    let (section, key) = dotted.rsplit_once('.')?;
    super::table::section_of(table, section)?.get_mut(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_looked_for_beside_the_recipe_and_other_names_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["train.jsonl", "own.jinja", "judge.py", "python3"] {
            fs::write(path(name), "").unwrap();
        }
        // Folders of built-in names.
        fs::create_dir(path("reasoner")).unwrap();
        fs::create_dir(path("chat_a")).unwrap();
        let recipe = "model.folder = \"org/name\"\n[questions]\ntrain = \"train.jsonl\"\ntest = \"test.jsonl\"\n\
                      tests.from = \"\"\n[prompts]\nreasoner = \"reasoner\"\nposterior = \"chat_a\"\n[verifier]\n\
                      command = [\"python3\", \"judge.py\", \"--strict\"]\n[baselines.b.prompts]\nreasoner = \"own.jinja\"\n";
        let mut table: Table = toml::from_str(recipe).unwrap();
        look_beside(&mut table, folder.path());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let questions = &table["questions"];
        assert_eq!(text(&questions["train"]), path("train.jsonl"));
        assert_eq!([text(&questions["test"]), text(&questions["tests"]["from"])], ["test.jsonl", ""]);
        assert_eq!(text(&table["model"]["folder"]), "org/name");
        assert_eq!(text(&table["prompts"]["reasoner"]), "reasoner");
        assert_eq!(text(&table["prompts"]["posterior"]), "chat_a");
        assert_eq!(text(&table["baselines"]["b"]["prompts"]["reasoner"]), path("own.jinja"));
        let command: Vec<String> =
            table["verifier"]["command"].as_array().unwrap().iter().map(text).collect();
        assert_eq!(command, ["python3".to_owned(), path("judge.py"), "--strict".to_owned()]);
    }
}
