//! `latrace questions`: prepares question rows, with the prompts of the reasoner and of the posterior.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use latrace_core::{Markers, Question};
use serde_json::{Value, json};
use tracing::info;

use latrace_core::Split;
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::columns::pair;
use latrace_io::hub::model_folder;
use latrace_io::rows::{Output, Row, write_rows};
use latrace_questions::benchmarks::Benchmark;
use latrace_questions::contamination::{EvaluatedTexts, FoundQuestions};
use latrace_questions::hints::HintKind;
use latrace_questions::source::{AnswerRule, Format, QuestionLimit, Source, TestSource, is_code, reference};
use latrace_questions::tasks::Sizes;
use latrace_run::pipeline::records::QuestionRecord;
use latrace_run::plan::Template;
use latrace_run::prompting::Prompting;
use latrace_run::recipe::run::default_questions;
use latrace_run::stages::questions::{Encoding, PromptTexts, prompts};

use super::choices::{ANSWER_RULES, FORMATS, HINTS, SPLITS, one_of};
use super::input::markers;

/// Fields that hold token ids.
const IDS: [&str; 5] = ["prompt_ids", "posterior_prompt_ids", "trace_ids", "answer_ids", "response_ids"];

/// Arguments of `latrace questions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Input rows: those of a built-in task, or of a file: `question` with optional `trace`, `solution`, `answer`,
`hint`, `kind`, `tests`, `options`, `source` and `difficulty`, or a ready-made `prompt` with optional
`posterior_prompt` and `response`, or `messages`, whose last one holds the thought (in `reasoning_content`, or with its
markers) and the answer. Files may be compressed (.jsonl.gz, .jsonl.zst).
Output rows: the same fields, `id`, `split`, `prompt`, `posterior_prompt` (if there is a hint: by default the
solution, else the answer), `response` (if there is a trace: trace and answer with their markers), and `gold`
for `latrace verify`. With `--model` also the token ids, including the model's end token: `prompt_ids`,
`posterior_prompt_ids`, `trace_ids`, `answer_ids`, `response_ids`.

