//! Reference pages that are made from the code: `cargo xtask docs` writes them, this test fails where they
//! have drifted.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

#[path = "docs/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use latrace_engine::{Lora, TrainConfig};
use latrace_io::table::Record;
use latrace_run::pipeline::records;
use latrace_run::plan::{Node, plan};
use latrace_run::recipe::run::RunRecipe;
use toml::{Table, Value};

/// Set, the pages are rewritten instead of compared.
const UPDATE: &str = "LATRACE_UPDATE_DOCS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn source(path: &str) -> String {
    fs::read_to_string(root().join("crates").join(path)).unwrap()
}

/// A field of a struct as its source has it.
#[derive(Debug)]
struct Field {
    name: String,
    kind: String,
    documentation: String,
    flattened: bool,
}

/// The public fields of a struct, with their documentation.
fn fields(source: &str, name: &str) -> Vec<Field> {
    let body = body(source, &format!("pub struct {name} {{"));
    let (mut documentation, mut flattened, mut found) = (String::new(), false, Vec::new());
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            add_line(&mut documentation, text);
        } else if line.starts_with("#[") {
            flattened |= line.contains("flatten");
        } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": "))
        {
            let name = name.trim_start_matches("r#").to_owned();
            let kind = kind.trim_end_matches(',').to_owned();
            found.push(Field {
                name,
                kind,
                documentation: std::mem::take(&mut documentation),
                flattened: std::mem::take(&mut flattened),
            });
        }
    }
    assert!(!found.is_empty(), "no fields of {name}");
    found
}

/// The variants of an enum of recipes, as recipes spell them; none if the type is no enum of the source.
fn variants(source: &str, name: &str) -> Vec<String> {
    let opening = format!("pub enum {name} {{");
    if !source.contains(&opening) {
        return Vec::new();
    }
    let is_variant =
        |line: &&str| line.starts_with(|first: char| first.is_ascii_uppercase()) && line.ends_with(',');
    body(source, &opening)
        .lines()
        .map(str::trim)
        .filter(is_variant)
        .map(|line| kebab(line.trim_end_matches(',')))
        .collect()
}

fn body<'a>(source: &'a str, opening: &str) -> &'a str {
    let (_, rest) = source.split_once(opening).unwrap_or_else(|| panic!("no {opening}"));
    rest.split_once("\n}").unwrap().0
}

fn kebab(name: &str) -> String {
    let mut spelt = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !spelt.is_empty() {
            spelt.push('-');
        }
        spelt.push(letter.to_ascii_lowercase());
    }
    spelt
}

fn add_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line.trim());
}

/// Replaces what stands between `<!-- generated: NAME -->` and `<!-- end -->` by what `make` gives for each
/// name.
fn regenerated(page: &str, make: impl Fn(&str) -> String) -> String {
    const OPENING: &str = "<!-- generated: ";
    let (mut whole, mut rest) = (String::new(), page);
    while let Some((before, after)) = rest.split_once(OPENING) {
        let (name, after) = after.split_once(" -->").unwrap();
        let (_, after) = after.split_once("<!-- end -->").unwrap_or_else(|| panic!("{name} has no end"));
        whole.push_str(&format!("{before}{OPENING}{name} -->\n{}<!-- end -->", make(name)));
        rest = after;
    }
    whole + rest
}

#[track_caller]
fn check_page(name: &str, make: impl Fn(&str) -> String) -> String {
    let path = root().join("docs").join(name);
    let page = fs::read_to_string(&path).unwrap();
    let expected = regenerated(&page, make);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &expected).unwrap();
    } else {
        let differing = page.lines().zip(expected.lines()).find(|(left, right)| left != right);
        assert!(
            page == expected,
            "docs/{name} has drifted from the code; `cargo xtask docs` rewrites it. First difference: {differing:?}"
        );
    }
    expected
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let rule = vec!["---".to_owned(); header.len()];
    format!("{}{}{}", line(&header), line(&rule), rows.iter().map(|row| line(row)).collect::<String>())
}

