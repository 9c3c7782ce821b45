//! Stage 10: a model's accuracy on held-out questions, and the initial model's on training questions.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::Result;
use latrace_core::{Question, StopReason};
use latrace_engine::boundary::Completion;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::selection::{WithSamples, drawn};
use super::{Counts, StageWork, answer_job, draw_stage};
use crate::evaluation::{Answer, Opening, accuracy_by, answer_of};
use crate::pipeline::records::{QuestionRecord, ResponseRecord};
use crate::plan::{EvaluatedQuestions, EvaluationSettings, OwnPrompts, Role};
use crate::prompting::Prompting;
use latrace_core::Split;
use latrace_engine::sampling::Prompt;
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;
use latrace_objective::statistics::{Accuracy, Tally};
use latrace_questions::judge::Judge;
use latrace_questions::query::{Query, is_boxed};
use latrace_verify::Reason;

/// The stage's counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// On all questions.
    pub overall: Accuracy,
    /// On questions of each difficulty.
    pub by_difficulty: BTreeMap<String, Accuracy>,
    /// Mean number of different right answers to a question, of all that were sampled for it.
    #[serde(default)]
    pub distinct_right: Option<f64>,
    /// Responses truncated at the token limit.
    pub truncated: u64,
    /// Responses without a thought, each judged as a whole unless it was truncated.
    #[serde(default)]
    pub without_thought: u64,
    /// Tokens sampled.
    pub tokens: u64,
    /// The questions' split.
    pub split: Split,
}

/// Samples and judges responses to the questions of a split, or to some of the training questions.
///
/// # Errors
/// A model that cannot be loaded, prompts that do not fit it, tables that cannot be read or written.
pub fn run(settings: &EvaluationSettings, work: StageWork<'_>) -> Result<Value> {
    let mut codec = TraceCodec::open(work.model()?, settings.markers.clone())?;
    let prompts = EvaluationPrompts::of(settings, &mut codec)?;
    let codec = &codec;
    let judge = &Judge::new(settings.verdicts.time_limit, &work.context.verifiers);
    let source = work.input(Role::Questions)?;
    let job = answer_job("responses", settings.sampling, settings.seed, codec);
    let drawn = drawn_ids(&source, settings)?;
    let is_asked = |question: &QuestionRecord| {
        question.split == settings.questions.split()
            && drawn.as_ref().is_none_or(|drawn| drawn.contains(&question.id))
    };
    let ask = |part| asked(&source, part, is_asked, |question| prompts.posed(question, codec, judge));
    let records = |samples| records(samples, codec, judge);
    let counts: ResponseCounts = draw_stage(work, &source, &job, ask, records)?;
    Ok(json!(counts.measured(settings)))
}

/// A question, and the query that judges its responses: its reference is read once for all of them.
struct Posed {
    question: QuestionRecord,
    query: Query,
    /// Whether its prompt opens a thought.
    opening: Opening,
}

/// The prompts that a model is evaluated with: conversations that leave it to the chat template and the model whether
/// there is a thought, or else those of the reasoner, in which one is opened.
struct EvaluationPrompts(Option<Prompting>);

/// The ids of the training questions to evaluate on; none where a whole split is.
fn drawn_ids(
    source: &Table<QuestionRecord>,
    settings: &EvaluationSettings,
) -> Result<Option<HashSet<String>>> {
    let draw = ("evaluation.training", settings.seed);
    match settings.questions {
        EvaluatedQuestions::Split { .. } => Ok(None),
        EvaluatedQuestions::Traced { traced } => drawn(source, traced, draw, is_learnt_from).map(Some),
        EvaluatedQuestions::Sampled { sampled, questions, limit } => {
            let with_samples = WithSamples::of(source, questions, limit, settings.seed)?;
            drawn(source, sampled, draw, |question| with_samples.has(question)).map(Some)
        }
    }
}

/// Whether pi_theta0 is trained on the question's own trace.
fn is_learnt_from(question: &QuestionRecord) -> bool {
    question.split == Split::Train && question.trace_ids.is_some() && question.answer_ids.is_some()
}

/// The questions of a part to evaluate on, and their prompts.
fn asked(
    source: &Table<QuestionRecord>,
    part: usize,
    is_asked: impl Fn(&QuestionRecord) -> bool,
    posed: impl Fn(QuestionRecord) -> Result<(Posed, Prompt)>,
) -> Result<Vec<(Posed, Prompt)>> {
    source.read(part)?.into_iter().filter(is_asked).map(posed).collect()
}

impl EvaluationPrompts {
    fn of(settings: &EvaluationSettings, codec: &mut TraceCodec) -> Result<EvaluationPrompts> {
        let Some(OwnPrompts { conversation, date }) = &settings.own_prompts else {
            return Ok(EvaluationPrompts(None));
        };
        if let Some(date) = *date {
            codec.text.set_date(date);
        }
        Ok(EvaluationPrompts(Some(conversation.compile()?)))
    }

