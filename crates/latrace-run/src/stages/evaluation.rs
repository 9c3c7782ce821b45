//! Stage 10: a model's accuracy on held-out questions.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use latrace_core::StopReason;
use latrace_engine::boundary::Completion;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Counts, draw_stage};
use crate::evaluation::{Answer, answer_of};
use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::records::{QuestionRecord, ResponseRecord};
use crate::plan::{EvaluationSettings, Role};
use latrace_core::Split;
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;
use latrace_objective::statistics::{Accuracy, Tally};
use latrace_questions::judge::Judge;
use latrace_questions::query::Query;
use latrace_verify::Reason;

/// The stage's counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// On all questions.
    pub overall: Accuracy,
    /// On questions of each difficulty.
    pub by_difficulty: BTreeMap<String, Accuracy>,
    /// Responses truncated at the token limit.
    pub truncated: u64,
    /// Tokens sampled.
    pub tokens: u64,
    /// The questions' split.
    pub split: Split,
}

/// Samples and judges responses to the questions of the recipe's evaluation split.
///
/// # Errors
/// A model that cannot be loaded, prompts that do not fit it, tables that cannot be read or written.
pub fn run(
    settings: &EvaluationSettings,
    inputs: &Inputs,
    context: &RunContext,
    stage: &StageFolder,
) -> Result<Value> {
    let model = inputs.folder(Role::Model)?;
    let codec = &TraceCodec::open(model, settings.markers.clone())?;
    let judge = &Judge::new(settings.time_limit, &context.sandbox);
    let source = Table::<QuestionRecord>::open(inputs.folder(Role::Questions)?);
    let out = Table::<ResponseRecord>::create(&stage.path, &stage.key());
    let job = SampleJob {
        stage: "responses",
        seed: settings.seed,
        n: settings.sampling.n,
        params: settings.sampling.params,
        stop_ids: codec.answer_end_ids(),
        stop_texts: codec.answer_stops(),
    };
    let ask = |part| asked(&source, part, settings.split, judge);
    let record = |(question, query): &(QuestionRecord, Query), number, completion| {
        Ok(judged(question, query, (number, completion), codec, judge))
    };
    let counts: ResponseCounts = draw_stage((&source, &out), (context, model), &job, stage, ask, record)?;
    Ok(json!(counts.measured(settings)))
}

/// A part's questions of a split, and their prompts.
fn asked(
    source: &Table<QuestionRecord>,
    part: usize,
    split: Split,
    judge: &Judge<'_>,
) -> Result<Vec<((QuestionRecord, Query), Prompt)>> {
    let of_split = source.read(part)?.into_iter().filter(|question| question.split == split);
    let ask = |question: QuestionRecord| {
        let prompt = Prompt::keyed(question.id.clone(), question.prompt_ids.clone());
        let query = judge.query(question.judged())?;
        Ok(((question, query), prompt))
    };
    of_split.map(ask).collect()
}

fn judged(
    question: &QuestionRecord,
    query: &Query,
    (number, completion): (u64, Completion),
    codec: &TraceCodec,
    judge: &Judge<'_>,
) -> ResponseRecord {
    let (ids, truncated) = (completion.ids, completion.stop == StopReason::MaxTokens);
    // A run's prompts open the thought. Without its end there is no answer, whatever looks like one.
    let response = codec.response_text(&ids);
    let text = match answer_of(&response, true, truncated, codec.markers()) {
        Answer::Given(text) => Some(text.to_owned()),
        Answer::Unclosed | Answer::Truncated => None,
    };
    let reason = text.as_deref().map_or(Reason::NoAnswer, |text| judge.judge(query, text).reason);
    ResponseRecord {
        id: question.id.clone(),
        sample: number,
        difficulty: question.difficulty.clone(),
        truncated,
        token_ids: ids,
        text,
        reason,
    }
}

/// Correct responses by question, whose difficulty comes first.
#[derive(Default)]
struct ResponseCounts {
    by_question: BTreeMap<(Option<String>, String), Tally>,
    truncated: u64,
    tokens: u64,
}

impl Counts<ResponseRecord> for ResponseCounts {
    fn add(&mut self, response: &ResponseRecord) {
        self.truncated += u64::from(response.truncated);
        self.tokens += response.token_ids.len() as u64;
        let question = (response.difficulty.clone(), response.id.clone());
        let tally = self.by_question.entry(question).or_insert(Tally { right: 0, samples: 0 });
        tally.right += usize::from(response.verdict().is_correct());
        tally.samples += 1;
    }
}

impl ResponseCounts {
    fn measured(&self, settings: &EvaluationSettings) -> Measured {
        let of = |pick: &dyn Fn(&Option<String>) -> bool| {
            let picked = self.by_question.iter().filter(|((difficulty, _), _)| pick(difficulty));
            Accuracy::of(&picked.map(|(_, tally)| *tally).collect::<Vec<_>>(), settings.seed)
        };
        let difficulties: BTreeSet<&String> =
            self.by_question.keys().filter_map(|(difficulty, _)| difficulty.as_ref()).collect();
        let by_difficulty = difficulties
            .into_iter()
            .map(|name| (name.clone(), of(&|difficulty| difficulty.as_ref() == Some(name))))
            .collect();
        Measured {
            overall: of(&|_| true),
            by_difficulty,
            truncated: self.truncated,
            tokens: self.tokens,
            split: settings.split,
        }
    }
}