/// A default, as a recipe spells it.
fn spelt(value: &Value) -> String {
    match value {
        Value::Table(table) if table.is_empty() => "`{}`".to_owned(),
        Value::Table(table) => format!(
            "`{{ {} }}`",
            table.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
        ),
        Value::Float(number) => format!("`{number:?}`"),
        other => format!("`{other}`"),
    }
}

/// Comments of the defaults, by dotted key: those right above a key.
fn comments(defaults: &str) -> Vec<(String, String)> {
    let (mut section, mut comment, mut found) = (String::new(), String::new(), Vec::new());
    for line in defaults.lines() {
        if let Some(text) = line.strip_prefix('#') {
            add_line(&mut comment, text);
        } else if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            if !comment.is_empty() {
                found.push((section.trim_end_matches('.').to_owned(), std::mem::take(&mut comment)));
            }
        } else if let Some((key, _)) = line.split_once(" = ") {
            found.push((format!("{section}{key}"), std::mem::take(&mut comment)));
        } else {
            comment.clear();
        }
    }
    found
}

/// Structs by section of the recipe, with the file that has each.
const SECTIONS: [(&str, &str, &str); 15] = [
    ("", "latrace-run/src/recipe/run.rs", "RunRecipe"),
    ("model", "latrace-run/src/recipe/sections.rs", "ModelSource"),
    ("questions", "latrace-questions/src/source/mod.rs", "Source"),
    ("prompts", "latrace-run/src/recipe/prompts.rs", "Prompts"),
    ("traces", "latrace-run/src/recipe/sections.rs", "Traces"),
    ("answers", "latrace-run/src/recipe/sections.rs", "Sampling"),
    ("verdicts", "latrace-run/src/recipe/sections.rs", "Verdicts"),
    ("verifier", "latrace-verify/src/command/mod.rs", "CommandSettings"),
    ("weights", "latrace-run/src/weigh/config.rs", "WeighConfig"),
    ("dataset", "latrace-run/src/recipe/sections.rs", "Dataset"),
    ("distillation", "latrace-run/src/recipe/distillation.rs", "Distillation"),
    ("evaluation", "latrace-run/src/recipe/sections.rs", "Evaluation"),
    ("engine", "latrace-run/src/recipe/engines.rs", "EngineOptions"),
    ("servers", "latrace-engine/src/servers/config.rs", "ServersConfig"),
    ("torchrun", "latrace-engine/src/torchrun/config.rs", "TorchrunConfig"),
];

/// Files with enums that settings have as their types.
const ENUMS: [&str; 4] = [
    "latrace-run/src/recipe/run.rs",
    "latrace-run/src/recipe/sections.rs",
    "latrace-questions/src/source/formats.rs",
    "latrace-lm/src/train_config.rs",
];

/// Files of structs that are flattened into those of a section, where they are not in its own.
const FLATTENED: [(&str, &str); 1] = [("SamplingParams", "latrace-core/src/sampling.rs")];

/// All settings of a section: dotted key, type, documentation of the type.
fn settings(section: &str, file: &str, name: &str) -> Vec<(String, String, String)> {
    let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
    let named = |field: Field| (format!("{prefix}{}", field.name), field.kind, field.documentation);
    unflattened(file, name).into_iter().map(named).collect()
}

/// A struct's fields, those of flattened structs in their places.
fn unflattened(file: &str, name: &str) -> Vec<Field> {
    let inner = |field: Field| {
        if !field.flattened {
            return vec![field];
        }
        let file = FLATTENED.iter().find(|(name, _)| *name == field.kind).map_or(file, |(_, file)| file);
        unflattened(file, &field.kind)
    };
    fields(&source(file), name).into_iter().flat_map(inner).collect()
}

fn one_of(kind: &str) -> String {
    let names = ENUMS.iter().map(|file| variants(&source(file), kind)).find(|names| !names.is_empty());
    names.map_or(String::new(), |names| {
        format!(" One of {}.", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
    })
}

fn lookup<'a>(table: &'a Table, dotted: &str) -> Option<&'a Value> {
    let (first, rest) = dotted.split_once('.').map_or((dotted, None), |(first, rest)| (first, Some(rest)));
    let value = table.get(first)?;
    rest.map_or(Some(value), |rest| lookup(value.as_table()?, rest))
}

