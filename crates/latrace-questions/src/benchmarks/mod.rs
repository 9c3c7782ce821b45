//! Benchmarks as data: the location of the questions, the meaning of their columns, how they are posed and
//! judged, and the number of responses.
//!
//! Each has a file, and users' own files have the same format. Defaults are the paper's protocol (method.md
//! section 8): temperature 0.7, top_p 1, 38,912 tokens.

mod choices;
mod item;
mod reader;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_core::{PromptTemplate, Question, SamplingParams};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use item::{Item, ItemReference};
pub use reader::{Chosen, for_each};

use crate::query::{COMMAND, is_boxed, kind_text};
use crate::tasks::{Sizes, Task};
use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use latrace_io::hub;
use latrace_io::settings::{parse_table, typed};

/// The built-in benchmarks, in the order of the paper's tables.
const BUILT_IN: [(&str, &str); 17] = [
    ("math500", include_str!("math500.toml")),
    ("aime24", include_str!("aime24.toml")),
    ("aime25", include_str!("aime25.toml")),
    ("amc23", include_str!("amc23.toml")),
    ("olympiadbench", include_str!("olympiadbench.toml")),
    ("gpqa_diamond", include_str!("gpqa_diamond.toml")),
    ("livecodebench", include_str!("livecodebench.toml")),
    ("mmlu_pro", include_str!("mmlu_pro.toml")),
    ("mmlu_stem", include_str!("mmlu_stem.toml")),
    ("gsm8k", include_str!("gsm8k.toml")),
    ("minervamath", include_str!("minervamath.toml")),
    ("humaneval", include_str!("humaneval.toml")),
    ("walk", include_str!("walk.toml")),
    ("countdown", include_str!("countdown.toml")),
    ("arithmetic", include_str!("arithmetic.toml")),
    ("graph", include_str!("graph.toml")),
    ("latin", include_str!("latin.toml")),
];

/// A benchmark, as described by its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// The file's name, without its extension.
    #[serde(skip)]
    pub name: String,
    /// The folder of a user's own file.
    #[serde(skip)]
    folder: Option<PathBuf>,
    /// Its display name.
    pub title: String,
    /// What its questions mean and which answers are right, in at most two sentences; a built-in task says so itself.
    #[serde(default)]
    about: String,
    /// The verifier.
    pub kind: Kind,
    /// The verifier's convention for reference answers, if it has a name.
    #[serde(default)]
    pub convention: Option<String>,
    /// Responses per question.
    pub k: u64,
    /// Whether tables show a column per subset instead of one for all questions.
    #[serde(default)]
    pub by_subset: bool,
    /// Template of the question as posed, with the variables `question`, `options` (each with `letter` and
    /// `text`) and `row`, the row as published.
    #[serde(default)]
    prompt: Option<String>,
    /// Where the questions are.
    #[serde(default)]
    pub source: BenchmarkSource,
    /// What the columns mean.
    columns: Columns,
    /// Where tests of programs are.
    #[serde(default)]
    tests: Option<Tests>,
    /// Sampling parameters of responses.
    #[serde(default = "protocol", deserialize_with = "over_protocol")]
    pub sampling: SamplingParams,
    /// Time limit of a program, in seconds per test.
    #[serde(default = "six_seconds")]
    pub time_limit: f64,
}

/// Verifiers: the kinds of `latrace verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Mathematics.
    Math,
    /// Multiple choice.
    Choice,
    /// A program.
    Code,
    /// Words.
    Text,
    /// A verifier of the user's own.
    Command,
    /// The built-in task.
    Walk,
    /// The built-in task.
    Countdown,
    /// The built-in task.
    Arithmetic,
    /// The built-in task.
    Graph,
    /// The built-in task.
    Latin,
}

impl Kind {
    /// The name in rows of `latrace verify`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Math => "math",
            Kind::Choice => "choice",
            Kind::Code => "code",
            Kind::Text => "text",
            Kind::Command => COMMAND,
            Kind::Walk => "walk",
            Kind::Countdown => "countdown",
            Kind::Arithmetic => "arithmetic",
            Kind::Graph => "graph",
            Kind::Latin => "latin",
        }
    }

    /// The built-in task, if it is one.
    pub fn task(self) -> Option<Task> {
        Task::named(self.name())
    }

    /// The default template of a question.
    fn prompt(self) -> &'static str {
        if self == Kind::Choice { include_str!("choice.jinja") } else { "{{ question }}" }
    }

    /// Whether the final answer belongs in a box.
    pub fn is_boxed(self) -> bool {
        is_boxed(self.name())
    }

    /// The default template and markers: those that the built-in recipes train with.
    pub fn form(self) -> [&'static str; 2] {
        if self.task().is_some() { ["plain", "plain"] } else { ["reasoner", "think"] }
    }
}

