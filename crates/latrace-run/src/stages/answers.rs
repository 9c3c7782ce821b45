//! Stage 5: answers y ~ pi_theta0(y|x,z) after each trace, for the accuracy estimator.

use anyhow::Result;
use latrace_core::StopReason;
use latrace_engine::boundary::Completion;
use serde::Serialize;
use serde_json::Value;

use super::scores::question_of;
use super::{Counts, StageWork, answer_job, draw_stage, one_by_one};
use crate::pipeline::records::AnswerRecord;
use crate::pipeline::views::{QuestionTokens, TraceTokens};
use crate::plan::{AnswerSettings, Role};
use latrace_engine::sampling::Prompt;
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;

/// Samples answers after every finished trace.
///
/// # Errors
/// A model that cannot be loaded, prompts that do not fit it, tables that cannot be read or written.
pub fn run(settings: &AnswerSettings, work: StageWork<'_>) -> Result<Value> {
    let codec = &TraceCodec::open(work.model()?, settings.markers.clone())?;
    let (questions, traces) = (work.input(Role::Questions)?, work.input(Role::Traces)?);
    let job = answer_job("answers", settings.sampling, settings.seed, codec);
    let ask = |part| asked(&questions, &traces, part, codec);
    let records = one_by_one(|trace: &Trace, number, completion| answer(trace, number, completion, codec));
    let counts: AnswerCounts = draw_stage(work, &traces, &job, ask, records)?;
    Ok(serde_json::to_value(counts)?)
}

/// A trace to sample answers after.
struct Trace {
    id: String,
    sample: u64,
}

/// A part's finished traces, and the prompts made of their questions and them.
fn asked(
    questions: &Table<QuestionTokens>,
    traces: &Table<TraceTokens>,
    part: usize,
    codec: &TraceCodec,
) -> Result<Vec<(Trace, Prompt)>> {
    let questions = questions.read(part)?;
    // An unfinished trace has no boundary behind which an answer could begin.
    let closed = traces.read(part)?.into_iter().filter(|trace| trace.closed);
    closed.map(|trace| Ok(prompted(question_of(&questions, &trace.id)?, trace, codec))).collect()
}

fn prompted(question: &QuestionTokens, trace: TraceTokens, codec: &TraceCodec) -> (Trace, Prompt) {
    let TraceTokens { id, sample, token_ids, .. } = trace;
    let ids = [question.prompt_ids.as_slice(), &token_ids, &codec.answer_prefix].concat();
    // The trace is part of the key, since a question has several: their answers must not share random numbers.
    let prompt = Prompt::keyed(format!("{id}/{sample}"), ids);
    (Trace { id, sample }, prompt)
}

fn answer(trace: &Trace, number: u64, completion: Completion, codec: &TraceCodec) -> AnswerRecord {
    // The rest of the closing marker was part of the prompt, but belongs to y.
    let token_ids = [codec.answer_prefix.as_slice(), &completion.ids].concat();
    AnswerRecord {
        id: trace.id.clone(),
        sample: trace.sample,
        answer: number,
        text: codec.answer_text(&token_ids),
        given: codec.answer_prefix.len() as u64,
        token_ids,
        logprobs: completion.logp,
        // By an end token or the closing marker alike.
        ended: completion.stop != StopReason::MaxTokens,
    }
}

#[derive(Default, Serialize)]
struct AnswerCounts {
    sampled: u64,
    ended: u64,
    tokens: u64,
}

impl Counts<AnswerRecord> for AnswerCounts {
    fn add(&mut self, answer: &AnswerRecord) {
        self.sampled += 1;
        self.ended += u64::from(answer.ended);
        self.tokens += answer.logprobs.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::testing::codec;

    #[test]
    fn an_answer_begins_with_what_was_given_and_ends_unless_it_was_cut() {
        let codec = codec();
        let ids = codec.encode("+7 -3").unwrap();
        let of = |stop| {
            let completion = Completion { logp: vec![-0.5; ids.len()], ids: ids.clone(), stop };
            answer(&Trace { id: "q".to_owned(), sample: 2 }, 1, completion, &codec)
        };
        let record = of(StopReason::StopString);
        assert_eq!((record.id.as_str(), record.sample, record.answer), ("q", 2, 1));
        assert_eq!(record.token_ids, [codec.answer_prefix.clone(), ids.clone()].concat());
        assert_eq!((record.given as usize, record.logprobs.len()), (codec.answer_prefix.len(), ids.len()));
        let reasons = [StopReason::End, StopReason::StopString, StopReason::MaxTokens];
        assert_eq!(reasons.map(|stop| of(stop).ended), [true, true, false]);
        let mut counts = AnswerCounts::default();
        counts.add_all(&reasons.map(of));
        assert_eq!((counts.sampled, counts.ended, counts.tokens), (3, 2, 3 * ids.len() as u64));
    }
}
