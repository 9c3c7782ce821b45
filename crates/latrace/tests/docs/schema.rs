//! The JSON Schema of recipes, for editors: what each setting may be is asked of the reader of recipes itself, by values
//! that it takes or refuses, so that the two cannot differ.

use std::fs;
use std::path::{Path, PathBuf};

use latrace_engine::{CONFIG_FIELDS, IGNORED_CONFIG_FIELDS, Lora, TrainConfig};
use latrace_questions::source::Format;
use latrace_run::recipe::run::RunRecipe;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use toml::Table;

use super::{SECTIONS, TRAININGS, UPDATE, comments, fields, lookup, root, settings, source};

/// Where the schema is.
const FILE: &str = "docs/recipe.schema.json";

/// Sections that no baseline has.
const WHOLE_RUN: [&str; 5] = ["engine", "servers", "torchrun", "skip", "baselines"];

/// Settings of which some values depend on others: their schemas are written out, each to be held by what it describes.
fn special(key: &str, reader: &Reader) -> Option<Value> {
    let texts = |names: &[&str]| {
        let text = |name: &&str| ((*name).to_owned(), json!({"type": "string"}));
        closed(names.iter().map(text).collect())
    };
    let kinds = || json!({"type": "object", "additionalProperties": reader.kinds()});
    Some(match key {
        "prompts.markers" => {
            let own = texts(&["open", "close", "cut", "answer_open", "answer_close"]);
            json!({"anyOf": [{"enum": ["think", "stratos", "plain"]}, own]})
        }
        "prompts.date" => json!({"type": "string"}),
        "questions.limit" => {
            let count = json!({"type": "integer", "minimum": 0});
            let splits = ["train", "validation", "test"].map(|split| (split.to_owned(), count.clone()));
            json!({"anyOf": [count, closed(splits.into_iter().collect())]})
        }
        "questions.kind" => reader.kinds(),
        "questions.kinds" | "questions.question_kinds" => kinds(),
        "questions.columns" => {
            let formats = [Format::Rows, Format::Gsm8k, Format::Conversations];
            texts(&formats.iter().flat_map(|format| format.fields()).collect::<Vec<_>>())
        }
        "model.shape" => {
            let fields = CONFIG_FIELDS.iter().chain(&IGNORED_CONFIG_FIELDS);
            closed(fields.map(|&field| (field.to_owned(), json!({}))).collect())
        }
        "questions.sizes" => reader.table(key, &["traced", "untraced", "validation", "test"]),
        "questions.tests" => reader.table(key, &["from", "key", "column"]),
        "weights.fallbacks" => reader.table(key, &["math", "choice", "text", "code", "command"]),
        _ => return None,
    })
}

/// An object with these fields and no others.
fn closed(properties: Map<String, Value>) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The reader of recipes, of which values are tried.
struct Reader {
    _folder: TempDir,
    recipe: PathBuf,
}

impl Reader {
    fn new() -> Reader {
        let folder = tempfile::tempdir().unwrap();
        let recipe = folder.path().join("r.toml");
        // An objective that asks nothing of the number of traces.
        let text = "[questions]\ntask = \"walk\"\n[posterior.refine]\nobjective = \"iwae-phi\"\n";
        fs::write(&recipe, text).unwrap();
        Reader { _folder: folder, recipe }
    }

    /// What the reader says against a value; nothing where it takes it, or minds another setting.
    fn refusal(&self, key: &str, value: &str) -> Option<String> {
        let said = RunRecipe::read(&self.recipe, &[format!("{key}={value}")]).err()?.to_string();
        said.strip_prefix(&format!("the command line: {key}: ")).map(str::to_owned)
    }

    /// The schema of a setting.
    fn schema(&self, key: &str) -> Value {
        if let Some(schema) = special(key, self) {
            return schema;
        }
        match self.refusal(key, "\"?\"") {
            None => json!({"type": "string"}),
            Some(said) if said.starts_with("expected one of ") => self.choices(key, &said),
            Some(said) if said.starts_with("expected a whole number") => self.integer(key),
            Some(said) if said.starts_with("expected a number") => self.number(key),
            Some(said) if said.starts_with("expected true or false") => json!({"type": "boolean"}),
            Some(said) if said.starts_with("expected a list") => {
                json!({"type": "array", "items": {"type": "string"}})
            }
            Some(said) => panic!("{key}: no schema for a setting of which is said: {said}"),
        }
    }

