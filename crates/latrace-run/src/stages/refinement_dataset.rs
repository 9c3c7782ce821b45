//! The examples that q is refined by: its own traces z ~ q(z|x,y') after the prompt with the hint, each with the
//! advantage that the objective gives it among the traces of its question. The likelihood of the reference answer
//! stands for that of a right one, so that the reward log pi(z|x) − log q(z|x,y') + log pi(y*|x,z) is finite.
//!
//! An unfinished trace has rho = 0. Only iwae-phi can weigh it; the log of the other objectives would be infinite, so
//! they are of the finished traces alone: q conditional on finishing. Of that, reverse-kl follows the gradient exactly,
//! since its baseline cancels the chance of finishing; elbo-single has none, and its term also moves that chance.

use anyhow::{Context, Result};
use latrace_objective::{AnswerScore, Group, GroupOutcome, Objective, RatioEstimator, TraceScore};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::StageWork;
use super::scores::question_of;
use crate::join::{Join, QuestionTraces, all_matched, name, put_once, twice};
use crate::pipeline::records::{ExampleRecord, ScoreRecord, TraceRecord};
use crate::pipeline::views::QuestionTokens;
use crate::plan::{RefinementSettings, Role};
use latrace_io::table::Table;

type ScoredTraces = QuestionTraces<TraceRecord, Option<ScoreRecord>>;

/// Builds the examples, in the same parts as the questions. Advantages are those of the objective, not rescaled.
///
/// # Errors
/// Traces and scores that do not match; tables that cannot be read or written.
pub fn run(settings: &RefinementSettings, work: StageWork<'_>) -> Result<Value> {
    let tables = Tables::open(work)?;
    let objective = settings.objective.objective();
    let write = |part: usize| tables.write(part, objective);
    let of_parts: Vec<Totals> =
        (0..tables.questions.parts()?).into_par_iter().map(write).collect::<Result<_>>()?;
    // In order of the parts: sums must not depend on which of them is written first.
    let totals = of_parts.iter().fold(Totals::default(), Totals::plus);
    Ok(serde_json::to_value(totals.counts())?)
}

struct Tables {
    questions: Table<QuestionTokens>,
    traces: Table<TraceRecord>,
    scores: Table<ScoreRecord>,
    out: Table<ExampleRecord>,
}

impl Tables {
    fn open(work: StageWork<'_>) -> Result<Tables> {
        Ok(Tables {
            questions: work.input(Role::Questions)?,
            traces: work.input(Role::Traces)?,
            scores: work.input(Role::Scores)?,
            out: work.output(),
        })
    }

    fn write(&self, part: usize, objective: Objective) -> Result<Totals> {
        let mut join = Join::new(self.traces.read(part)?, twice)?;
        let put = |_: &TraceRecord, score: &mut Option<ScoreRecord>, record| put_once(score, record);
        all_matched(&join.add(self.scores.read(part)?, put)?)?;
        let questions = self.questions.read(part)?;
        let (mut totals, mut examples) = (Totals::default(), Vec::new());
        for sampled in join.into_questions() {
            let question = question_of(&questions, &sampled.id)?;
            examples.extend(of_question(question, sampled, objective, &mut totals)?);
        }
        self.out.write(part, &examples)?;
        Ok(totals)
    }
}

/// The logs of a reward's parts (nats, summed over tokens).
#[derive(Clone, Copy, Debug)]
struct Reward {
    trace: TraceScore,
    /// log pi(y*|x,z).
    reference: f64,
}

impl Reward {
    /// None where rho is 0: the trace is unfinished, or the model has no room for the answer after it.
    fn of(trace: &TraceRecord, score: Option<&ScoreRecord>) -> Result<Option<Reward>> {
        if !trace.closed {
            return Ok(None);
        }
        let score = score.with_context(|| format!("{} has no score", name(trace)))?;
        let Some(reference) = &score.reference_logprobs else { return Ok(None) };
        let trace = TraceScore::from_tokens(&score.logprobs, &trace.logprobs)?;
        Ok(Some(Reward { trace, reference: AnswerScore::from_tokens(reference)?.logp_sum }))
    }

    fn log_ratio(&self) -> f64 {
        RatioEstimator::Full.log_ratio(&self.trace)
    }
}