fn section_table(section: &str) -> String {
    let defaults = source("latrace-run/src/recipe/defaults.toml");
    let (comments, values): (Vec<(String, String)>, Table) =
        (comments(&defaults), toml::from_str(&defaults).unwrap());
    let (_, file, name) = SECTIONS.into_iter().find(|(known, ..)| *known == section).unwrap();
    let is_section = |key: &str| {
        SECTIONS.iter().any(|(section, ..)| *section == key) || TRAININGS.contains(&key) || key == "baselines"
    };
    let rows = settings(section, file, name).into_iter().filter(|(key, ..)| !is_section(key)).map(
        |(key, kind, documentation)| {
            let comment = comments
                .iter()
                .find(|(known, text)| *known == key && !text.is_empty())
                .map(|(_, text)| text.clone());
            let has_names = comment.is_some();
            let text = comment.unwrap_or(documentation);
            let names = if has_names { String::new() } else { one_of(&kind) };
            let default = match lookup(&values, &key) {
                Some(value) => spelt(value),
                None if key.ends_with(".seed") => "the recipe's `seed`".to_owned(),
                None => "none".to_owned(),
            };
            vec![format!("`{key}`"), default, format!("{text}{names}")]
        },
    );
    table(&["setting", "default", "what it says"], &rows.collect::<Vec<_>>())
}

/// Sections that are trainings.
const TRAININGS: [&str; 4] = ["initial", "posterior", "posterior.refine", "final"];

fn training_table() -> String {
    let values: Table = toml::from_str(&source("latrace-run/src/recipe/defaults.toml")).unwrap();
    let defaults = Table::try_from(TrainConfig::default()).unwrap();
    let rows = fields(&source("latrace-lm/src/train_config.rs"), "TrainConfig").into_iter().map(|field| {
        let of = |section: &str| match lookup(&values, &format!("{section}.{}", field.name))
            .or_else(|| defaults.get(&field.name))
        {
            _ if field.name == "seed" => "the recipe's `seed`".to_owned(),
            Some(value) => spelt(value),
            None => "none".to_owned(),
        };
        let of_each = TRAININGS.map(of);
        let default = if of_each.iter().all(|value| *value == of_each[0]) {
            of_each[0].clone()
        } else {
            of_each.join(", ")
        };
        vec![format!("`{}`", field.name), default, format!("{}{}", field.documentation, one_of(&field.kind))]
    });
    let of_adapters = Table::try_from(Lora::default()).unwrap();
    let adapter = fields(&source("latrace-lm/src/adapter/lora.rs"), "Lora").into_iter().map(|field| {
        vec![format!("`lora.{}`", field.name), spelt(&of_adapters[&field.name]), field.documentation]
    });
    table(&["setting", "default", "what it says"], &rows.chain(adapter).collect::<Vec<_>>())
}

/// What the sections of trainings have beside the training's own settings: those that the defaults describe.
fn models_table() -> String {
    let defaults = source("latrace-run/src/recipe/defaults.toml");
    let values: Table = toml::from_str(&defaults).unwrap();
    let is_of_model = |(key, text): &(String, String)| {
        !text.is_empty() && TRAININGS.iter().any(|section| key.starts_with(&format!("{section}.")))
    };
    let rows = comments(&defaults).into_iter().filter(is_of_model);
    let rows = rows.map(|(key, text)| vec![format!("`{key}`"), spelt(lookup(&values, &key).unwrap()), text]);
    table(&["setting", "default", "what it says"], &rows.collect::<Vec<_>>())
}

#[test]
fn the_reference_of_recipes_is_that_of_the_code() {
    let page = check_page("recipe.md", |name| match name {
        "models" => models_table(),
        "training" => training_table(),
        "top" => section_table(""),
        section => section_table(section),
    });
    let page = page + &check_page("engines.md", section_table);
    // Every setting of a recipe in full has its row, and no default is missing.
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("r.toml");
    fs::write(&recipe, "[questions]\ntask = \"walk\"\n").unwrap();
    let whole: Table = toml::from_str(&RunRecipe::read(&recipe, &[]).unwrap().to_toml().unwrap()).unwrap();
    let mut keys = BTreeSet::new();
    for (section, value) in &whole {
        match value {
            Value::Table(table) if TRAININGS.contains(&section.as_str()) => {
                add_training(table, section, &mut keys)
            }
            Value::Table(table) => keys.extend(table.keys().map(|key| format!("{section}.{key}"))),
            _ => drop(keys.insert(section.clone())),
        }
    }
    let missing: Vec<&String> = keys.iter().filter(|key| !page.contains(&format!("| `{key}` |"))).collect();
    assert!(missing.is_empty() && keys.len() > 60, "{missing:?} of {} settings", keys.len());
    assert!(!page.contains("|  |"), "a setting without a description");
}