    fn choices(&self, key: &str, said: &str) -> Value {
        let names = said.trim_start_matches("expected one of ").split(", got ").next().unwrap();
        let mut names: Vec<&str> = names.split(", ").filter(|name| !name.starts_with("or ")).collect();
        if self.refusal(key, "\"\"").is_none() {
            names.push("");
        }
        json!({"enum": names})
    }

    fn integer(&self, key: &str) -> Value {
        let mut schema = json!({"type": "integer"});
        let number_after = |said: &str, words: &str| -> Option<u64> {
            let rest = said.split_once(words)?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        if let Some(said) = self.refusal(key, "0").or_else(|| self.refusal(key, "-1")) {
            let least = number_after(&said, "at least ").or_else(|| number_after(&said, "from "));
            schema["minimum"] = json!(least.unwrap_or_else(|| panic!("{key}: {said}")));
        }
        if let Some(said) = self.refusal(key, "1000000000000") {
            let most = number_after(&said, " to ").or_else(|| number_after(&said, "at most "));
            schema["maximum"] = json!(most.unwrap_or_else(|| panic!("{key}: {said}")));
        }
        schema
    }

    fn number(&self, key: &str) -> Value {
        let mut schema = json!({"type": "number"});
        let is_refused = |value: &str| self.refusal(key, value).is_some();
        match (is_refused("-1.0"), is_refused("0.0")) {
            (true, true) => schema["exclusiveMinimum"] = json!(0),
            (true, false) => schema["minimum"] = json!(0),
            (false, _) => {}
        }
        match (is_refused("2.0"), is_refused("1.0")) {
            (true, true) => schema["exclusiveMaximum"] = json!(1),
            (true, false) => schema["maximum"] = json!(1),
            (false, _) => {}
        }
        schema
    }

    /// The schema of a table of settings.
    fn table(&self, key: &str, names: &[&str]) -> Value {
        closed(names.iter().map(|name| ((*name).to_owned(), self.schema(&format!("{key}.{name}")))).collect())
    }

    /// A kind of verifier: one of `latrace verify`, or a built-in task.
    fn kinds(&self) -> Value {
        let listed = |key: &str| self.choices(key, &self.refusal(key, "\"?\"").unwrap());
        let names = [listed("questions.kind"), listed("questions.task")];
        let names = names.iter().flat_map(|names| names["enum"].as_array().unwrap().clone());
        json!({"enum": names.filter(|name| name != "").collect::<Vec<_>>()})
    }
}

/// A setting's schema with what the documents say of it.
fn described(schema: Value, description: &str, default: Option<&toml::Value>) -> Value {
    let Value::Object(mut fields) = schema else { unreachable!("a schema is an object") };
    fields.insert("description".to_owned(), json!(description));
    // JSON has no infinities, and tables are described field by field.
    let default =
        default.filter(|value| !value.is_table()).map(|value| json!(value)).filter(|value| !value.is_null());
    fields.extend(default.map(|default| ("default".to_owned(), default)));
    Value::Object(fields)
}

/// The schemas of the settings of a section that is no training.
fn section(name: &str, reader: &Reader) -> Map<String, Value> {
    let text = source("latrace-run/src/recipe/defaults.toml");
    let (comments, defaults): (_, Table) = (comments(&text), toml::from_str(&text).unwrap());
    let (_, file, type_name) = SECTIONS.into_iter().find(|(known, ..)| *known == name).unwrap();
    let is_section = |key: &str| {
        SECTIONS.iter().any(|(section, ..)| *section == key) || TRAININGS.contains(&key) || key == "baselines"
    };
    let of_setting = |(key, _, documentation): (String, String, String)| {
        let comment = comments.iter().find(|(known, text)| *known == key && !text.is_empty());
        let text = comment.map_or(documentation, |(_, text)| text.clone());
        let last = key.rsplit('.').next().unwrap().to_owned();
        (last, described(reader.schema(&key), &text, lookup(&defaults, &key)))
    };
    settings(name, file, type_name).into_iter().filter(|(key, ..)| !is_section(key)).map(of_setting).collect()
}

/// The schemas of the settings of a training: those of all trainings, as they are tried in one, and the section's own.
fn training(name: &str, reader: &Reader) -> Map<String, Value> {
    let text = source("latrace-run/src/recipe/defaults.toml");
    let (comments, defaults): (_, Table) = (comments(&text), toml::from_str(&text).unwrap());
    let of_all = Table::try_from(TrainConfig::default()).unwrap();
    let of_adapters = Table::try_from(Lora::default()).unwrap();
    let mut found = Map::new();
    for (key, text) in comments.iter().filter(|(_, text)| !text.is_empty()) {
        let own = key.strip_prefix(&format!("{name}.")).filter(|own| !own.contains('.') && *own != "refine");
        let schema = |_: &str| described(reader.schema(key), text, lookup(&defaults, key));
        found.extend(own.map(|own| (own.to_owned(), schema(own))));
    }
    for field in fields(&source("latrace-lm/src/train_config.rs"), "TrainConfig") {
        let key = &field.name;
        let schema = if key == "lora" {
            let adapter =
                fields(&source("latrace-lm/src/adapter/lora.rs"), "Lora").into_iter().map(|field| {
                    let schema = reader.schema(&format!("final.lora.{}", field.name));
                    (
                        field.name.clone(),
                        described(schema, &field.documentation, of_adapters.get(&field.name)),
                    )
                });
            closed(adapter.collect())
        } else {
            reader.schema(&format!("final.{key}"))
        };
        let default = lookup(&defaults, &format!("{name}.{key}")).or_else(|| of_all.get(key));
        let default = default.filter(|_| key != "seed");
        found.entry(key.clone()).or_insert_with(|| described(schema, &field.documentation, default));
    }
    found
}

fn reference(path: &str) -> Value {
    json!({"$ref": format!("#/{path}")})
}

fn schema() -> Value {
    let reader = Reader::new();
    let mut definitions = Map::new();
    for (name, ..) in SECTIONS.into_iter().filter(|(name, ..)| !name.is_empty()) {
        definitions.insert(name.to_owned(), closed(section(name, &reader)));
    }
    for name in TRAININGS.into_iter().filter(|name| *name != "posterior.refine") {
        definitions.insert(name.to_owned(), closed(training(name, &reader)));
    }
    definitions["posterior"]["properties"]["refine"] = closed(training("posterior.refine", &reader));
    let sections: Vec<(String, Value)> =
        definitions.keys().map(|name| (name.clone(), reference(&format!("definitions/{name}")))).collect();
    let top = section("", &reader);
    let of_baseline = top.keys().map(|name| (name.clone(), reference(&format!("properties/{name}"))));
    let of_baseline =
        of_baseline.chain(sections.clone()).filter(|(name, _)| !WHOLE_RUN.contains(&name.as_str()));
    definitions.insert("baseline".to_owned(), closed(of_baseline.collect()));
    let base =
        described(json!({"type": "string"}), "Another recipe, whose settings this one inherits.", None);
    let baselines = json!({
        "type": "object",
        "description": "Other methods on the same data, each a table of the settings that differ.",
        "additionalProperties": reference("definitions/baseline"),
    });
    let mut properties = Map::from_iter([("base".to_owned(), base)]);
    properties.extend(top);
    properties.extend(sections);
    properties.insert("baselines".to_owned(), baselines);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A recipe of latrace",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": definitions,
    })
}

