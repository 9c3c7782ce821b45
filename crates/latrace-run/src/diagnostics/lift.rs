//! How much more often right answers follow q's traces than pi_theta0 gives them, on the same questions.

use std::collections::BTreeMap;

use anyhow::Result;
use latrace_core::Reason;
use latrace_io::table::Table;
use latrace_io::view;
use latrace_objective::statistics::{Accuracy, Tally, paired};

use super::Lift;
use super::finished::Finished;
use crate::pipeline::records::{ResponseRecord, TraceRecord, VerdictRecord};
use crate::plan::Stage;
use crate::recipe::run::{Proposal, RunRecipe};

/// The verdict on a response, by question.
struct ResponseVerdict {
    id: String,
    reason: Reason,
}

view!(ResponseVerdict of ResponseRecord, { id, reason });

/// The verdict on an answer after a trace, by question.
struct AnswerVerdict {
    id: String,
    reason: Reason,
}

view!(AnswerVerdict of VerdictRecord, { id, reason });

/// A trace of a question.
struct TraceOf {
    id: String,
}

view!(TraceOf of TraceRecord, { id });

/// The lift in the first round, in which pi_theta0 answers after q's traces; none where a model without a hint
/// samples them, or no answers are judged.
pub(super) fn of(stages: &Finished<'_>, recipe: &RunRecipe) -> Result<Option<Lift>> {
    if recipe.proposal() != Proposal::Posterior {
        return Ok(None);
    }
    let stage = |stage| stages.own(1, stage);
    let (traces, verdicts) = (stage(Stage::Traces)?, stage(Stage::Verdicts)?);
    let (Some(traces), Some(verdicts), Some(initial)) = (traces, verdicts, stage(Stage::InitialSampled)?)
    else {
        return Ok(None);
    };
    let mut posterior = Tallies::new();
    for trace in Table::<TraceOf>::open(&traces.folder).records()? {
        // Answers follow finished traces alone: those of the others count as wrong.
        tally(&mut posterior, trace?.id).samples += recipe.answers.n as usize;
    }
    for verdict in Table::<AnswerVerdict>::open(&verdicts.folder).records()? {
        let AnswerVerdict { id, reason } = verdict?;
        tally(&mut posterior, id).right += usize::from(reason.verdict().is_correct());
    }
    let mut responses = Tallies::new();
    for response in Table::<ResponseVerdict>::open(&initial.folder).records()? {
        let ResponseVerdict { id, reason } = response?;
        let tally = tally(&mut responses, id);
        tally.samples += 1;
        tally.right += usize::from(reason.verdict().is_correct());
    }
    Ok(between(&posterior, &responses, recipe.seed))
}

/// Right samples by question.
type Tallies = BTreeMap<String, Tally>;

fn tally(tallies: &mut Tallies, id: String) -> &mut Tally {
    tallies.entry(id).or_insert(Tally { right: 0, samples: 0 })
}

/// The lift on the questions that both have; none where there are none.
fn between(posterior: &Tallies, initial: &Tallies, seed: u64) -> Option<Lift> {
    let both = posterior.iter().filter_map(|(id, of)| Some((*of, *initial.get(id)?)));
    let (posterior_q, initial_q): (Vec<Tally>, Vec<Tally>) = both.unzip();
    let shares = |tally_q: &[Tally]| tally_q.iter().map(|tally| tally.share()).collect::<Vec<f64>>();
    (!posterior_q.is_empty()).then(|| Lift {
        questions: posterior_q.len(),
        posterior: Accuracy::of(&posterior_q, seed),
        initial: Accuracy::of(&initial_q, seed),
        difference: paired(&shares(&initial_q), &shares(&posterior_q), seed).difference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(right_q: &[(&str, usize, usize)]) -> Tallies {
        let tally = |&(id, right, samples): &(&str, usize, usize)| (id.to_owned(), Tally { right, samples });
        right_q.iter().map(tally).collect()
    }

    #[test]
    fn both_are_measured_on_the_questions_that_both_have() {
        let posterior = tallies(&[("a", 4, 8), ("b", 8, 8), ("c", 0, 8)]);
        let initial = tallies(&[("a", 1, 4), ("b", 3, 4), ("d", 4, 4)]);
        let lift = between(&posterior, &initial, 0).unwrap();
        assert_eq!((lift.questions, lift.posterior.accuracy, lift.initial.accuracy), (2, 0.75, 0.5));
        // The same on either question, so that the interval has no width.
        let Lift { difference, .. } = lift;
        assert_eq!((difference.mean, difference.low, difference.high), (0.25, 0.25, 0.25));
        assert_eq!(between(&posterior, &tallies(&[("d", 4, 4)]), 0), None);
    }
}
