//! Stage 0: encodes questions as token ids, the only time that text is encoded.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Markers, Message, Question};
use serde::Serialize;
use serde_json::Value;

use super::StageWork;
use crate::pipeline::records::QuestionRecord;
use crate::plan::QuestionSettings;
use crate::prompting::{PromptText, Prompting};
use latrace_core::Split;
use latrace_engine::text_codec::TextCodec;
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::rows::json_text;
use latrace_questions::contamination::{Contamination, EvaluatedTexts, FoundQuestions};
use latrace_questions::judge::Judge;
use latrace_questions::query::is_boxed;
use latrace_questions::source::{Questions, RenderChat, RowCounts, Source, reference};
use latrace_questions::verifiers::Verifiers;

/// Everything needed to encode a question.
pub struct Encoding<'a> {
    /// Tokenizer and markers.
    pub codec: &'a TraceCodec,
    /// The markers' texts.
    pub markers: &'a Markers,
    /// Prompt of the reasoner.
    pub reasoner: &'a Prompting,
    /// Prompt of the posterior.
    pub posterior: &'a Prompting,
}

/// Reads all questions, and writes them in parts.
///
/// # Errors
/// Questions that cannot be read, encoded or judged.
pub fn run(settings: &QuestionSettings, work: StageWork<'_>) -> Result<Value> {
    let encoder = Encoder::open(settings, work.model()?)?;
    encoder.codec.text.log_begin();
    let questions = encoder.encoding().read(&settings.source, &work.context.verifiers)?;
    questions.counts.log();
    let contaminated = FoundQuestions::of(&questions.all, EvaluatedTexts::default());
    // Whoever did not ask is told only of what there is.
    contaminated.iter().filter(|found| found.counts.is_any()).for_each(FoundQuestions::log);
    let contaminated = contaminated.map(|found| found.counts);
    let (out, mut counts) =
        (work.output(), Counts { rows: questions.counts.clone(), contaminated, ..Counts::default() });
    // All parts are written anew: encoding takes seconds, and every later stage depends on it.
    encoder.encoding().each_part(&questions, settings.part_questions, |part, records| {
        records.iter().for_each(|record| counts.add(record));
        out.write(part, records)
    })?;
    Ok(serde_json::to_value(counts)?)
}

/// What this stage would count, by all that it refuses; nothing is written.
///
/// # Errors
/// As [`run`].
pub fn count(settings: &QuestionSettings, model: &Path, verifiers: &Verifiers) -> Result<Value> {
    let encoder = Encoder::open(settings, model)?;
    let questions = encoder.encoding().read(&settings.source, verifiers)?;
    let mut counts = Counts::default();
    encoder.encoding().each_part(&questions, settings.part_questions, |_, records| {
        records.iter().for_each(|record| counts.add(record));
        Ok(())
    })?;
    Ok(serde_json::to_value(counts)?)
}

/// What encodes the questions of a run.
struct Encoder {
    codec: TraceCodec,
    reasoner: Prompting,
    posterior: Prompting,
}

impl Encoder {
    fn open(settings: &QuestionSettings, model: &Path) -> Result<Encoder> {
        let mut codec = TraceCodec::open(model, settings.markers.clone())?;
        if let Some(date) = settings.date {
            codec.text.set_date(date);
        }
        let (reasoner, posterior) = (settings.reasoner.compile()?, settings.posterior.compile()?);
        Ok(Encoder { codec, reasoner, posterior })
    }

    fn encoding(&self) -> Encoding<'_> {
        let Encoder { codec, reasoner, posterior } = self;
        Encoding { codec, markers: codec.markers(), reasoner, posterior }
    }
}

/// The questions of a source, of which each can be judged.
///
/// # Errors
/// Questions that cannot be read; a reference that is none of its kind.
pub fn read_judged(
    source: &Source,
    markers: &Markers,
    chat: Option<RenderChat<'_>>,
    verifiers: &Verifiers,
) -> Result<Questions> {
    let questions = source.read(markers, chat)?;
    // Any time limit will do: whether a question can be judged does not depend on it.
    questions.check_judged(&Judge::new(1.0, verifiers))?;
    Ok(questions)
}

#[derive(Default, Serialize)]
struct Counts {
    train: u64,
    traced: u64,
    hinted: u64,
    validation: u64,
    test: u64,
    /// Training questions that also stand in the other splits; none where there are none.
    contaminated: Option<Contamination>,
    #[serde(flatten)]
    rows: RowCounts,
}

impl Counts {
    fn add(&mut self, record: &QuestionRecord) {
        match record.split {
            Split::Train => self.add_train(record),
            Split::Validation => self.validation += 1,
            Split::Test => self.test += 1,
        }
    }