/// The examples of a question's traces.
fn of_question(
    question: &QuestionTokens,
    sampled: ScoredTraces,
    objective: Objective,
    totals: &mut Totals,
) -> Result<Vec<ExampleRecord>> {
    totals.questions += 1;
    let rewarded =
        |(trace, score): (TraceRecord, Option<ScoreRecord>)| Ok((Reward::of(&trace, score.as_ref())?, trace));
    let mut traces: Vec<(Option<Reward>, TraceRecord)> =
        sampled.traces.into_iter().map(rewarded).collect::<Result<_>>()?;
    totals.add_traces(&traces);
    if question.answer_ids.is_none() {
        totals.without_reference += 1;
        return Ok(Vec::new());
    }
    if objective != Objective::IwaePhi {
        traces.retain(|(reward, _)| reward.is_some());
    }
    // Without other traces, reverse-kl has no baseline: the whole reward would move the chance of finishing.
    let least = if objective == Objective::ReverseKl { 2 } else { 1 };
    if traces.len() < least {
        totals.too_few += 1;
        return Ok(Vec::new());
    }
    let advantage_k = advantages(&traces, objective, totals)?;
    let prompt = question.posterior_prompt_ids.as_ref();
    let prompt = prompt.with_context(|| format!("question {} has no hint", question.id))?;
    let weighed = traces.into_iter().zip(advantage_k).map(|((_, trace), advantage)| (trace, advantage));
    let examples = weighed.filter(|(_, advantage)| *advantage != 0.0);
    let examples: Vec<_> = examples.map(|(trace, advantage)| example(prompt, trace, advantage)).collect();
    totals.add_examples(&examples);
    Ok(examples)
}

/// The objective's weights on a group of traces.
///
/// # Shapes
/// `traces` and the result: K.
fn advantages(
    traces: &[(Option<Reward>, TraceRecord)],
    objective: Objective,
    totals: &mut Totals,
) -> Result<Vec<f64>> {
    let log = |pick: fn(&Reward) -> f64| -> Vec<f64> {
        traces.iter().map(|(reward, _)| reward.as_ref().map_or(f64::NEG_INFINITY, pick)).collect()
    };
    let (log_ratio_k, log_answer_k) = (log(Reward::log_ratio), log(|reward| reward.reference));
    let group = Group::new(traces.len())?.with_log_ratio(&log_ratio_k)?.with_log_answer(&log_answer_k)?;
    let weights = objective.weights(&group)?;
    totals.add_outcome(weights.outcome);
    Ok(weights.trace_k)
}

fn example(prompt: &[u32], trace: TraceRecord, advantage: f64) -> ExampleRecord {
    ExampleRecord {
        id: trace.id,
        source: trace.sample as i64,
        prompt_ids: prompt.to_vec(),
        trace_tokens: trace.token_ids.len() as u64,
        response_ids: trace.token_ids,
        weight: advantage,
        given: 0,
        old_logprobs: Some(trace.logprobs),
        advantages: None,
    }
}

/// Counts of questions by what became of their traces, and sums over rewarded traces.
#[derive(Clone, Debug, Default)]
struct Totals {
    questions: u64,
    weighted: u64,
    no_contrast: u64,
    all_zero: u64,
    unbounded: u64,
    too_few: u64,
    without_reference: u64,
    built: u64,
    tokens: u64,
    unfinished: u64,
    rewarded: u64,
    log_pi: f64,
    log_q: f64,
    log_reference: f64,
}

impl Totals {
    fn add_traces(&mut self, traces: &[(Option<Reward>, TraceRecord)]) {
        self.unfinished += traces.iter().filter(|(_, trace)| !trace.closed).count() as u64;
        for Reward { trace, reference } in traces.iter().filter_map(|(reward, _)| reward.as_ref()) {
            self.rewarded += 1;
            self.log_pi += trace.logp_sum;
            self.log_q += trace.logq_sum;
            self.log_reference += reference;
        }
    }

    fn add_outcome(&mut self, outcome: GroupOutcome) {
        *match outcome {
            GroupOutcome::Weighted | GroupOutcome::SingleTrace => &mut self.weighted,
            GroupOutcome::NoContrast => &mut self.no_contrast,
            GroupOutcome::AllZero => &mut self.all_zero,
            GroupOutcome::Unbounded => &mut self.unbounded,
        } += 1;
    }

    fn add_examples(&mut self, examples: &[ExampleRecord]) {
        self.built += examples.len() as u64;
        self.tokens += examples.iter().map(|example| example.response_ids.len() as u64).sum::<u64>();
    }

