//! Before stage 1: the model that pi_theta0 and q start from. A given model is used in place; a random one is
//! created.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_core::tokenizer::END;
use latrace_core::{Markers, Tokenizer};
use latrace_engine::cpu::{SaveDtype, save_random};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pipeline::folder::StageFolder;
use crate::plan::{ModelSettings, Stage};
use crate::recipe::run::ModelSource;
use latrace_io::failure::Failure;
use latrace_io::files::write_text;
use latrace_io::hub::model_folder;
use latrace_io::model_folder::fingerprint;
use latrace_questions::source::Source;

/// Fails if the given model's files have changed since the run began: otherwise every stage would silently be
/// redone.
///
/// # Errors
/// Names the file that differs.
pub fn check_unchanged(model: &ModelSource, run: &Path) -> Result<()> {
    let noted = run.join(Stage::Model.name()).join(GIVEN);
    if model.folder.is_empty() || !noted.is_file() {
        return Ok(());
    }
    let Given { folder, files } = read_given(&noted)?;
    // Another model than before is a change of the recipe, which redoes the stages.
    if folder != model.folder {
        return Ok(());
    }
    let now = fingerprint(&model_folder(&folder)?)?;
    match files.keys().chain(now.keys()).find(|&name| files.get(name) != now.get(name)) {
        Some(name) => Err(has_changed(&Path::new(&folder).join(name)).into()),
        None => Ok(()),
    }
}

fn read_given(noted: &Path) -> Result<Given> {
    serde_json::from_slice(&fs::read(noted)?)
        .with_context(|| format!("{} does not record which model was given", noted.display()))
}

fn has_changed(file: &Path) -> Failure {
    let hint =
        "restore it (for a hub id, give the commit: org/name@COMMIT), or start another run with --run-dir";
    Failure::work(format!("{} has changed since the run began", file.display())).hint(hint)
}

/// The file that records which model was given.
const GIVEN: &str = "model.json";

/// A given model.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    folder: String,
    files: BTreeMap<String, String>,
}

/// Creates a random model with its tokenizer, or records which model was given.
///
/// # Errors
/// A given folder that cannot be read; texts or a shape from which no model can be created.
pub fn run(settings: &ModelSettings, stage: &StageFolder) -> Result<Value> {
    match settings {
        ModelSettings::Given { folder } => note_given(folder, stage),
        ModelSettings::Random { model, questions, markers, seed } => {
            let tokenizer = tokenizer(model.vocabulary, questions, markers)?;
            create(&stage.path, model, &tokenizer, *seed)
        }
    }
}

/// The folder of a run's model before this stage has made it, for estimates. A random model is made in `folder`, with
/// weights only if they are wanted.
///
/// # Errors
/// As [`run`].
pub fn before_run(settings: &ModelSettings, folder: &Path, weights: bool) -> Result<PathBuf> {
    let (model, questions, markers, seed) = match settings {
        ModelSettings::Given { folder } => return model_folder(folder),
        ModelSettings::Random { model, questions, markers, seed } => (model, questions, markers, *seed),
    };
    let tokenizer = tokenizer(model.vocabulary, questions, markers)?;
    describe(folder, model, &tokenizer)?;
    if weights {
        save_random(folder, seed, SaveDtype::F32, folder)?;
    }
    Ok(folder.to_owned())
}

fn describe(folder: &Path, model: &ModelSource, tokenizer: &str) -> Result<Tokenizer> {
    if model.shape.is_empty() {
        return Err(no_model().into());
    }
    let shape = serde_json::to_value(&model.shape).context("cannot write model.shape as JSON")?;
    write_shape(folder, shape, tokenizer)
}

fn no_model() -> Failure {
    let message = "model: expected a folder to start from, or the shape of a random model, got neither";
    Failure::usage(message)
        .hint("write model.folder = \"org/name\", or a [model.shape] such as that of recipes/quickstart.toml")
}

fn create(folder: &Path, model: &ModelSource, tokenizer: &str, seed: u64) -> Result<Value> {
    let tokenizer = describe(folder, model, tokenizer)?;
    let parameters = save_random(folder, seed, SaveDtype::F32, folder)?;
    Ok(json!({"parameters": parameters, "vocabulary": tokenizer.vocabulary_size()}))
}

/// The `tokenizer.json` of a random model: the task's own, or one trained on the questions' texts.
fn tokenizer(vocabulary: usize, questions: &Source, markers: &Markers) -> Result<String> {
    match questions.task()? {
        Some(task) => Ok(task.tokenizer()),
        None => Ok(Tokenizer::train(&questions.texts(markers)?, vocabulary, &markers.specials())?),
    }
}