/// Adds the keys of a training's section: those that all trainings have, by their names alone.
fn add_training(table: &Table, section: &str, keys: &mut BTreeSet<String>) {
    const OWN: [&str; 6] = ["train", "start", "rows", "objective", "rounds", "n"];
    for (key, value) in table {
        match value {
            Value::Table(inner) => add_training(inner, &format!("{section}.{key}"), keys),
            _ if OWN.contains(&key.as_str()) => drop(keys.insert(format!("{section}.{key}"))),
            _ => drop(keys.insert(key.clone())),
        }
    }
}

/// Types as people name them.
fn in_words(kind: &str) -> String {
    if let Some(inner) = kind.strip_prefix("Option<").and_then(|inner| inner.strip_suffix('>')) {
        return format!("{}, or null", in_words(inner));
    }
    match kind {
        "String" | "&'static str" => "text",
        "bool" => "true or false",
        "u64" | "usize" | "i64" => "whole number",
        "f64" => "number",
        "Vec<u32>" => "list of token ids",
        "Vec<f64>" | "Vec<f32>" => "list of numbers",
        "Vec<u64>" => "list of whole numbers",
        "Vec<Option<f64>>" => "list of numbers, or null",
        "Reason" => "text",
        "Split" => "`train`, `validation` or `test`",
        "Value" => "any",
        "Contamination"
        | "RunProvenance"
        | "BTreeMap<String, String>"
        | "BTreeMap<String, f64>"
        | "BTreeMap<String, ModelSummary>"
        | "BTreeMap<String, MethodCost>"
        | "BTreeMap<String, Accuracy>"
        | "Diagnostics"
        | "Lift"
        | "StepValidity"
        | "SamplerMismatch"
        | "TraceDiversity"
        | "Interval"
        | "Accuracy" => "object",
        "Vec<String>" => "list of texts",
        "Vec<ServerNote>" => "list of objects",
        other => panic!("a type without words: {other}"),
    }
    .to_owned()
}

/// Structs of files, by name, with the file of the code that has each.
const FILES: [(&str, &str); 12] = [
    ("Record", "latrace-run/src/pipeline/records.rs"),
    ("StageRecord", "latrace-run/src/pipeline/folder.rs"),
    ("RunSummary", "latrace-run/src/pipeline/summary.rs"),
    ("RunProvenance", "latrace-run/src/pipeline/provenance.rs"),
    ("Diagnostics", "latrace-run/src/diagnostics/mod.rs"),
    ("Lift", "latrace-run/src/diagnostics/mod.rs"),
    ("StepValidity", "latrace-run/src/diagnostics/mod.rs"),
    ("TraceDiversity", "latrace-run/src/diagnostics/mod.rs"),
    ("SamplerMismatch", "latrace-run/src/stages/rescoring.rs"),
    ("MethodCost", "latrace-run/src/diagnostics/mod.rs"),
    ("Accuracy", "latrace-objective/src/statistics.rs"),
    ("Metrics", "latrace-lm/src/train.rs"),
];

fn columns(name: &str) -> String {
    let exact = FILES.iter().find(|(known, _)| *known == name);
    let (_, file) = exact
        .or_else(|| FILES.iter().find(|(known, _)| name.ends_with(known)))
        .unwrap_or_else(|| panic!("no file of {name}"));
    let all = fields(&source(file), name);
    let own = all.iter().filter(|field| !field.flattened);
    let row =
        |field: &Field| vec![format!("`{}`", field.name), in_words(&field.kind), field.documentation.clone()];
    let mut rows: Vec<Vec<String>> = own.map(row).collect();
    if all.iter().any(|field| field.kind == "Reason") {
        rows.push(VERDICT.map(str::to_owned).to_vec());
    }
    table(&["name", "what it is", "what it says"], &rows)
}