/// Where questions are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BenchmarkSource {
    /// A data set on the hub; without one, the files are in the folder of the benchmark's file.
    pub dataset: Option<String>,
    /// Its configuration name, for readers with other tools.
    pub config: Option<String>,
    /// Its split, likewise.
    pub split: Option<String>,
    /// File name patterns.
    #[serde(deserialize_with = "one_or_more")]
    pub files: Vec<String>,
    /// Filter of rows; default: all.
    pub keep: Option<Keep>,
    /// Number of questions of a built-in task, from the test split of its recipe; replaces all of the above.
    pub questions: usize,
}

/// Keeps rows whose column has one of some values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    #[serde(deserialize_with = "one_or_more")]
    column: Vec<String>,
    values: Vec<String>,
}

/// Meaning of the columns. Of several names, the first that a row has is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    /// Without one, a question's index in the data is its id.
    #[serde(default, deserialize_with = "one_or_more")]
    id: Vec<String>,
    #[serde(deserialize_with = "one_or_more")]
    question: Vec<String>,
    /// A string, a number or a list of accepted ones; for choices the correct option's number from 0, letter
    /// or text.
    #[serde(default, deserialize_with = "one_or_more")]
    answer: Vec<String>,
    /// The answer is the text after the last occurrence of this mark in the column.
    #[serde(default)]
    answer_after: Option<String>,
    /// A list of options.
    #[serde(default, deserialize_with = "one_or_more")]
    options: Vec<String>,
    /// The correct option, if options have separate columns.
    #[serde(default)]
    right: Option<String>,
    /// The wrong options, likewise.
    #[serde(default)]
    wrong: Vec<String>,
    /// A subject or a difficulty.
    #[serde(default, deserialize_with = "one_or_more")]
    subset: Vec<String>,
}

/// Where tests of programs are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "form", rename_all = "lowercase")]
enum Tests {
    /// One column, in a form that `latrace verify` accepts as `gold`.
    Column { column: String },
    /// LiveCodeBench's lists, and the metadata that names the function.
    Lists { public: String, private: String, metadata: String },
    /// HumanEval's format: the program continues `start`; `check` defines `check(function)`, which raises an
    /// exception on failure.
    Check {
        start: String,
        check: String,
        function: String,
        #[serde(default)]
        solution: Option<String>,
    },
}

/// The paper's protocol: temperature 0.7 without truncation.
const PROTOCOL: SamplingParams =
    SamplingParams { temperature: 0.7, top_p: 1.0, top_k: 0, min_p: 0.0, max_new_tokens: 38_912 };

fn protocol() -> SamplingParams {
    PROTOCOL
}

/// Reads sampling parameters; defaults are the paper's protocol.
fn over_protocol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SamplingParams, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        temperature: Option<f32>,
        top_p: Option<f32>,
        top_k: Option<usize>,
        min_p: Option<f32>,
        max_new_tokens: Option<usize>,
    }
    // One by one: a file that sets the temperature keeps the protocol's token limit.
    let given = Given::deserialize(deserializer)?;
    Ok(SamplingParams {
        temperature: given.temperature.unwrap_or(PROTOCOL.temperature),
        top_p: given.top_p.unwrap_or(PROTOCOL.top_p),
        top_k: given.top_k.unwrap_or(PROTOCOL.top_k),
        min_p: given.min_p.unwrap_or(PROTOCOL.min_p),
        max_new_tokens: given.max_new_tokens.unwrap_or(PROTOCOL.max_new_tokens),
    })
}

impl Benchmark {
    /// Names of the built-in benchmarks.
    pub fn names() -> String {
        BUILT_IN.map(|(name, _)| name).join(", ")
    }

    /// The benchmark of a file, or the built-in one with this name, ignoring case and dashes.
    ///
    /// # Errors
    /// Neither a file nor a known name; a file that is not a benchmark.
    pub fn find(name: &str) -> Result<Benchmark> {
        let path = Path::new(name);
        // A file comes first, so that a user's own version of a built-in benchmark can have its name.
        if path.is_file() {
            return Benchmark::read(path, name);
        }
        match BUILT_IN.iter().find(|(known, _)| plain_name(known) == plain_name(name)) {
            Some((known, text)) => Benchmark::parse(known, text, known),
            None => Err(unknown(name).into()),
        }
    }