fn note_given(folder: &str, stage: &StageFolder) -> Result<Value> {
    let given = Given { folder: folder.to_owned(), files: fingerprint(&model_folder(folder)?)? };
    write(&stage.path, GIVEN, &format!("{:#}", json!(given)))?;
    Ok(json!({"folder": folder}))
}

/// Writes a model folder without weights: a tokenizer, and the shape as `config.json`, completed with the
/// fields that the tokenizer determines.
///
/// # Errors
/// A tokenizer that cannot be read or has no end token; a shape that sets a field that the tokenizer
/// determines; files that cannot be written.
pub fn write_shape(folder: &Path, mut shape: Value, tokenizer_json: &str) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::from_bytes(tokenizer_json.as_bytes())?;
    complete(&mut shape, &tokenizer)?;
    let tokenizer_config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END});
    write(folder, "tokenizer.json", tokenizer_json)?;
    write(folder, "tokenizer_config.json", &format!("{tokenizer_config:#}"))?;
    write(folder, "config.json", &format!("{shape:#}"))?;
    Ok(tokenizer)
}

/// Adds the fields that the tokenizer determines. A shape that sets one is refused: the two could differ.
fn complete(shape: &mut Value, tokenizer: &Tokenizer) -> Result<()> {
    let end = tokenizer.token_id(END).context("the tokenizer has no end token")?;
    for (name, value) in [("vocab_size", tokenizer.vocabulary_size()), ("eos_token_id", end as usize)] {
        if shape.get(name).is_some() {
            return Err(is_determined(name).into());
        }
        shape[name] = json!(value);
    }
    Ok(())
}

fn is_determined(name: &str) -> Failure {
    Failure::usage(format!("the model's shape: {name}: the tokenizer determines this")).hint("leave it out")
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    write_text(&folder.join(name), text)
}

#[cfg(test)]
mod tests {
    use latrace_questions::tasks::Task;

    use super::*;

    #[test]
    fn a_shape_does_not_say_what_the_tokenizer_determines() {
        let folder = tempfile::tempdir().unwrap();
        let write = |shape| write_shape(folder.path(), shape, &Task::Walk.tokenizer());
        let tokenizer = write(json!({"hidden_size": 8})).unwrap();
        let written: Value =
            serde_json::from_slice(&fs::read(folder.path().join("config.json")).unwrap()).unwrap();
        let end = tokenizer.token_id(END).unwrap();
        let expected =
            json!({"hidden_size": 8, "vocab_size": tokenizer.vocabulary_size(), "eos_token_id": end});
        assert_eq!(written, expected);
        for name in ["vocab_size", "eos_token_id"] {
            let error = write(json!({name: 3})).unwrap_err().to_string();
            assert!(error.contains(&format!("{name}: the tokenizer determines this")), "{error}");
        }
    }

    #[test]
    fn a_given_model_stays_as_it_was() {
        let (model, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = |name: &str| model.path().join(name);
        fs::write(file("config.json"), "{}").unwrap();
        fs::write(file("model.safetensors"), "weights").unwrap();
        let folder = model.path().display().to_string();
        let stage = run.path().join(Stage::Model.name());
        let begun = StageFolder::begin(&stage, "00-model", json!({}), 0.0).unwrap();
        run_given(&folder, &begun);
        let source = |folder: &str| ModelSource {
            folder: folder.to_owned(),
            vocabulary: 0,
            shape: toml::Table::new(),
        };
        let check = || check_unchanged(&source(&folder), run.path());
        check().unwrap();
        // Another model, or none, is a change of the recipe.
        fs::write(file("model.safetensors"), "others").unwrap();
        check_unchanged(&source("elsewhere"), run.path()).unwrap();
        check_unchanged(&source(""), run.path()).unwrap();
        let changed = |name: &str| {
            let error = check().unwrap_err().to_string();
            assert!(error.contains(&format!("{name} has changed since the run began")), "{error}");
        };
        changed("model.safetensors");
        fs::write(file("model.safetensors"), "weights").unwrap();
        fs::write(file("tokenizer.json"), "{}").unwrap();
        changed("tokenizer.json");
        fs::remove_file(file("tokenizer.json")).unwrap();
        check().unwrap();
    }

    fn run_given(folder: &str, stage: &StageFolder) {
        let counts = run(&ModelSettings::Given { folder: folder.to_owned() }, stage).unwrap();
        assert_eq!(counts, json!({"folder": folder}));
    }
}