/// What a schema has against a value, if anything, by the words of JSON Schema that ours is written in.
fn problem(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    if let Some(target) = schema["$ref"].as_str() {
        let target = root.pointer(target.trim_start_matches('#')).unwrap_or_else(|| panic!("no {target}"));
        return problem(root, target, value, path);
    }
    if let Some(schemas) = schema["anyOf"].as_array() {
        let problems =
            schemas.iter().map(|schema| problem(root, schema, value, path)).collect::<Option<Vec<_>>>();
        return problems.map(|problems| problems.join(" or "));
    }
    let is_typed = match schema["type"].as_str() {
        None => true,
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("{path}: {other}"),
    };
    let within = |word: &str, holds: fn(f64, f64) -> bool| {
        schema[word].as_f64().zip(value.as_f64()).is_none_or(|(bound, number)| holds(number, bound))
    };
    let is_in_range = within("minimum", |number, bound| number >= bound)
        && within("maximum", |number, bound| number <= bound)
        && within("exclusiveMinimum", |number, bound| number > bound)
        && within("exclusiveMaximum", |number, bound| number < bound);
    let is_choice = schema["enum"].as_array().is_none_or(|choices| choices.contains(value));
    if !(is_typed && is_in_range && is_choice) {
        return Some(format!("{path}: {value} is not {schema}"));
    }
    let of_items = value.as_array().into_iter().flatten();
    let mut of_items = of_items.filter_map(|item| problem(root, &schema["items"], item, path));
    let of_fields = value.as_object().into_iter().flatten();
    let mut of_fields = of_fields.filter_map(|(name, value)| {
        let path = format!("{path}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => problem(root, schema, value, &path),
            (None, Value::Bool(false)) => Some(format!("{path}: no such key")),
            (None, others) => problem(root, others, value, &path),
        }
    });
    of_items.next().or_else(|| of_fields.next())
}