    fn add_train(&mut self, record: &QuestionRecord) {
        self.train += 1;
        self.traced += u64::from(record.trace_ids.is_some());
        self.hinted += u64::from(record.posterior_prompt_ids.is_some());
    }
}

impl Encoding<'_> {
    /// The questions of a source, for which there are prompts and judges.
    fn read(&self, source: &Source, verifiers: &Verifiers) -> Result<Questions> {
        let text = &self.codec.text;
        let render = |messages: &[Message]| text.prompt(messages);
        let questions = read_judged(source, self.markers, Some(&render), verifiers)?;
        check_prompts(&questions.all, [self.reasoner, self.posterior], self.markers, Some(text))?;
        Ok(questions)
    }

    /// Encodes questions in parts of so many, and gives each part with its number to `take`.
    fn each_part(
        &self,
        questions: &Questions,
        part_questions: usize,
        mut take: impl FnMut(usize, &[QuestionRecord]) -> Result<()>,
    ) -> Result<()> {
        let places: Vec<usize> = (0..questions.all.len()).collect();
        let record = |&place: &usize| {
            let (split, question) = &questions.all[place];
            self.record(*split, question).with_context(|| questions.name(place))
        };
        for (part, places) in places.chunks(part_questions).enumerate() {
            take(part, &places.iter().map(record).collect::<Result<Vec<QuestionRecord>>>()?)?;
        }
        Ok(())
    }

    /// The question as token ids.
    ///
    /// # Errors
    /// Templates that use a field the question lacks; texts that the tokenizer refuses; a trace that contains
    /// its own end marker.
    pub fn record(&self, split: Split, question: &Question) -> Result<QuestionRecord> {
        let PromptTexts { prompt, posterior_prompt } =
            prompts(question, self.reasoner, self.posterior, self.markers, Some(&self.codec.text))?;
        let codec = self.codec;
        Ok(QuestionRecord {
            id: question.id.clone(),
            split,
            question: question.question.clone(),
            hint: question.hint().map(str::to_owned),
            difficulty: question.difficulty.clone(),
            kind: question.kind.clone().unwrap_or_default(),
            // With the numbers of tests in full.
            reference: json_text(&reference(question))?,
            prompt_ids: prompt.ids(&codec.text)?,
            posterior_prompt_ids: posterior_prompt.map(|prompt| prompt.ids(&codec.text)).transpose()?,
            trace_ids: question.trace.as_ref().map(|trace| codec.trace_ids(trace)).transpose()?,
            answer_ids: question.response().map(|answer| codec.answer_ids(answer)).transpose()?,
        })
    }
}

/// Checks the templates of the reasoner and the posterior on a question of each kind: that they render, and that a
/// thought begins where they end.
///
/// # Errors
/// Names the setting; errors of the templates.
pub fn check_prompts(
    questions: &[(Split, Question)],
    [reasoner, posterior]: [&Prompting; 2],
    markers: &Markers,
    text: Option<&TextCodec>,
) -> Result<()> {
    let of = |question: &Question, (setting, prompting, hint): (&str, &Prompting, Option<&str>)| {
        let boxed = question.kind.as_deref().is_some_and(is_boxed);
        let prompt = prompting.prompt(question, hint, boxed, markers, text);
        prompt
            .and_then(|prompt| prompt.check_open(setting, markers))
            .with_context(|| format!("question {}", question.id))
    };
    // A template may depend on a question's kind, and hardly on more.
    let [mut asked, mut hinted] = [HashSet::new(), HashSet::new()];
    for (_, question) in questions {
        let kind = question.kind.as_deref();
        if reasoner.ready_made(question, markers).is_none() && asked.insert(kind) {
            of(question, ("prompts.reasoner", reasoner, None))?;
        }
        if let Some(hint) = question.hint().filter(|_| question.posterior_prompt.is_none())
            && hinted.insert(kind)
        {
            of(question, ("prompts.posterior", posterior, Some(hint)))?;
        }
    }
    Ok(())
}

/// A question's prompts as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptTexts {
    /// The reasoner's.
    pub prompt: PromptText,
    /// The posterior's; `None` without a hint.
    pub posterior_prompt: Option<PromptText>,
}

