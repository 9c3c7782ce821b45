//! Stage 6: verdicts on the sampled answers.

use std::collections::HashMap;

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::{Counts, StageWork, missing_parts, parts_progress};
use crate::pipeline::records::{AnswerRecord, QuestionRecord, VerdictRecord};
use crate::plan::{Role, VerdictSettings};
use latrace_core::Verdict;
use latrace_questions::judge::Judge;
use latrace_questions::query::Query;

/// Judges the answers of all parts, in their order.
///
/// # Errors
/// Questions that cannot be judged, tables that cannot be read or written.
pub fn run(settings: &VerdictSettings, work: StageWork<'_>) -> Result<Value> {
    let judge = Judge::new(settings.time_limit, &work.context.sandbox);
    let questions = work.input::<QuestionRecord>(Role::Questions)?;
    let answers = work.input::<AnswerRecord>(Role::Answers)?;
    let out = work.output();
    let mut counts = VerdictCounts::default();
    let missing = missing_parts(&answers, &out, &mut counts)?;
    let mut progress = parts_progress("parts judged", answers.parts()?, missing.len());
    // A part at a time, written when it is judged: what a kill can lose is the judging of one part.
    for part in missing {
        let verdicts = judged_part(&questions.read(part)?, answers.read(part)?, &judge)?;
        counts.add_all(&verdicts);
        out.write(part, &verdicts)?;
        progress.advance(1);
    }
    progress.finish();
    Ok(serde_json::to_value(counts)?)
}

/// The verdicts on a part's answers. `collect` keeps their order, whatever order the verdicts finish in.
fn judged_part(
    questions: &[QuestionRecord],
    answers: Vec<AnswerRecord>,
    judge: &Judge<'_>,
) -> Result<Vec<VerdictRecord>> {
    let queries = queries(questions, judge)?;
    // In parallel: a program may take seconds.
    answers.into_par_iter().map(|answer| judged(&queries, answer, judge)).collect()
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
    let AnswerRecord { id, sample, answer, .. } = answer;
    Ok(VerdictRecord { id, sample, answer, reason: judgement.reason })
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