    fn posed(
        &self,
        question: QuestionRecord,
        codec: &TraceCodec,
        judge: &Judge<'_>,
    ) -> Result<(Posed, Prompt)> {
        let query = judge.query(question.judged())?;
        let (ids, opens) = match &self.0 {
            None => (question.prompt_ids.clone(), !codec.markers().open.trim().is_empty()),
            Some(prompting) => own_prompt(prompting, &question, codec)?,
        };
        let prompt = Prompt::keyed(question.id.clone(), ids);
        Ok((Posed { question, query, opening: Opening::of(opens) }, prompt))
    }
}

/// The model's own prompt of a question, and whether it opens a thought.
fn own_prompt(
    prompting: &Prompting,
    question: &QuestionRecord,
    codec: &TraceCodec,
) -> Result<(Vec<u32>, bool)> {
    let (boxed, text) = (is_boxed(&question.kind), &codec.text);
    let asked = Question { question: question.question.clone(), ..Question::default() };
    let prompt = prompting.prompt(&asked, None, boxed, codec.markers(), Some(text))?;
    Ok((prompt.ids(text)?, codec.markers().opens(&prompt.text)))
}

/// The records of a part's responses, which are judged together.
fn records(
    samples: Vec<(Posed, Vec<Completion>)>,
    codec: &TraceCodec,
    judge: &Judge<'_>,
) -> Result<Vec<ResponseRecord>> {
    let drawn = samples
        .iter()
        .flat_map(|(of, drawn)| (0..).zip(drawn).map(move |(number, drawn)| (of, number, drawn)));
    let drawn: Vec<(&Posed, u64, &Completion)> = drawn.collect();
    let responses: Vec<String> = drawn.iter().map(|(_, _, drawn)| codec.response_text(&drawn.ids)).collect();
    let answers: Vec<Answer<'_>> = drawn
        .iter()
        .zip(&responses)
        .map(|((of, _, drawn), response)| of.answer(drawn, response, codec))
        .collect();
    let given = drawn.iter().zip(&answers).filter_map(|((of, ..), answer)| Some((&of.query, answer.text()?)));
    let mut judged = judge.verifiers.judge_in_turn(&given.collect::<Vec<_>>())?.into_iter();
    let records = drawn.into_iter().zip(answers).map(|((of, number, drawn), answer)| {
        let judgement = answer.text().and_then(|_| judged.next());
        of.record(number, drawn, answer, judgement.map_or(Reason::NoAnswer, |judgement| judgement.reason))
    });
    Ok(records.collect())
}

impl Posed {
    fn record(&self, number: u64, drawn: &Completion, answer: Answer<'_>, reason: Reason) -> ResponseRecord {
        ResponseRecord {
            id: self.question.id.clone(),
            sample: number,
            difficulty: self.question.difficulty.clone(),
            truncated: is_truncated(drawn),
            token_ids: drawn.ids.clone(),
            text: answer.text().map(str::to_owned),
            reason,
            without_thought: Some(answer.is_without_thought()),
        }
    }

    /// The answer in a response to the question.
    fn answer<'a>(&self, drawn: &Completion, response: &'a str, codec: &TraceCodec) -> Answer<'a> {
        answer_of(response, self.opening, is_truncated(drawn), codec.markers())
    }
}

fn is_truncated(drawn: &Completion) -> bool {
    drawn.stop == StopReason::MaxTokens
}

/// Correct responses by question, whose difficulty comes first.
#[derive(Default)]
struct ResponseCounts {
    by_question: BTreeMap<(Option<String>, String), Tally>,
    /// By question and text.
    right: BTreeSet<(String, String)>,
    truncated: u64,
    without_thought: u64,
    tokens: u64,
}

impl Counts<ResponseRecord> for ResponseCounts {
    fn add(&mut self, response: &ResponseRecord) {
        self.truncated += u64::from(response.truncated);
        self.without_thought += u64::from(response.without_thought == Some(true));
        self.tokens += response.token_ids.len() as u64;
        // By question first: accuracies are means over questions, whatever the number of responses of each.
        let question = (response.difficulty.clone(), response.id.clone());
        let tally = self.by_question.entry(question).or_insert(Tally { right: 0, samples: 0 });
        tally.samples += 1;
        if response.verdict().is_correct() {
            tally.right += 1;
            let text = response.text.as_deref().unwrap_or_default().trim();
            self.right.insert((response.id.clone(), text.to_owned()));
        }
    }
}

impl ResponseCounts {
    fn measured(&self, settings: &EvaluationSettings) -> Measured {
        let all: Vec<Tally> = self.by_question.values().copied().collect();
        Measured {
            overall: Accuracy::of(&all, settings.seed),
            by_difficulty: self.by_difficulty(settings.seed),
            distinct_right: (!all.is_empty()).then(|| self.right.len() as f64 / all.len() as f64),
            truncated: self.truncated,
            without_thought: self.without_thought,
            tokens: self.tokens,
            split: settings.questions.split(),
        }
    }

    fn by_difficulty(&self, seed: u64) -> BTreeMap<String, Accuracy> {
        let questions = self.by_question.iter();
        accuracy_by(questions.map(|((difficulty, _), tally)| (difficulty.as_ref(), *tally)), seed)
    }
}

#[cfg(test)]
mod tests {
    use latrace_core::{Markers, SamplingParams};

