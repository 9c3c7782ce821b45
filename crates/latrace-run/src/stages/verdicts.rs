//! Stage 6: verdicts on the sampled answers.

use std::collections::HashMap;

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::{Counts, missing_parts};
use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::records::{AnswerRecord, QuestionRecord, VerdictRecord};
use crate::plan::{Role, VerdictSettings};
use latrace_core::Verdict;
use latrace_io::progress::Progress;
use latrace_io::table::Table;
use latrace_questions::judge::Judge;
use latrace_questions::query::Query;

/// Judges the answers of all parts, in their order.
///
/// # Errors
/// Questions that cannot be judged, tables that cannot be read or written.
pub fn run(
    settings: &VerdictSettings,
    inputs: &Inputs,
    context: &RunContext,
    stage: &StageFolder,
) -> Result<Value> {
    let judge = Judge::new(settings.time_limit, &context.sandbox);
    let questions = Table::<QuestionRecord>::open(inputs.folder(Role::Questions)?);
    let answers = Table::<AnswerRecord>::open(inputs.folder(Role::Answers)?);
    let out = Table::<VerdictRecord>::create(&stage.path, &stage.key());
    let mut counts = VerdictCounts::default();
    let missing = missing_parts(&answers, &out, &mut counts)?;
    let mut progress = Progress::new(
        "parts judged",
        (answers.parts()? - missing.len()) as u64,
        Some(answers.parts()? as u64),
    );
    for part in missing {
        let queries = queries(&questions.read(part)?, &judge)?;
        let verdicts = answers.read(part)?.into_par_iter().map(|answer| judged(&queries, answer, &judge));
        // `collect` keeps the order of the answers, whatever order their verdicts finish in.
        let verdicts: Vec<VerdictRecord> = verdicts.collect::<Result<_>>()?;
        verdicts.iter().for_each(|verdict| counts.add(verdict));
        out.write(part, &verdicts)?;
        progress.advance(1);
    }
    progress.finish();
    Ok(serde_json::to_value(counts)?)
}

/// The queries that judge answers to the questions of a part, by id.
fn queries(questions: &[QuestionRecord], judge: &Judge<'_>) -> Result<HashMap<String, Query>> {
    questions.iter().map(|question| Ok((question.id.clone(), judge.query(question.judged())?))).collect()
}

fn judged(
    queries: &HashMap<String, Query>,
    answer: AnswerRecord,
    judge: &Judge<'_>,
) -> Result<VerdictRecord> {
    let query = queries.get(&answer.id).with_context(|| format!("the part has no question {}", answer.id))?;
    // A truncated answer is judged as far as it goes: a correct one may be followed by superfluous words.
    let judgement = judge.judge(query, &answer.text);
    Ok(VerdictRecord {
        id: answer.id,
        sample: answer.sample,
        answer: answer.answer,
        reason: judgement.reason,
    })
}

#[derive(Default, Serialize)]
struct VerdictCounts {
    judged: u64,
    correct: u64,
    undetermined: u64,
}

impl Counts<VerdictRecord> for VerdictCounts {
    fn add(&mut self, record: &VerdictRecord) {
        let verdict = record.verdict();
        self.judged += 1;
        self.correct += u64::from(verdict.is_correct());
        self.undetermined += u64::from(verdict == Verdict::Undetermined);
    }
}
