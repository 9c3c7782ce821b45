//! `latrace questions`: prepares question rows, with the prompts of the reasoner and of the posterior.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use latrace_core::{Markers, PromptTemplate, Question};
use serde_json::{Value, json};

use latrace_core::Split;
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::columns::pair;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_io::rows::{Output, Row, write_rows};
use latrace_questions::source::{Format, Source, check_ids};
use latrace_questions::tasks::Sizes;
use latrace_run::plan::Template;
use latrace_run::stages::questions::{Encoding, PromptTexts, prompts, reference};

use super::choices::{FORMATS, SPLITS, one_of};

/// Fields that hold token ids.
const IDS: [&str; 5] = ["prompt_ids", "posterior_prompt_ids", "trace_ids", "answer_ids", "response_ids"];

/// Arguments of `latrace questions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Input rows: those of a built-in task, or of a file: `question` with optional `trace`, `solution`, `answer`,
`hint`, `kind`, `tests`, `options`, `source` and `difficulty`, or a ready-made `prompt` with optional
`posterior_prompt` and `response`, or `messages`.
Output rows: the same fields, `id`, `split`, `prompt`, `posterior_prompt` (if there is a hint: by default the
solution, else the answer), `response` (if there is a trace: trace and answer with their markers), and `gold`
for `latrace verify`. With `--model` also the token ids, including the model's end token: `prompt_ids`,
`posterior_prompt_ids`, `trace_ids`, `answer_ids`, `response_ids`.

The reasoner is trained on, and sampled from, these rows unchanged. The posterior reads other fields of the
same rows:
  latrace train  … --column prompt_ids=posterior_prompt_ids --column response_ids=trace_ids
  latrace sample … --column prompt_ids=posterior_prompt_ids

Examples:
  latrace questions --task walk --traced 1500 --untraced 2600 --test 600 --model models/walk --out questions.jsonl
  latrace questions --task walk --traced 1500 --untraced 2600 --model models/walk --only traced --out traced.jsonl
  latrace questions --data gsm8k.jsonl --format gsm8k --model models/base --out questions.parquet
  latrace questions --data problems.jsonl --column question=problem --column answer=expected --kind math --out questions.jsonl")]
pub struct QuestionsArguments {
    /// A built-in task: walk, countdown or arithmetic
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
    /// Read a field from another column of the file, such as question=problem
    #[arg(long, value_name = "OURS=THEIRS", value_parser = pair)]
    column: Vec<(String, String)>,
    /// Verifier for rows of the file without a `kind`: math, choice, text, code
    #[arg(long, value_name = "KIND", default_value = "math")]
    kind: String,
    /// Split of the file's questions
    #[arg(long, value_name = "SPLIT", value_parser = one_of::<Split>(SPLITS), default_value = "train", conflicts_with = "task")]
    split: Split,
    /// Read only the first N questions of the file
    #[arg(long, value_name = "N", conflicts_with = "task")]
    limit: Option<usize>,
    /// Markers around a thought: think, stratos or plain [default: think; plain for a built-in task]
    #[arg(long, value_name = "NAME")]
    markers: Option<String>,
    /// Template of the reasoner's prompt: a built-in name or a file [default: reasoner; plain for a built-in
    /// task]
    #[arg(long, value_name = "NAME|FILE")]
    reasoner: Option<String>,
    /// Template of the posterior's prompt: a built-in name or a file [default: posterior_a; plain_posterior
    /// for a built-in task]
    #[arg(long, value_name = "NAME|FILE")]
    posterior: Option<String>,
    /// Model folder or hub id, for its tokenizer, end token and chat template
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Write only these rows
    #[arg(long, value_enum, default_value_t = Only::All)]
    only: Only,
    /// Seed for a task's questions
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
    let source = source(arguments);
    let texts = Texts::of(arguments)?;
    let codec = arguments
        .model
        .as_deref()
        .map(|model| TraceCodec::open(&model_folder(model)?, texts.markers.clone()))
        .transpose()?;
    let questions = match &codec {
        Some(codec) => source.read(&texts.markers, Some(&|messages| codec.text.split(messages)))?,
        None => source.read(&texts.markers, None)?,
    };
    check_ids(&questions)?;
    let mut written = 0;
    write_rows(&out, |sink| {
        for (split, question) in
            questions.iter().filter(|(split, question)| arguments.only.takes(*split, question))
        {
            sink.write(
                texts
                    .row(*split, question, codec.as_ref())
                    .with_context(|| format!("question {}", question.id))?,
            )?;
            written += 1;
        }
        Ok(())
    })?;
    tracing::info!("{written} of {} questions written", questions.len());
    if codec.is_none() {
        tracing::info!("without --model, there are no token ids, and responses do not end with an end token");
    }
    Ok(())
}

