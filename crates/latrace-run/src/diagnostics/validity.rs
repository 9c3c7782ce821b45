//! Whether sampled traces are valid in every step, by the rules of the built-in tasks: a trace can be forced onto
//! the hint and then teaches what is wrong, although right answers follow it.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use latrace_core::{Markers, Reason, Tokenizer};
use latrace_io::table::Table;
use latrace_io::view;
use latrace_questions::tasks::{Task, TraceCheck};

use super::StepValidity;
use super::finished::Finished;
use crate::pipeline::records::{ExampleRecord, QuestionRecord, VerdictRecord};
use crate::pipeline::views::TraceTokens;
use crate::plan::Stage;
use crate::recipe::run::RunRecipe;

/// What a task's rules need of a question.
struct PosedText {
    id: String,
    question: String,
    kind: String,
}

view!(PosedText of QuestionRecord, { id, question, kind });

/// The weight of an example.
struct ExampleWeight {
    id: String,
    source: i64,
    weight: f64,
}

view!(ExampleWeight of ExampleRecord, { id, source, weight });

/// The verdict on an answer after a trace.
struct AnswerVerdict {
    id: String,
    sample: u64,
    reason: Reason,
}

view!(AnswerVerdict of VerdictRecord, { id, sample, reason });

/// The validity of a round's traces; none where no question is of a built-in task.
pub(super) fn of(stages: &Finished<'_>, recipe: &RunRecipe, round: u64) -> Result<Option<StepValidity>> {
    let (Some(questions), Some(traces)) =
        (stages.own(1, Stage::Questions)?, stages.own(round, Stage::Traces)?)
    else {
        return Ok(None);
    };
    let Some(reader) = TraceReader::open(stages, recipe, round)? else { return Ok(None) };
    let questions = Table::<PosedText>::open(&questions.folder);
    let traces = Table::<TraceTokens>::open(&traces.folder);
    let folder = |stage| Ok::<_, anyhow::Error>(stages.own(round, stage)?.map(|found| found.folder));
    let examples = folder(Stage::Dataset)?.map(|folder| Table::<ExampleWeight>::open(&folder));
    let verdicts = folder(Stage::Verdicts)?.map(|folder| Table::<AnswerVerdict>::open(&folder));
    let mut counts = Counts::default();
    for part in 0..questions.parts()? {
        let tasks = tasks(questions.read(part)?);
        // Of other questions traces are not even read: they may be gigabytes.
        if tasks.is_empty() {
            continue;
        }
        let checked = reader.check(&tasks, traces.read(part)?);
        counts.add_traces(&checked);
        if let Some(examples) = &examples {
            counts.add_examples(&checked, &examples.read(part)?);
        }
        if let Some(verdicts) = &verdicts {
            counts.add_verdicts(&checked, &verdicts.read(part)?);
        }
    }
    Ok(counts.validity())
}

/// The questions of built-in tasks, by id.
fn tasks(questions: Vec<PosedText>) -> HashMap<String, (Task, String)> {
    let task = |PosedText { id, question, kind }| Some((id, (Task::named(&kind)?, question)));
    questions.into_iter().filter_map(task).collect()
}

/// Whether each finished trace of a built-in task is valid, by question and number.
type Checked = HashMap<(String, u64), bool>;

/// Reads traces as text.
struct TraceReader {
    tokenizer: Tokenizer,
    cut: String,
}

impl TraceReader {
    /// None where no finished model of the run has a tokenizer.
    fn open(stages: &Finished<'_>, recipe: &RunRecipe, round: u64) -> Result<Option<TraceReader>> {
        let Some(path) = tokenizer(stages, round)? else { return Ok(None) };
        let cannot = || format!("cannot read {}", path.display());
        let tokenizer = Tokenizer::from_bytes(&std::fs::read(&path).with_context(cannot)?);
        let Markers { cut, .. } = recipe.prompts.markers()?;
        Ok(Some(TraceReader { tokenizer: tokenizer.with_context(cannot)?, cut }))
    }

    fn check(&self, tasks: &HashMap<String, (Task, String)>, traces: Vec<TraceTokens>) -> Checked {
        let check = |trace: TraceTokens| {
            let (task, question) = tasks.get(&trace.id).filter(|_| trace.closed)?;
            let is_valid = match task.check_trace(question, &self.text(&trace.token_ids)) {
                TraceCheck::Valid => true,
                TraceCheck::Invalid => false,
                TraceCheck::Unknown => return None,
            };
            Some(((trace.id, trace.sample), is_valid))
        };
        traces.into_iter().filter_map(check).collect()
    }