Standard error says how many training questions also stand in the validation and test splits and in the sets of
`--against` (of which only the questions' texts are read, with `--column`): the same text after case, spaces,
punctuation and LaTeX delimiters are set aside, or 13 consecutive words in common.

The reasoner is trained on, and sampled from, these rows unchanged. The posterior reads other fields of the
same rows:
  latrace train  … --column prompt_ids=posterior_prompt_ids --column response_ids=trace_ids
  latrace sample … --column prompt_ids=posterior_prompt_ids

Examples:
  latrace questions --task walk --traced 1500 --untraced 2600 --test 600 --model models/walk --out questions.jsonl
  latrace questions --task walk --traced 1500 --untraced 2600 --model models/walk --only traced --out traced.jsonl
  latrace questions --data gsm8k.jsonl --format gsm8k --model models/base --out questions.parquet
  latrace questions --data problems.jsonl --column question=problem --column answer=expected --kind math --out questions.jsonl
  latrace questions --data train.jsonl --against test.jsonl math500 --out questions.jsonl")]
pub struct QuestionsArguments {
    /// A built-in task: walk, countdown, arithmetic, graph or latin
    #[arg(long, value_name = "NAME", required_unless_present = "data", conflicts_with = "data")]
    task: Option<String>,
    /// Questions (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Number of questions with a trace; of a file, the first N keep theirs [default: all]
    #[arg(long, value_name = "N")]
    traced: Option<usize>,
    /// Number of a task's training questions with an answer but no trace
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "data")]
    untraced: usize,
    /// Number of a task's questions in the validation split
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "data")]
    validation: usize,
    /// Number of a task's questions in the test split
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "data")]
    test: usize,
    /// Format of the file's rows
    #[arg(long, value_name = "FORMAT", value_parser = one_of::<Format>(FORMATS), default_value = "rows")]
    format: Format,
    /// Read a field from another column of the file, such as question=problem, or join several by a template, such
    /// as 'question={{ body }} {{ question }}'
    #[arg(long, value_name = "OURS=THEIRS", value_parser = pair)]
    column: Vec<(String, String)>,
    /// What of the answer column is the reference answer
    #[arg(long, value_name = "RULE", value_parser = one_of::<AnswerRule>(ANSWER_RULES), default_value = "as-is", conflicts_with = "task")]
    answer_rule: AnswerRule,
    /// Verifier for rows of the file without a `kind`: math, choice, text, code, command
    #[arg(long, value_name = "KIND", default_value = "math")]
    kind: String,
    /// Verifier for rows without a `kind` whose `source` (or id) begins so, such as taco=code; over a recipe's defaults
    #[arg(long, value_name = "BEGINNING=KIND", value_parser = pair)]
    source_kind: Vec<(String, String)>,
    /// Verifier for rows that this leaves without one, by the question's beginning; over a recipe's defaults
    #[arg(long, value_name = "BEGINNING=KIND", value_parser = pair)]
    question_kind: Vec<(String, String)>,
    /// Tests of programs, if not in the rows: a file or a data set on the hub
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    tests: Option<String>,
    /// The field that questions and rows of tests have in common; index: by position
    #[arg(long, value_name = "FIELD", default_value = "index", requires = "tests")]
    tests_key: String,
    /// The column with the tests
    #[arg(long, value_name = "COLUMN", default_value = "tests", requires = "tests")]
    tests_column: String,
    /// Count training questions that also stand in these evaluation sets: files of questions or built-in benchmarks
    #[arg(long, value_name = "FILE|BENCHMARK", num_args = 1..)]
    against: Vec<String>,
    /// Split of the file's questions
    #[arg(long, value_name = "SPLIT", value_parser = one_of::<Split>(SPLITS), default_value = "train", conflicts_with = "task")]
    split: Split,
    /// Read only the first N questions of the file
    #[arg(long, value_name = "N", conflicts_with = "task")]
    limit: Option<usize>,
    /// Shuffle the file's rows by the seed before --limit and --traced are applied
    #[arg(long, conflicts_with = "task")]
    shuffle: bool,
    /// Markers around a thought: think, stratos, plain, or a table as in a recipe, such as
    /// '{ open = "<a>", close = "</a>" }' [default: think; plain for a built-in task]
    #[arg(long, value_name = "NAME|TABLE")]
    markers: Option<String>,
    /// Template of the reasoner's prompt: a built-in name, a file, or chat for the model's chat template
    /// [default: reasoner; plain for a built-in task]
    #[arg(long, value_name = "NAME|FILE")]
    reasoner: Option<String>,
    /// Template of the posterior's prompt: a built-in name, a file, or chat_a or chat_b for the model's chat
    /// template [default: posterior_a; plain_posterior for a built-in task]
    #[arg(long, value_name = "NAME|FILE")]
    posterior: Option<String>,
    /// System message of a conversation [default: that of the question's row, if it has one]
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Model folder or hub id, for its tokenizer, end token and chat template
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Write only these rows
    #[arg(long, value_enum, default_value_t = Only::All)]
    only: Only,
    /// Hint of the training questions: own, partial (its first words), noisy or wrong (another question's)
    #[arg(long, value_name = "KIND", value_parser = one_of::<HintKind>(HINTS), default_value = "own")]
    hint: HintKind,
    /// Share of a partial hint's words, or probability of a noisy hint
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    hint_share: f64,
    /// Seed for a task's questions, for the order of shuffled rows and for drawn hints
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Output file for the questions (.jsonl or .parquet); `-` or none: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Which rows to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Every row
    All,
    /// Training rows with a trace
    Traced,
    /// Training rows without a trace
    Untraced,
    /// Training split
    Train,
    /// Validation split
    Validation,
    /// Test split
    Test,
}

impl Only {
    fn takes(self, split: Split, question: &Question) -> bool {
        match self {
            Only::All => true,
            Only::Traced => split == Split::Train && question.trace.is_some(),
            Only::Untraced => split == Split::Train && question.trace.is_none(),
            Only::Train => split == Split::Train,
            Only::Validation => split == Split::Validation,
            Only::Test => split == Split::Test,
        }
    }
}