    use super::*;
    use crate::plan::VerdictSettings;
    use crate::recipe::run::Sampling;
    use crate::stages::testing::{codec, question};
    use latrace_questions::verifiers::Verifiers;

    fn settings() -> EvaluationSettings {
        EvaluationSettings {
            questions: EvaluatedQuestions::Split { split: Split::Validation },
            sampling: Sampling { n: 2, params: SamplingParams::plain(8) },
            markers: Markers::named("plain").unwrap(),
            own_prompts: None,
            verdicts: VerdictSettings { time_limit: 1.0, verifier: None },
            seed: 0,
        }
    }

    #[test]
    fn responses_are_judged_behind_their_thought_and_counted_by_question() {
        let (codec, verifiers) = (codec(), Verifiers::default());
        let judge = Judge::new(1.0, &verifiers);
        let mut counts = ResponseCounts::default();
        let mut of = |id: &str, difficulty: &str, text: &str, stop| {
            let mut question = question(id, Split::Validation);
            question.difficulty = Some(difficulty.to_owned());
            let (posed, prompt) = EvaluationPrompts(None).posed(question, &codec, &judge).unwrap();
            assert_eq!(prompt.ids, [1, 2, 3]);
            let ids = codec.encode(text).unwrap();
            let completion = Completion { logp: vec![-1.0; ids.len()], ids, stop };
            let record = records(vec![(posed, vec![completion])], &codec, &judge).unwrap().remove(0);
            counts.add(&record);
            (record.text.as_deref().map(str::trim).map(str::to_owned), record.reason, record.truncated)
        };
        let right = of("a", "1", "10 +7 17 -3 14 </think> +7 -3", StopReason::End);
        assert_eq!(right, (Some("+7 -3".to_owned()), Reason::Equal, false));
        // The same answer after another thought, and another one.
        of("c", "1", "</think> +7 -3", StopReason::End);
        of("c", "1", "10 -3 7 +7 14 </think> +7 -3 ", StopReason::End);
        of("c", "1", "</think> -3 +7", StopReason::End);
        let wrong = of("a", "1", "</think> +7", StopReason::MaxTokens);
        assert_eq!(wrong, (Some("+7".to_owned()), Reason::Different, true));
        // What looks like an answer within a thought without an end is none.
        assert_eq!(of("b", "2", "+7 -3", StopReason::End), (None, Reason::NoAnswer, false));
        assert_eq!(of("b", "2", "+7 -3", StopReason::MaxTokens), (None, Reason::NoAnswer, true));
        let Measured { overall, by_difficulty, distinct_right, truncated, split, without_thought, .. } =
            counts.measured(&settings());
        assert_eq!((overall.accuracy, overall.questions, overall.samples, truncated), (0.5, 3, 7, 2));
        assert_eq!(without_thought, 0, "the prompts open a thought");
        // One of the first question, none of the second, two of the third.
        assert_eq!(distinct_right, Some(1.0));
        let accuracies: Vec<(&str, f64)> =
            by_difficulty.iter().map(|(name, of)| (name.as_str(), of.accuracy)).collect();
        assert_eq!((accuracies, split), (vec![("1", 0.75), ("2", 0.0)], Split::Validation));
    }

    #[test]
    fn an_answer_given_at_once_is_counted_and_judged_as_a_whole() {
        let (codec, verifiers) = (codec(), Verifiers::default());
        let judge = Judge::new(1.0, &verifiers);
        let of = |opened: bool, text: &str| {
            let question = question("a", Split::Test);
            let query = judge.query(question.judged()).unwrap();
            let ids = codec.encode(text).unwrap();
            let completion = Completion { logp: vec![-1.0; ids.len()], ids, stop: StopReason::End };
            let posed = Posed { question, query, opening: Opening::of(opened) };
            let record = records(vec![(posed, vec![completion])], &codec, &judge).unwrap().remove(0);
            (record.reason, record.without_thought)
        };
        assert_eq!(of(false, "+7 -3"), (Reason::Equal, Some(true)));
        assert_eq!(of(false, "10 +7 </think> +7 -3"), (Reason::Equal, Some(false)));
        assert_eq!(of(false, "<think> +7 -3"), (Reason::NoAnswer, Some(false)));
        assert_eq!(of(true, "+7 -3"), (Reason::NoAnswer, Some(false)));
    }

    #[test]
    fn only_questions_of_the_split_are_asked() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::<QuestionRecord>::create(folder.path(), "key");
        let all = [Split::Train, Split::Validation, Split::Test];
        table.write(0, &all.map(|split| question(&format!("{split:?}"), split))).unwrap();
        let verifiers = Verifiers::default();
        for split in all {
            let (codec, judge) = (codec(), Judge::new(1.0, &verifiers));
            let posed = |question| EvaluationPrompts(None).posed(question, &codec, &judge);
            let asked = asked(&table, 0, |question| question.split == split, posed).unwrap();
            let ids: Vec<&str> = asked.iter().map(|(posed, _)| posed.question.id.as_str()).collect();
            assert_eq!(ids, [format!("{split:?}")]);
        }
    }
}