fn source(arguments: &QuestionsArguments) -> Source {
    let QuestionsArguments { traced, untraced, validation, test, seed, kind, format, .. } = arguments;
    let path = |split: Split| {
        let given = arguments.data.as_deref().filter(|_| arguments.split == split);
        given.map_or(String::new(), |path: &Path| path.display().to_string())
    };
    Source {
        task: arguments.task.clone().unwrap_or_default(),
        sizes: Sizes {
            traced: traced.unwrap_or(0),
            untraced: *untraced,
            validation: *validation,
            test: *test,
        },
        train: path(Split::Train),
        validation: path(Split::Validation),
        test: path(Split::Test),
        format: *format,
        columns: arguments.column.iter().cloned().collect(),
        kind: kind.clone(),
        traced: traced.unwrap_or(0),
        limit: arguments.limit.unwrap_or(0),
        seed: *seed,
    }
}

/// The markers and templates that turn questions into rows.
struct Texts {
    markers: Markers,
    reasoner: PromptTemplate,
    posterior: PromptTemplate,
}

impl Texts {
    fn of(arguments: &QuestionsArguments) -> Result<Texts> {
        let plain = arguments.task.is_some();
        let named = |given: &Option<String>, of_task: &str, otherwise: &str| {
            given.clone().unwrap_or_else(|| if plain { of_task } else { otherwise }.to_owned())
        };
        let markers = named(&arguments.markers, "plain", "think");
        Ok(Texts {
            markers: Markers::named(&markers)
                .map_err(|error| Failure::usage(format!("--markers: {error}")))?,
            reasoner: Template::named("--reasoner", &named(&arguments.reasoner, "plain", "reasoner"))?
                .compile()?,
            posterior: Template::named(
                "--posterior",
                &named(&arguments.posterior, "plain_posterior", "posterior_a"),
            )?
            .compile()?,
        })
    }

    fn row(&self, split: Split, question: &Question, codec: Option<&TraceCodec>) -> Result<Row> {
        let Value::Object(mut row) = serde_json::to_value(question)? else {
            unreachable!("a struct is an object")
        };
        // Token ids that are already in the file may be another model's.
        IDS.iter().for_each(|name| drop(row.shift_remove(*name)));
        let PromptTexts { prompt, posterior_prompt } =
            prompts(question, &self.reasoner, &self.posterior, &self.markers)?;
        let mut add = |name: &str, value: Value| {
            if !value.is_null() {
                row.insert(name.to_owned(), value);
            }
        };
        add("hint", json!(question.hint()));
        add("split", json!(split));
        add("prompt", json!(prompt));
        add("posterior_prompt", json!(posterior_prompt));
        add("response", json!(self.response(question)));
        if let Value::Object(judged_by) = reference(question) {
            judged_by.into_iter().for_each(|(name, value)| add(&name, value));
        }
        if let Some(codec) = codec {
            let encoding = Encoding {
                codec,
                markers: &self.markers,
                reasoner: &self.reasoner,
                posterior: &self.posterior,
            };
            let record = encoding.record(split, question)?;
            let response = record
                .trace_ids
                .as_ref()
                .zip(record.answer_ids.as_ref())
                .map(|(trace, answer)| [trace.as_slice(), answer].concat());
            let ids = [
                Some(record.prompt_ids),
                record.posterior_prompt_ids,
                record.trace_ids,
                record.answer_ids,
                response,
            ];
            IDS.iter().zip(ids).for_each(|(name, ids)| add(name, json!(ids)));
        }
        Ok(row)
    }

    /// Trace and answer with their markers, except for the opening one, which is the end of the prompt.
    fn response(&self, question: &Question) -> Option<String> {
        let Markers { close, answer_open, answer_close, .. } = &self.markers;
        Some(format!(
            "{}{close}{answer_open}{}{answer_close}",
            question.trace.as_ref()?,
            question.response()?
        ))
    }
}
