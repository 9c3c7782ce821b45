//! Stage 3: traces z ~ q(z|x,y') of each question, or of pi without a hint.

use anyhow::Result;
use latrace_engine::boundary::Completion;
use serde::Serialize;
use serde_json::Value;

use super::selection::WithSamples;
use super::{Counts, StageWork, draw_stage, one_by_one};
use crate::pipeline::records::{QuestionRecord, TraceRecord};
use crate::plan::{Role, TraceSettings};
use crate::recipe::run::Sampling;
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;

/// Samples traces for all selected questions; a part without any selected question is written empty.
///
/// # Errors
/// A model that cannot be loaded, prompts that do not fit it, tables that cannot be read or written.
pub fn run(settings: &TraceSettings, work: StageWork<'_>) -> Result<Value> {
    let codec = &TraceCodec::open(work.model()?, settings.markers.clone())?;
    let source = work.input(Role::Questions)?;
    let drawn_by = settings.questions_seed.unwrap_or(settings.seed);
    let selected = WithSamples::of(&source, settings.questions, settings.limit, drawn_by)?;
    let ask = |part| asked(&source, part, settings, &selected);
    let records = one_by_one(|id: &String, number, completion| trace(id, number, completion, codec));
    let counts: TraceCounts = draw_stage(work, &source, &job(settings, codec), ask, records)?;
    Ok(serde_json::to_value(counts)?)
}

fn job(settings: &TraceSettings, codec: &TraceCodec) -> SampleJob {
    let Sampling { n, params } = settings.sampling;
    let (stop_ids, stop_texts) = (codec.trace_end_ids(), codec.trace_stops());
    SampleJob { stage: "traces", seed: settings.seed, n, params, stop_ids, stop_texts }
}

/// A part's selected questions, by id, and their prompts.
fn asked(
    source: &Table<QuestionRecord>,
    part: usize,
    settings: &TraceSettings,
    selected: &WithSamples,
) -> Result<Vec<(String, Prompt)>> {
    let selected = source.read(part)?.into_iter().filter(|question| selected.has(question));
    Ok(selected.filter_map(|question| prompted(question, settings)).collect())
}

/// A question's prompt; none where it needs a hint and has none.
fn prompted(question: QuestionRecord, settings: &TraceSettings) -> Option<(String, Prompt)> {
    let with_hint = question.posterior_prompt_ids;
    if settings.needs_hint && with_hint.is_none() {
        return None;
    }
    let ids = if settings.hinted { with_hint? } else { question.prompt_ids };
    Some((question.id.clone(), Prompt::keyed(question.id, ids)))
}

fn trace(id: &str, number: u64, completion: Completion, codec: &TraceCodec) -> TraceRecord {
    let Completion { mut ids, mut logp, .. } = completion;
    let boundary = codec.boundary(&ids);
    // Tokens behind the boundary would be an answer. An end without one is what a policy gradient has to unlearn, and may be
    // all that was sampled.
    let tokens = boundary.unwrap_or(ids.len());
    ids.truncate(tokens);
    logp.truncate(tokens);
    let (id, closed) = (id.to_owned(), boundary.is_some());
    TraceRecord { id, sample: number, token_ids: ids, logprobs: logp, closed }
}

#[derive(Default, Serialize)]
struct TraceCounts {
    sampled: u64,
    closed: u64,
    tokens: u64,
}