/// The question's ready-made prompts, or those rendered from the templates. `text` is the model's, with its chat
/// template.
///
/// # Errors
/// Templates that use a field the question lacks; a conversation where the model has no chat template.
pub fn prompts(
    question: &Question,
    reasoner: &Prompting,
    posterior: &Prompting,
    markers: &Markers,
    text: Option<&TextCodec>,
) -> Result<PromptTexts> {
    let boxed = question.kind.as_deref().is_some_and(is_boxed);
    let render =
        |prompting: &Prompting, hint: Option<&str>| prompting.prompt(question, hint, boxed, markers, text);
    let ready_made = reasoner.ready_made(question, markers);
    let prompt = ready_made.map_or_else(|| render(reasoner, None), Ok)?;
    let hinted = || question.hint().map(|hint| render(posterior, Some(hint))).transpose();
    let ready_made = question.posterior_prompt.clone().map(|text| PromptText { text, is_chat: false });
    let posterior_prompt = ready_made.map_or_else(hinted, |prompt| Ok(Some(prompt)))?;
    Ok(PromptTexts { prompt, posterior_prompt })
}

#[cfg(test)]
mod tests {
    use latrace_core::PromptTemplate;
    use latrace_questions::source::Format;
    use serde_json::json;

    use super::*;
    use crate::recipe::run::RunRecipe;
    use crate::stages::testing::{codec, question};

    #[test]
    fn templates_are_checked_on_a_question_of_each_kind() {
        let question = |kind: &str, prompt: Option<&str>| {
            let row = json!({"id": kind, "question": "q", "answer": "a", "kind": kind, "prompt": prompt});
            (Split::Train, serde_json::from_value::<Question>(row).unwrap())
        };
        let template = |text: &str| Prompting::Template(PromptTemplate::new(text).unwrap());
        let (opening, markers) = (template("{{ question }} {{ open }}"), Markers::named("think").unwrap());
        let check = |questions: &[(Split, Question)], reasoner: &Prompting, posterior: &Prompting| {
            check_prompts(questions, [reasoner, posterior], &markers, None)
                .map_err(|error| format!("{error:#}"))
        };
        let both = [question("math", None), question("text", None)];
        check(&both, &opening, &opening).unwrap();
        // It opens a thought for mathematics alone.
        let boxed = template("{{ question }}{% if boxed %} {{ open }}{% endif %}");
        check(&both[..1], &boxed, &opening).unwrap();
        let error = check(&both, &boxed, &opening).unwrap_err();
        assert!(
            error
                .starts_with("question text: prompts.reasoner: expected a prompt that ends with \"<think>\""),
            "{error}"
        );
        let error = check(&both, &opening, &template("{{ question }} {{ hint }}")).unwrap_err();
        assert!(error.contains("prompts.posterior: expected a prompt that ends with"), "{error}");
        // The question's own prompt is what its trace was written after.
        check(&[question("text", Some("own"))], &boxed, &opening).unwrap();
    }

    #[test]
    fn ids_are_unique_across_splits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.jsonl");
        std::fs::write(&file, "{\"id\": \"a\", \"question\": \"10 14\", \"answer\": \"+7 -3\"}\n").unwrap();
        let (codec, markers) = (codec(), Markers::named("plain").unwrap());
        let prompting = Prompting::Template(PromptTemplate::new("{{ question }} {{ open }}").unwrap());
        let encoding =
            Encoding { codec: &codec, markers: &markers, reasoner: &prompting, posterior: &prompting };
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let shipped = RunRecipe::read(&recipes.join("quickstart.toml"), &[]).unwrap().questions;
        let (task, train) = (String::new(), file.display().to_string());
        let source = Source { task, train, format: Format::Rows, ..shipped };
        let read = |source: &Source| encoding.read(source, &Verifiers::default());
        assert_eq!(read(&source).unwrap().all.len(), 1);
        let twice = Source { test: source.train.clone(), ..source };
        let error = format!("{:#}", read(&twice).map(drop).unwrap_err());
        assert!(error.contains("two questions have the id \"a\""), "{error}");
    }

    #[test]
    fn questions_are_counted_by_split_and_by_what_they_have() {
        let mut counts = Counts::default();
        let mut plain = question("c", Split::Train);
        (plain.trace_ids, plain.posterior_prompt_ids) = (None, None);
        let mut hinted = question("b", Split::Train);
        hinted.trace_ids = None;
        let held_out = [Split::Validation, Split::Test, Split::Test].map(|split| question("d", split));
        for record in [question("a", Split::Train), hinted, plain].iter().chain(&held_out) {
            counts.add(record);
        }
        let counts = serde_json::to_value(counts).unwrap();
        let expected = json!({"train": 3, "traced": 1, "hinted": 2, "validation": 1, "test": 2});
        for (name, count) in expected.as_object().unwrap() {
            assert_eq!(&counts[name], count, "{name}");
        }
    }
}