/// Runs `latrace questions`.
pub fn run(arguments: &QuestionsArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    // Names of templates and markers are checked before a task generates its questions.
    let texts = Texts::of(arguments)?;
    let codec = codec(arguments.model.as_deref(), &texts.markers)?;
    let source = source(arguments)?;
    source.check_rows()?;
    let questions = read_questions(&source, &texts.markers, codec.as_ref())?;
    let against = evaluated_texts(&arguments.against, &source)?;
    FoundQuestions::of(&questions, against).iter().for_each(FoundQuestions::log);
    let kept = || questions.iter().filter(|(split, question)| arguments.only.takes(*split, question));
    write_rows(&out, |sink| {
        kept().try_for_each(|(split, question)| {
            let row = texts.row(*split, question, codec.as_ref());
            sink.write(row.with_context(|| format!("question {}", question.id))?)
        })
    })?;
    info!("{} of {} questions written", kept().count(), questions.len());
    note_missing_ids(codec.as_ref());
    Ok(())
}

fn note_missing_ids(codec: Option<&TraceCodec>) {
    if codec.is_none() {
        info!("without --model, there are no token ids, and responses do not end with an end token");
    }
}

/// The codec of the model, if one is given.
fn codec(model: Option<&Path>, markers: &Markers) -> Result<Option<TraceCodec>> {
    let codec = model.map(|model| TraceCodec::open(&model_folder(model)?, markers.clone())).transpose()?;
    codec.iter().for_each(|codec| codec.text.log_begin());
    Ok(codec)
}

/// The questions of a source.
fn read_questions(
    source: &Source,
    markers: &Markers,
    codec: Option<&TraceCodec>,
) -> Result<Vec<(Split, Question)>> {
    let questions = match codec {
        // Only the model's chat template can tell where the prompt of `messages` ends.
        Some(codec) => source.read(markers, Some(&|messages| codec.text.prompt(messages)))?,
        None => source.read(markers, None)?,
    };
    questions.counts.log();
    Ok(questions.all)
}

fn source(arguments: &QuestionsArguments) -> Result<Source> {
    let defaults = default_questions()?;
    let over = |table: BTreeMap<String, String>, given: &[(String, String)]| {
        table.into_iter().chain(given.iter().cloned()).collect()
    };
    Ok(Source {
        task: arguments.task.clone().unwrap_or_default(),
        about: String::new(),
        sizes: arguments.sizes(),
        train: arguments.file_of(Split::Train),
        validation: arguments.file_of(Split::Validation),
        test: arguments.file_of(Split::Test),
        format: arguments.format,
        columns: arguments.column.iter().cloned().collect(),
        answer_rule: arguments.answer_rule,
        kind: arguments.kind.clone(),
        kinds: over(defaults.kinds, &arguments.source_kind),
        question_kinds: over(defaults.question_kinds, &arguments.question_kind),
        tests: arguments.tests(),
        // 0 leaves every row of a file its trace; how many a task makes is among its sizes.
        traced: arguments.traced.unwrap_or(0),
        // 0 is no limit, as in a recipe.
        limit: QuestionLimit::Each(arguments.limit.unwrap_or(0)),
        shuffle: arguments.shuffle,
        hint: arguments.hint,
        hint_share: arguments.hint_share,
        seed: arguments.seed,
    })
}

/// The texts of the questions of files and benchmarks.
fn evaluated_texts(against: &[String], source: &Source) -> Result<EvaluatedTexts> {
    let mut texts = EvaluatedTexts::default();
    for name in against {
        let file = Path::new(name);
        if file.is_file() && file.extension().is_none_or(|extension| extension != "toml") {
            source.each_text(file, |text| texts.add(text))?;
        } else {
            let visit = &mut |text: &str| texts.add(text);
            Benchmark::find(name)?.each_text(visit).with_context(|| format!("--against {name}"))?;
        }
    }
    Ok(texts)
}

impl QuestionsArguments {
    /// A file has one split on the command line, where a recipe may name one file for each.
    fn file_of(&self, split: Split) -> String {
        let given = self.data.as_deref().filter(|_| self.split == split);
        given.map_or(String::new(), |path| path.display().to_string())
    }

    fn tests(&self) -> TestSource {
        let from = self.tests.clone().unwrap_or_default();
        TestSource { from, key: self.tests_key.clone(), column: self.tests_column.clone() }
    }

    fn sizes(&self) -> Sizes {
        let QuestionsArguments { untraced, validation, test, .. } = *self;
        Sizes { traced: self.traced.unwrap_or(0), untraced, validation, test }
    }
}