/// The column that tables with a reason have beside it, for their readers.
const VERDICT: [&str; 3] =
    ["`verdict`", "text", "`correct`, `wrong` or `undetermined`, as follows from the reason."];

/// The columns that the page's table of a record lists are those of its schema, and say which may be null.
#[track_caller]
fn check_columns<R: Record>(name: &str) {
    let documented: Vec<(String, bool)> = columns(name)
        .lines()
        .skip(2)
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .map(|cells| (cells[0].trim_matches(['|', ' ', '`']).to_owned(), cells[1].ends_with("or null")))
        .collect();
    let fields: Vec<(String, bool)> =
        R::fields().iter().map(|field| (field.name().to_owned(), field.is_optional())).collect();
    assert_eq!(documented, fields, "{name}");
}

#[test]
fn the_documented_columns_are_those_of_the_files() {
    check_columns::<records::QuestionRecord>("QuestionRecord");
    check_columns::<records::TraceRecord>("TraceRecord");
    check_columns::<records::ScoreRecord>("ScoreRecord");
    check_columns::<records::AnswerRecord>("AnswerRecord");
    check_columns::<records::VerdictRecord>("VerdictRecord");
    check_columns::<records::WeightRecord>("WeightRecord");
    check_columns::<records::ExampleRecord>("ExampleRecord");
    check_columns::<records::ResponseRecord>("ResponseRecord");
}

/// The quick start's stages: folder, title, and the folders that each reads.
fn stages() -> String {
    let recipe = RunRecipe::read(&root().join("recipes/quickstart.toml"), &[]).unwrap();
    let plan = plan(&recipe).unwrap();
    let folder = |node: &Node| format!("`{}/`", node.folder().display());
    let row = |node: &Node| {
        let inputs: BTreeSet<String> = node.inputs.iter().map(|&(_, id)| folder(&plan.nodes[id])).collect();
        vec![folder(node), node.title(), inputs.into_iter().collect::<Vec<_>>().join(", ")]
    };
    let own = plan.nodes.iter().filter(|node| node.method.is_none());
    table(&["folder", "stage", "reads"], &own.map(row).collect::<Vec<_>>())
}

#[test]
fn the_tables_of_the_run_folder_are_those_of_the_code() {
    let page = check_page("run-folder.md", |name| if name == "stages" { stages() } else { columns(name) });
    // Every record of the pipeline is described.
    let records = source("latrace-run/src/pipeline/records.rs");
    let names = records
        .lines()
        .filter_map(|line| line.strip_prefix("pub struct "))
        .filter_map(|rest| rest.strip_suffix(" {"));
    for name in names {
        assert!(page.contains(&format!("<!-- generated: {name} -->")), "{name} is not described");
    }
}

#[test]
fn fields_and_variants_are_read_as_they_stand() {
    let source = "/// A.\npub struct A {\n    /// One\n    /// line.\n    pub r#type: String,\n    #[serde(flatten)]\n    pub b: Vec<B>,\n}\npub enum B {\n    /// X.\n    X,\n    TwoWords,\n}\n";
    let found = fields(source, "A");
    assert_eq!(
        (found[0].name.as_str(), found[0].kind.as_str(), found[0].documentation.as_str()),
        ("type", "String", "One line.")
    );
    assert!(found[1].flattened && !found[0].flattened);
    assert_eq!(variants(source, "B"), ["x", "two-words"]);
    assert_eq!(
        regenerated("a <!-- generated: x -->\nold\n<!-- end --> b", |name| format!("{name}!\n")),
        "a <!-- generated: x -->\nx!\n<!-- end --> b"
    );
    let text = "# About it.\n[m]\n# First\n# part.\na = 1\nb = 2\n\n# Loose.\n\nc = 3\n";
    let pairs = [("m", "About it."), ("m.a", "First part."), ("m.b", ""), ("m.c", "")]
        .map(|(key, text)| (key.to_owned(), text.to_owned()));
    assert_eq!(comments(text), pairs);
}