    fn read(path: &Path, shown: &str) -> Result<Benchmark> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        // Paths in a benchmark's file are relative to it, not to the working directory.
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Benchmark { folder: Some(folder), ..Benchmark::parse(&stem, &text, shown)? })
    }

    fn parse(name: &str, text: &str, shown: &str) -> Result<Benchmark> {
        let not_one = |problem: &str| format!("{shown} is not a benchmark: {problem}");
        let parsed: Result<Benchmark, _> = typed(parse_table(text, shown)?);
        let parsed = parsed.map_err(|refused| Failure::from(refused).preceded_by(&not_one("")))?;
        let benchmark = Benchmark { name: name.to_owned(), ..parsed };
        benchmark.check().map_err(|problem| Failure::usage(not_one(&problem)))?;
        Ok(benchmark)
    }

    fn check(&self) -> Result<(), String> {
        if self.k == 0 {
            return Err("k: expected at least 1, got 0".to_owned());
        }
        self.check_reference()?;
        self.check_prompt()
    }

    /// Checks that the template compiles; whether rows have its columns is known only with the data.
    fn check_prompt(&self) -> Result<(), String> {
        self.template().map(drop).map_err(|error| format!("prompt: {error}"))
    }

    /// Checks that the file says what answers are compared with.
    fn check_reference(&self) -> Result<(), String> {
        let (is_given, problem) = match self.kind {
            Kind::Choice => (
                self.columns.have_options(),
                "columns: a choice has either options and answer, or right and wrong",
            ),
            Kind::Code => (self.tests.is_some(), "tests: expected a table for programs, got nothing"),
            // Its verifier may need no answer.
            Kind::Command => (true, ""),
            Kind::Math | Kind::Text => (
                !self.columns.answer.is_empty(),
                "columns.answer: expected the name of a column, got nothing",
            ),
            Kind::Walk | Kind::Countdown | Kind::Arithmetic | Kind::Graph | Kind::Latin => (
                self.source.questions > 0,
                "source.questions: expected how many questions of the task, got nothing",
            ),
        };
        if is_given { Ok(()) } else { Err(problem.to_owned()) }
    }

    /// What its questions mean and which answers are right.
    pub fn about(&self) -> &str {
        match self.kind.task() {
            Some(task) => task.text().meaning,
            None if self.about.is_empty() => kind_text(self.kind.name()),
            None => &self.about,
        }
    }

    /// The template of a question.
    fn template(&self) -> latrace_core::Result<PromptTemplate> {
        PromptTemplate::new(self.prompt.as_deref().unwrap_or_else(|| self.kind.prompt()))
    }

    /// Calls `visit` with the text of each question.
    ///
    /// # Errors
    /// Questions that cannot be read, or downloaded.
    pub fn each_text(&self, visit: &mut dyn FnMut(&str)) -> Result<()> {
        if let Some(task) = self.kind.task() {
            let questions = test_questions(task, self.source.questions)?;
            questions.iter().for_each(|question| visit(&question.question));
            return Ok(());
        }
        // Only a task's questions are generated in a folder.
        for_each(self, &self.files(Path::new(""))?, &Chosen::default(), |_, item| {
            visit(&item.question);
            Ok(())
        })
    }

    /// The files with the questions; those of a built-in task are generated in the folder `out`.
    ///
    /// # Errors
    /// A data set that is neither cached nor available from the hub; a benchmark without a source; I/O
    /// errors.
    pub fn files(&self, out: &Path) -> Result<Vec<PathBuf>> {
        if let Some(task) = self.kind.task() {
            return Ok(vec![write_questions(task, self.source.questions, out)?]);
        }
        let names = &self.source.files;
        match (&self.source.dataset, &self.folder) {
            (Some(dataset), _) => hub::dataset_files(dataset, names)
                .with_context(|| format!("cannot load the questions of {}", self.title)),
            (None, Some(folder)) if !names.is_empty() => {
                Ok(names.iter().map(|name| folder.join(name)).collect())
            }
            _ => Err(no_source(&self.title).into()),
        }
    }
}

impl Columns {
    /// Whether the options have either one column, with the answer in another, or columns of their own.
    fn have_options(&self) -> bool {
        let one = !self.options.is_empty() && !self.answer.is_empty();
        let several = self.right.is_some() && !self.wrong.is_empty();
        one != several
    }
}

fn plain_name(name: &str) -> String {
    // "MMLU-Pro" is `mmlu_pro`.
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fn unknown(name: &str) -> Failure {
    let known = Benchmark::names();
    Failure::usage(format!("--bench {name}: no such benchmark, and no such file"))
        .hint(format!("known benchmarks: {known}; or the path of a file that describes one"))
}

fn no_source(title: &str) -> Failure {
    Failure::usage(format!("{title} has no source of questions")).hint("give them with --data FILE")
}

/// Writes a task's test questions: those of a run with the same number of them and the tasks' default seed.
fn write_questions(task: Task, count: usize, out: &Path) -> Result<PathBuf> {
    let questions = test_questions(task, count)?;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let path = out.join("questions.jsonl");
    write_atomically(&path, |writer| {
        let written = questions.iter().try_for_each(|question| write_line(writer, question));
        written.context("cannot write a question")
    })?;
    Ok(path)
}

fn test_questions(task: Task, count: usize) -> Result<Vec<Question>> {
    Ok(task.questions(&Sizes { traced: 0, untraced: 0, validation: 0, test: count }, 0)?.test)
}

fn write_line(writer: &mut dyn Write, question: &Question) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, question)?;
    writeln!(writer)
}

fn six_seconds() -> f64 {
    6.0
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(OneOrMore)
}

/// Reads a text, or a list of texts. A derived enum without tags would not say what it expects.
struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Vec<String>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(texts))
    }
}

#[cfg(test)]
mod tests;