    fn plus(self, other: &Totals) -> Totals {
        Totals {
            questions: self.questions + other.questions,
            weighted: self.weighted + other.weighted,
            no_contrast: self.no_contrast + other.no_contrast,
            all_zero: self.all_zero + other.all_zero,
            unbounded: self.unbounded + other.unbounded,
            too_few: self.too_few + other.too_few,
            without_reference: self.without_reference + other.without_reference,
            built: self.built + other.built,
            tokens: self.tokens + other.tokens,
            unfinished: self.unfinished + other.unfinished,
            rewarded: self.rewarded + other.rewarded,
            log_pi: self.log_pi + other.log_pi,
            log_q: self.log_q + other.log_q,
            log_reference: self.log_reference + other.log_reference,
        }
    }

    fn counts(&self) -> RefinementCounts {
        let Totals { questions, weighted, no_contrast, all_zero, unbounded, too_few, .. } = *self;
        let Totals { without_reference, built, tokens, unfinished, rewarded, .. } = *self;
        let mean = |sum: f64| (rewarded > 0).then(|| sum / rewarded as f64);
        RefinementCounts {
            questions,
            weighted,
            no_contrast,
            all_zero,
            unbounded,
            too_few,
            without_reference,
            built,
            tokens,
            unfinished,
            rewarded,
            mean_reward: mean(self.log_pi - self.log_q + self.log_reference),
            mean_log_pi: mean(self.log_pi),
            mean_log_q: mean(self.log_q),
            mean_log_reference: mean(self.log_reference),
        }
    }
}

/// The counts in the stage's record. A collapse of q shows in log q towards 0, a leak of the hint in log pi that falls
/// while the reference's rises.
#[derive(Serialize)]
struct RefinementCounts {
    questions: u64,
    /// Questions with advantages, and those left out by reason: equal rewards, no trace of rho above 0, an infinite
    /// reward, too few finished traces, no reference answer.
    weighted: u64,
    no_contrast: u64,
    all_zero: u64,
    unbounded: u64,
    too_few: u64,
    without_reference: u64,
    built: u64,
    tokens: u64,
    unfinished: u64,
    /// Traces with a finite reward, over which the means are (nats, summed over tokens).
    rewarded: u64,
    mean_reward: Option<f64>,
    mean_log_pi: Option<f64>,
    mean_log_q: Option<f64>,
    mean_log_reference: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Log-probs of two tokens that sum to `sum`.
    fn halves(sum: f32) -> Vec<f32> {
        vec![sum / 2.0; 2]
    }

    /// A trace of a question: its log q, and its log pi with that of the answer after it where it is finished.
    type Sampled = (f32, Option<(f32, f32)>);

    fn scored(traces: &[Sampled]) -> ScoredTraces {
        let numbered = || (0..).zip(traces);
        let trace = |(sample, (logq, score)): (u64, &Sampled)| TraceRecord {
            id: "q".to_owned(),
            sample,
            token_ids: vec![10 + sample as u32, 5],
            logprobs: halves(*logq),
            closed: score.is_some(),
        };
        let mut join = Join::new(numbered().map(trace), twice).unwrap();
        let records = numbered().filter_map(|(sample, (_, score))| {
            let (logp, reference) = (*score)?;
            let reference_logprobs = Some(halves(reference));
            Some(ScoreRecord { id: "q".to_owned(), sample, logprobs: halves(logp), reference_logprobs })
        });
        let put = |_: &TraceRecord, score: &mut Option<ScoreRecord>, record| put_once(score, record);
        assert!(join.add(records, put).unwrap().is_empty());
        join.into_questions().remove(0)
    }

    fn question() -> QuestionTokens {
        QuestionTokens {
            id: "q".to_owned(),
            prompt_ids: vec![1, 2, 3],
            posterior_prompt_ids: Some(vec![1, 2, 3, 4]),
            answer_ids: Some(vec![92, 93]),
        }
    }

    fn built(traces: &[Sampled], objective: Objective) -> (Vec<ExampleRecord>, Value) {
        let mut totals = Totals::default();
        let examples = of_question(&question(), scored(traces), objective, &mut totals).unwrap();
        (examples, serde_json::to_value(totals.counts()).unwrap())
    }

    fn advantages_of(examples: &[ExampleRecord]) -> Vec<(i64, f64)> {
        examples.iter().map(|example| (example.source, example.weight)).collect()
    }

    const TRACES: [Sampled; 4] =
        [(-2.0, Some((-3.0, -1.0))), (-4.0, Some((-3.5, -0.5))), (-1.0, None), (-3.0, Some((-3.0, -6.0)))];