fn shipped() -> Vec<PathBuf> {
    let folders = ["recipes", "recipes/engines", "recipes/science"].map(|folder| root().join(folder));
    let files =
        folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

fn read_toml(path: &Path) -> Value {
    json!(toml::from_str::<Table>(&fs::read_to_string(path).unwrap()).unwrap())
}

#[test]
fn the_schema_of_recipes_is_that_of_their_reader() {
    let expected = format!("{:#}\n", schema());
    let path = root().join(FILE);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differing = written.lines().zip(expected.lines()).find(|(left, right)| left != right);
    assert!(
        written == expected,
        "{FILE} has drifted from the code; `cargo xtask docs` rewrites it: {differing:?}"
    );
}

#[test]
fn every_shipped_recipe_names_the_schema_and_keeps_to_it() {
    let schema = schema();
    let files = shipped();
    assert!(files.len() > 20);
    for file in &files {
        let value = read_toml(file);
        assert_eq!(problem(&schema, &schema, &value, ""), None, "{}", file.display());
        let text = fs::read_to_string(file).unwrap();
        let named = text
            .lines()
            .next()
            .unwrap()
            .strip_prefix("#:schema ")
            .unwrap_or_else(|| panic!("{}", file.display()));
        assert!(file.parent().unwrap().join(named).is_file(), "{}: {named}", file.display());
    }
    // Every setting there is, too.
    let whole = RunRecipe::read(&root().join("recipes/quickstart.toml"), &[]).unwrap().to_toml().unwrap();
    let mut whole: Table = toml::from_str(&whole).unwrap();
    // JSON has no infinities.
    whole["weights"].as_table_mut().unwrap().retain(|_, value| value.as_float().is_none_or(f64::is_finite));
    assert_eq!(problem(&schema, &schema, &json!(whole), ""), None);
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    let refused = |text: &str, expected: &str| {
        let value = json!(toml::from_str::<Table>(text).unwrap());
        let said = problem(&schema, &schema, &value, "").unwrap_or_default();
        assert!(said.starts_with(expected), "{text}: {said:?}");
    };
    refused("sed = 1", ".sed: no such key");
    refused("traces.nn = 1", ".traces.nn: no such key");
    refused("traces.n = \"many\"", ".traces.n: \"many\" is not");
    refused("traces.n = 0", ".traces.n: 0 is not");
    refused("traces.top_p = 1.5", ".traces.top_p: 1.5 is not");
    refused("method = \"rtf\"", ".method: \"rtf\" is not");
    refused("final.schedule = \"cosin\"", ".final.schedule: ");
    refused("final.lora.rnk = 1", ".final.lora.rnk: no such key");
    refused("posterior.refine.rounds = -1", ".posterior.refine.rounds: -1 is not");
    refused("questions.columns.questoin = \"q\"", ".questions.columns.questoin: no such key");
    refused("questions.kinds.taco = \"codes\"", ".questions.kinds.taco: ");
    refused("model.shape.hiden_size = 8", ".model.shape.hiden_size: no such key");
    refused("baselines.rft.traces.n = \"many\"", ".baselines.rft.traces.n: ");
    refused("baselines.rft.engine.compute = \"f32\"", ".baselines.rft.engine: no such key");
    refused("weights.fallbacks.cod = \"skip\"", ".weights.fallbacks.cod: no such key");
}