    /// The thought, without what closes it.
    fn text(&self, ids: &[u32]) -> String {
        let text = self.tokenizer.decode_drawn(ids).unwrap_or_default();
        text.split(&self.cut).next().unwrap_or_default().to_owned()
    }
}

/// The tokenizer of one of the run's models, which all share it; a model that is given has its files elsewhere.
fn tokenizer(stages: &Finished<'_>, round: u64) -> Result<Option<PathBuf>> {
    for stage in [Stage::Model, Stage::Initial, Stage::Posterior, Stage::Final] {
        let found = stages.own(round, stage)?.or(stages.own(1, stage)?);
        let path = found.map(|found| found.folder.join("tokenizer.json"));
        if let Some(path) = path.filter(|path| path.is_file()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Counts over all parts.
#[derive(Default)]
struct Counts {
    finished: u64,
    valid: u64,
    mass: f64,
    valid_mass: f64,
    right: u64,
    forced: u64,
}

impl Counts {
    fn add_traces(&mut self, checked: &Checked) {
        self.finished += checked.len() as u64;
        self.valid += checked.values().filter(|is_valid| **is_valid).count() as u64;
    }

    fn add_examples(&mut self, checked: &Checked, examples: &[ExampleWeight]) {
        for example in examples {
            // Codes below 0 are of rows' own traces.
            let of_trace = u64::try_from(example.source).ok().map(|sample| (example.id.clone(), sample));
            let Some(&is_valid) = of_trace.and_then(|trace| checked.get(&trace)) else { continue };
            // Advantages are signed: a trace that is unlearnt is trained on as well.
            self.mass += example.weight.abs();
            self.valid_mass += if is_valid { example.weight.abs() } else { 0.0 };
        }
    }

    fn add_verdicts(&mut self, checked: &Checked, verdicts: &[AnswerVerdict]) {
        for verdict in verdicts.iter().filter(|of| of.reason.verdict().is_correct()) {
            let Some(&is_valid) = checked.get(&(verdict.id.clone(), verdict.sample)) else { continue };
            self.right += 1;
            self.forced += u64::from(!is_valid);
        }
    }

    fn validity(&self) -> Option<StepValidity> {
        let Counts { finished, valid, mass, valid_mass, right, forced } = *self;
        let training_mass = (mass > 0.0).then(|| valid_mass / mass);
        let forced = (right > 0).then(|| forced as f64 / right as f64);
        (finished > 0).then_some(StepValidity { finished, valid, training_mass, forced })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mass_is_that_of_sampled_traces() {
        let example = |source, weight| ExampleWeight { id: "a".to_owned(), source, weight };
        let trace = |sample| ("a".to_owned(), sample);
        let checked = Checked::from([(trace(0), true), (trace(1), false), (trace(2), false)]);
        let mut counts = Counts::default();
        assert_eq!(counts.validity(), None);
        counts.add_traces(&checked);
        assert_eq!(counts.validity().unwrap().training_mass, None);
        // The row's own trace is no sampled one, and a negative advantage is as much of the training.
        counts.add_examples(&checked, &[example(0, 3.0), example(1, -1.0), example(-2, 5.0)]);
        let validity = counts.validity().unwrap();
        let expected = StepValidity { finished: 3, valid: 1, training_mass: Some(0.75), forced: None };
        assert_eq!(validity, expected);
        assert!((validity.share() - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn right_answers_after_invalid_traces_are_forced() {
        let verdict = |sample, reason| AnswerVerdict { id: "a".to_owned(), sample, reason };
        let checked = [(0, true), (1, false)].map(|(sample, is_valid)| (("a".to_owned(), sample), is_valid));
        let mut counts = Counts::default();
        let checked = Checked::from(checked);
        counts.add_traces(&checked);
        let (right, wrong) = (Reason::Equal, Reason::Different);
        // After trace 2 an answer is right, but nothing could check the trace.
        counts.add_verdicts(
            &checked,
            &[
                verdict(0, right),
                verdict(1, right),
                verdict(0, right),
                verdict(0, right),
                verdict(1, wrong),
                verdict(2, right),
            ],
        );
        assert_eq!(counts.validity().unwrap().forced, Some(0.25));
    }
}