    #[test]
    fn advantages_are_the_objectives_weights_on_full_ratios() {
        let expected = |objective: Objective, log_ratio_k: &[f64], log_answer_k: &[f64]| {
            let group = Group::new(log_ratio_k.len()).unwrap();
            let group = group.with_log_ratio(log_ratio_k).unwrap().with_log_answer(log_answer_k).unwrap();
            objective.weights(&group).unwrap().trace_k
        };
        for objective in [Objective::ReverseKl, Objective::ElboSingle] {
            let weights = expected(objective, &[-1.0, 0.5, 0.0], &[-1.0, -0.5, -6.0]);
            let (examples, counts) = built(&TRACES, objective);
            assert_eq!(advantages_of(&examples), [(0, weights[0]), (1, weights[1]), (3, weights[2])]);
            assert_eq!((&counts["weighted"], &counts["unfinished"]), (&1.into(), &1.into()));
        }
        // An unfinished trace is one of rho = 0, which the bound counts.
        let none = f64::NEG_INFINITY;
        let weights = expected(Objective::IwaePhi, &[-1.0, 0.5, none, 0.0], &[-1.0, -0.5, none, -6.0]);
        let (examples, _) = built(&TRACES, Objective::IwaePhi);
        let expected: Vec<(i64, f64)> = (0..).zip(weights).collect();
        assert_eq!(advantages_of(&examples), expected);
    }

    #[test]
    fn an_example_is_a_trace_after_the_prompt_with_the_hint() {
        let (examples, counts) = built(&TRACES, Objective::ReverseKl);
        let first = &examples[0];
        assert_eq!((&first.prompt_ids[..], &first.response_ids[..]), (&[1, 2, 3, 4][..], &[10, 5][..]));
        assert_eq!((first.trace_tokens, first.given), (2, 0));
        assert_eq!(first.old_logprobs, Some(halves(-2.0)));
        // (-3 + 2 - 1, -3.5 + 4 - 0.5, -3 + 3 - 6) and their parts.
        let means = ["mean_reward", "mean_log_pi", "mean_log_q", "mean_log_reference"];
        let expected = [-8.0 / 3.0, -9.5 / 3.0, -3.0, -2.5];
        for (name, expected) in means.into_iter().zip(expected) {
            assert!((counts[name].as_f64().unwrap() - expected).abs() < 1e-12, "{name}: {counts}");
        }
        assert_eq!(
            (&counts["built"], &counts["tokens"], &counts["rewarded"]),
            (&3.into(), &6.into(), &3.into())
        );
    }

    #[test]
    fn questions_without_an_advantage_are_left_out_by_reason() {
        let check = |traces: &[Sampled], objective, reason: &str| {
            let (examples, counts) = built(traces, objective);
            assert_eq!((examples.len(), &counts[reason], &counts["weighted"]), (0, &1.into(), &0.into()));
        };
        let same = (-2.0, Some((-3.0, -1.0)));
        check(&[same, same], Objective::ReverseKl, "no_contrast");
        check(&[same, (-1.0, None)], Objective::ReverseKl, "too_few");
        check(&[(-1.0, None)], Objective::ElboSingle, "too_few");
        check(&[(-1.0, None)], Objective::IwaePhi, "all_zero");
        assert_eq!(built(&[same, (-1.0, None)], Objective::ElboSingle).0.len(), 1);
        let unanswered = QuestionTokens { answer_ids: None, ..question() };
        let mut totals = Totals::default();
        assert!(
            of_question(&unanswered, scored(&[same]), Objective::IwaePhi, &mut totals).unwrap().is_empty()
        );
        assert_eq!((totals.without_reference, totals.counts().questions), (1, 1));
    }

    #[test]
    fn a_finished_trace_without_a_score_is_an_error() {
        let mut traces = scored(&[(-2.0, Some((-3.0, -1.0)))]);
        traces.traces[0].1 = None;
        let error = of_question(&question(), traces, Objective::IwaePhi, &mut Totals::default()).unwrap_err();
        assert_eq!(error.to_string(), "id q, sample 0 has no score");
    }

    #[test]
    fn totals_of_parts_add_up() {
        let mut part = Totals::default();
        of_question(&question(), scored(&TRACES), Objective::ReverseKl, &mut part).unwrap();
        let both = part.clone().plus(&part);
        assert_eq!((both.questions, both.weighted, both.built, both.tokens), (2, 2, 6, 12));
        assert_eq!((both.rewarded, both.unfinished), (6, 2));
        assert_eq!(both.counts().mean_reward, part.counts().mean_reward);
        assert_eq!(Totals::default().counts().mean_reward, None);
    }
}