impl Counts<TraceRecord> for TraceCounts {
    fn add(&mut self, trace: &TraceRecord) {
        self.sampled += 1;
        self.closed += u64::from(trace.closed);
        self.tokens += trace.token_ids.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use latrace_core::{Markers, SamplingParams, Split, StopReason};

    use super::*;
    use crate::recipe::run::TracedQuestions;
    use crate::stages::testing::{codec, question};

    #[test]
    fn a_trace_is_what_comes_before_its_boundary_or_its_end() {
        let codec = codec();
        let words = codec.encode("10 +7 17").unwrap();
        let whole = codec.trace_ids("10 +7 17").unwrap();
        let (end, boundary) = (codec.answer_end_ids()[0], whole.len());
        let of = |ids: &[u32], stop| {
            let logp = (0..ids.len()).map(|at| -(at as f32)).collect();
            trace("q", 3, Completion { ids: ids.to_vec(), logp, stop }, &codec)
        };
        let closed = of(&[whole.as_slice(), &[9, 9]].concat(), StopReason::MaxTokens);
        assert_eq!(
            (closed.token_ids.as_slice(), closed.logprobs.len(), closed.closed),
            (&*whole, boundary, true)
        );
        // An end within the thought is kept, even alone: it was sampled.
        for words in [words.as_slice(), &[]] {
            let with_end = [words, &[end]].concat();
            let ended = of(&with_end, StopReason::End);
            assert_eq!(
                (ended.token_ids.as_slice(), ended.logprobs.len(), ended.closed),
                (&*with_end, with_end.len(), false)
            );
        }
        let cut = of(&words, StopReason::MaxTokens);
        assert_eq!((cut.token_ids.as_slice(), cut.sample, cut.closed), (&*words, 3, false));
    }

    fn settings(limit: usize) -> TraceSettings {
        TraceSettings {
            hinted: true,
            needs_hint: true,
            questions: TracedQuestions::All,
            limit,
            sampling: Sampling { n: 1, params: SamplingParams::plain(8) },
            markers: Markers::named("plain").unwrap(),
            seed: 3,
            questions_seed: None,
        }
    }

    #[test]
    fn traces_are_sampled_for_training_questions_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::<QuestionRecord>::create(folder.path(), "key");
        let mut unseen = question("unseen", Split::Train);
        (unseen.trace_ids, unseen.posterior_prompt_ids) = (None, None);
        let questions = [
            question("a", Split::Train),
            question("b", Split::Validation),
            question("c", Split::Test),
            unseen,
        ];
        table.write(0, &questions).unwrap();
        let of = |settings: &TraceSettings| {
            let selected = WithSamples::of(&table, settings.questions, 0, 3).unwrap();
            let asked = asked(&table, 0, settings, &selected).unwrap();
            asked.into_iter().map(|(id, prompt)| (id, prompt.ids.len())).collect::<Vec<_>>()
        };
        let expected = |pairs: &[(&str, usize)]| {
            pairs.iter().map(|(id, tokens)| ((*id).to_owned(), *tokens)).collect::<Vec<_>>()
        };
        assert_eq!(of(&settings(0)), expected(&[("a", 4)]));
        assert_eq!(
            of(&TraceSettings { hinted: false, needs_hint: false, ..settings(0) }),
            expected(&[("a", 3), ("unseen", 3)])
        );
        let unseen = TraceSettings {
            questions: TracedQuestions::Unseen,
            hinted: false,
            needs_hint: false,
            ..settings(0)
        };
        let of_mixture = TraceSettings { hinted: false, ..settings(0) };
        assert_eq!(of(&of_mixture), expected(&[("a", 3)]));
        assert_eq!(of(&unseen), expected(&[("unseen", 3)]));
    }

    #[test]
    fn which_questions_are_drawn_does_not_depend_on_their_order_or_parts() {
        let folder = tempfile::tempdir().unwrap();
        let numbers: Vec<u64> = (0..20).collect();
        let write = |name: &str, parts: &[&[u64]]| {
            let table = Table::<QuestionRecord>::create(&folder.path().join(name), "key");
            std::fs::create_dir(folder.path().join(name)).unwrap();
            for (part, numbers) in parts.iter().enumerate() {
                let questions: Vec<QuestionRecord> =
                    numbers.iter().map(|number| question(&number.to_string(), Split::Train)).collect();
                table.write(part, &questions).unwrap();
            }
            WithSamples::of(&table, TracedQuestions::All, 5, 3).unwrap().drawn.unwrap()
        };
        let reversed: Vec<u64> = numbers.iter().rev().copied().collect();
        let forwards = write("forwards", &[&numbers]);
        assert_eq!(forwards.len(), 5);
        assert_eq!(write("backwards", &[&reversed[..7], &reversed[7..]]), forwards);
    }
}
