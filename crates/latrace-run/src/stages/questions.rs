//! Stage 0: encodes questions as token ids, the only time that text is encoded.

use std::collections::HashSet;

use anyhow::{Context, Result};
use latrace_core::{Markers, Message, Question};
use serde::Serialize;
use serde_json::{Value, json};

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
use latrace_questions::source::{RowCounts, Source, check_ids, is_code};

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
    let mut codec = TraceCodec::open(work.model()?, settings.markers.clone())?;
    if let Some(date) = settings.date {
        codec.text.set_date(date);
    }
    codec.text.log_begin();
    let encoding = Encoding {
        codec: &codec,
        markers: &settings.markers,
        reasoner: &settings.reasoner.compile()?,
        posterior: &settings.posterior.compile()?,
    };
    let (questions, rows) = encoding.read(&settings.source)?;
    let prompting = [encoding.reasoner, encoding.posterior];
    check_prompts(&questions, prompting, &settings.markers, Some(&codec.text))?;
    rows.log();
    let contaminated = FoundQuestions::of(&questions, EvaluatedTexts::default());
    // Whoever did not ask is told only of what there is.
    contaminated.iter().filter(|found| found.counts.is_any()).for_each(FoundQuestions::log);
    // Any time limit will do: whether a question can be judged does not depend on it.
    let judge = Judge::new(1.0, &work.context.verifiers);
    let contaminated = contaminated.map(|found| found.counts);
    let (out, mut counts) = (work.output(), Counts { rows, contaminated, ..Counts::default() });
    // All parts are written anew: encoding takes seconds, and every later stage depends on it.
    for (part, questions) in questions.chunks(settings.part_questions).enumerate() {
        let records = encoding.records(questions, &judge)?;
        records.iter().for_each(|record| counts.add(record));
        out.write(part, &records)?;
    }
    Ok(serde_json::to_value(counts)?)
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
    /// The questions of a source, with unique ids: all later stages join on them.
    fn read(&self, source: &Source) -> Result<(Vec<(Split, Question)>, RowCounts)> {
        let render = |messages: &[Message]| self.codec.text.prompt(messages);
        let (questions, counts) = source.read_counted(self.markers, Some(&render))?;
        check_ids(&questions)?;
        Ok((questions, counts))
    }

    /// A part's questions. Each reference is read once here: one that cannot be judged would otherwise stop
    /// the run at stage 6, after hours of sampling.
    fn records(&self, questions: &[(Split, Question)], judge: &Judge<'_>) -> Result<Vec<QuestionRecord>> {
        let encode = |(split, question): &(Split, Question)| self.record(*split, question);
        let records: Vec<QuestionRecord> = questions.iter().map(encode).collect::<Result<_>>()?;
        records.iter().try_for_each(|record| judge.query(record.judged()).map(drop))?;
        Ok(records)
    }

    /// The question as token ids.
    ///
    /// # Errors
    /// Templates that use a field the question lacks; texts that the tokenizer refuses; a trace that contains
    /// its own end marker.
    pub fn record(&self, split: Split, question: &Question) -> Result<QuestionRecord> {
        self.encode(split, question).with_context(|| format!("question {}", question.id))
    }

    fn encode(&self, split: Split, question: &Question) -> Result<QuestionRecord> {
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

/// What the verifier compares with: tests, or the accepted answers, or the solution if there is no answer.
pub fn reference(question: &Question) -> Value {
    let mut reference = json!({"gold": gold(question)});
    if let Some(options) = &question.options {
        reference["options"] = json!(options);
    }
    if let Some(limits) = question.rest.get("limits") {
        reference["limits"] = limits.clone();
    }
    reference
}

fn gold(question: &Question) -> Option<Value> {
    // A program is judged by tests alone: another text beside it is no test, and would make every answer wrong.
    if is_code(question) {
        return question.tests.clone().or_else(|| question.answer.as_deref().and_then(tests_in));
    }
    let answer = || question.answer.as_ref().map(|answer| json!(answer));
    let solution = || question.solution.as_ref().map(|text| json!(text));
    question.tests.clone().or_else(answer).or_else(solution)
}

/// The tests that a text holds: an object or a list, as JSON.
fn tests_in(answer: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(answer).ok()?;
    (value.is_object() || value.is_array()).then(|| json!(answer))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use latrace_core::PromptTemplate;
    use latrace_questions::source::Format;

    use super::*;
    use crate::recipe::run::RunRecipe;
    use crate::stages::testing::{codec, question};

    #[test]
    fn answers_are_compared_with_tests_or_the_answer_before_the_solution() {
        let of = |row: Value| reference(&serde_json::from_value(row).unwrap())["gold"].clone();
        assert_eq!(of(json!({"answer": "2", "solution": "So it is 2."})), "2");
        assert_eq!(of(json!({"solution": "So it is 2."})), "So it is 2.");
        assert_eq!(of(json!({"answer": "2", "tests": {"inputs": ["1"]}})), json!({"inputs": ["1"]}));
        assert_eq!(of(json!({})), Value::Null);
        let row = json!({"answer": "A", "options": ["x", "y"], "limits": {"seconds": 2}});
        let expected = json!({"gold": "A", "options": ["x", "y"], "limits": {"seconds": 2}});
        assert_eq!(reference(&serde_json::from_value(row).unwrap()), expected);
    }

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
        let prompting = Prompting::Template(PromptTemplate::new("{{ question }}").unwrap());
        let encoding =
            Encoding { codec: &codec, markers: &markers, reasoner: &prompting, posterior: &prompting };
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let shipped = RunRecipe::read(&recipes.join("quickstart.toml"), &[]).unwrap().questions;
        let (task, train) = (String::new(), file.display().to_string());
        let source = Source { task, train, format: Format::Rows, ..shipped };
        assert_eq!(encoding.read(&source).unwrap().0.len(), 1);
        let twice = Source { test: source.train.clone(), ..source };
        let error = format!("{:#}", encoding.read(&twice).map(drop).unwrap_err());
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