/// The markers and templates that turn questions into rows.
struct Texts {
    markers: Markers,
    reasoner: Prompting,
    posterior: Prompting,
}

impl Texts {
    fn of(arguments: &QuestionsArguments) -> Result<Texts> {
        // Tasks have tokenizers of their own, without words for the markers and prompts of language models.
        let is_task = arguments.task.is_some();
        let named = |given: &Option<String>, of_task: &str, of_file: &str| {
            given.clone().unwrap_or_else(|| if is_task { of_task } else { of_file }.to_owned())
        };
        let reasoner = named(&arguments.reasoner, "plain", "reasoner");
        let posterior = named(&arguments.posterior, "plain_posterior", "posterior_a");
        let system = arguments.system.as_deref().unwrap_or_default();
        Ok(Texts {
            markers: markers(&named(&arguments.markers, "plain", "think"))?,
            reasoner: Template::named("--reasoner", &reasoner, system)?.compile()?,
            posterior: Template::named("--posterior", &posterior, system)?.compile()?,
        })
    }

    fn row(&self, split: Split, question: &Question, codec: Option<&TraceCodec>) -> Result<Row> {
        let Value::Object(mut row) = serde_json::to_value(question)? else {
            unreachable!("a struct is an object")
        };
        // Token ids that are already in the file may be another model's.
        IDS.iter().for_each(|name| drop(row.shift_remove(*name)));
        self.add_texts(&mut row, split, question, codec)?;
        add_reference(&mut row, question);
        if let Some(codec) = codec {
            self.add_ids(&mut row, split, question, codec)?;
        }
        Ok(row)
    }

    fn add_texts(
        &self,
        row: &mut Row,
        split: Split,
        question: &Question,
        codec: Option<&TraceCodec>,
    ) -> Result<()> {
        let Texts { markers, reasoner, posterior } = self;
        let text = codec.map(|codec| &codec.text);
        let PromptTexts { prompt, posterior_prompt } = prompts(question, reasoner, posterior, markers, text)?;
        // The hint that the posterior's prompt holds, which may be the solution or the answer.
        add(row, "hint", json!(question.hint()));
        add(row, "split", json!(split));
        add(row, "prompt", json!(prompt.text));
        add(row, "posterior_prompt", json!(posterior_prompt.map(|prompt| prompt.text)));
        add(row, "response", json!(self.response(question)));
        Ok(())
    }

    /// Adds the token ids that `latrace run` would store, by the same code.
    fn add_ids(&self, row: &mut Row, split: Split, question: &Question, codec: &TraceCodec) -> Result<()> {
        let Texts { markers, reasoner, posterior } = self;
        let record = Encoding { codec, markers, reasoner, posterior }.record(split, question)?;
        // Joined from the ids of its parts: encoding the whole text could merge tokens across the boundary.
        let response = response_ids(&record);
        let QuestionRecord { prompt_ids, posterior_prompt_ids, trace_ids, answer_ids, .. } = record;
        let ids = [Some(prompt_ids), posterior_prompt_ids, trace_ids, answer_ids, response];
        IDS.iter().zip(ids).for_each(|(name, ids)| add(row, name, json!(ids)));
        Ok(())
    }

    /// Trace and answer with their markers, except for the opening one, which is the end of the prompt.
    fn response(&self, question: &Question) -> Option<String> {
        let Markers { close, answer_open, answer_close, .. } = &self.markers;
        let (trace, answer) = (question.trace.as_ref()?, question.response()?);
        Some(format!("{trace}{close}{answer_open}{answer}{answer_close}"))
    }
}

/// Adds the fields that `latrace verify` judges by.
fn add_reference(row: &mut Row, question: &Question) {
    // With null, where there is nothing to judge a program by: a missing field would be a bad row.
    if let Value::Object(judged_by) = reference(question) {
        row.extend(judged_by.into_iter().filter(|(_, value)| !value.is_null() || is_code(question)));
    }
}

/// Adds a field, unless its value is null: a row has only the fields that apply to its question.
fn add(row: &mut Row, name: &str, value: Value) {
    if !value.is_null() {
        row.insert(name.to_owned(), value);
    }
}

fn response_ids(record: &QuestionRecord) -> Option<Vec<u32>> {
    Some([record.trace_ids.as_deref()?, record.answer_ids.as_deref()?].concat())
}
