//! Stage 6: verdicts on the sampled answers.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::{Counts, StageWork, missing_parts, parts_progress};
use crate::pipeline::records::{AnswerRecord, QuestionRecord, VerdictRecord};
use crate::plan::{Role, VerdictSettings};
use latrace_core::{Reason, Verdict};
use latrace_questions::judge::Judge;
use latrace_questions::query::Query;

/// Judges the answers of all parts, in their order.
///
/// # Errors
/// Questions that cannot be judged, tables that cannot be read or written.
pub fn run(settings: &VerdictSettings, work: StageWork<'_>) -> Result<Value> {
    let judge = Judge::new(settings.time_limit, &work.context.verifiers);
    let questions = work.input::<QuestionRecord>(Role::Questions)?;
    let answers = work.input::<AnswerRecord>(Role::Answers)?;
    let out = work.output();
    let mut counts = VerdictCounts::default();
    let missing = missing_parts(&answers, &out, &mut counts)?.parts;
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

/// The verdicts on a part's answers, in their order.
fn judged_part(
    questions: &[QuestionRecord],
    answers: Vec<AnswerRecord>,
    judge: &Judge<'_>,
) -> Result<Vec<VerdictRecord>> {
    let asked = asked(questions, judge)?;
    let of = answers.iter().map(|answer| question_of(&asked, answer)).collect::<Result<Vec<_>>>()?;
    // A truncated answer is judged as far as it goes: a correct one may be followed by superfluous words.
    let answered: Vec<_> =
        of.iter().zip(&answers).map(|(asked, answer)| (&asked.query, answer.text.as_str())).collect();
    // In parallel: a program may take seconds.
    let judged = judge.verifiers.judge_all(&answered)?;
    let records = of.iter().zip(judged).zip(answers);
    Ok(records.map(|((asked, judgement), answer)| record(asked, judgement.reason, answer)).collect())
}

/// What judges the answers to a question.
struct Asked<'a> {
    query: Query,
    /// y*.
    answer_ids: Option<&'a [u32]>,
}

/// The questions of a part, by id.
fn asked<'a>(questions: &'a [QuestionRecord], judge: &Judge<'_>) -> Result<HashMap<&'a str, Asked<'a>>> {
    let asked = |question: &'a QuestionRecord| {
        let query = judge.query(question.judged())?;
        Ok((question.id.as_str(), Asked { query, answer_ids: question.answer_ids.as_deref() }))
    };
    questions.iter().map(asked).collect()
}

fn question_of<'a, 'b>(asked: &'b HashMap<&str, Asked<'a>>, answer: &AnswerRecord) -> Result<&'b Asked<'a>> {
    asked.get(answer.id.as_str()).with_context(|| format!("the part has no question {}", answer.id))
}

fn record(asked: &Asked<'_>, reason: Reason, answer: AnswerRecord) -> VerdictRecord {
    let is_reference = asked.answer_ids.is_some_and(|ids| is_reference(ids, &answer.token_ids));
    let AnswerRecord { id, sample, answer, .. } = answer;
    VerdictRecord { id, sample, answer, reason, is_reference }
}

/// Whether a sampled answer, with the tokens that were given, is the question's own answer `answer_ids`.
///
/// A sample ends at its answer's closing marker or at the token limit, and need not hold the end token that
/// `answer_ids` ends with. All that sampling may leave of y* counts as y*, so that the likelihood of y* covers
/// no answer that is counted again among the others.
#[must_use]
pub fn is_reference(answer_ids: &[u32], drawn: &[u32]) -> bool {
    !drawn.is_empty() && answer_ids.starts_with(drawn)
}

#[derive(Default, Serialize)]
struct VerdictCounts {
    judged: u64,
    correct: u64,
    undetermined: u64,
    /// Of these, those of questions without a verifier.
    no_verifier: u64,
}

impl Counts<VerdictRecord> for VerdictCounts {
    fn add(&mut self, record: &VerdictRecord) {
        let verdict = record.verdict();
        self.judged += 1;
        self.correct += u64::from(verdict.is_correct());
        self.undetermined += u64::from(verdict == Verdict::Undetermined);
        self.no_verifier += u64::from(record.reason == Reason::NoVerifier);
    }
}

#[cfg(test)]
mod tests {
    use super::is_reference;

    #[test]
    fn an_answer_is_the_reference_token_by_token() {
        // A marker that is given, two tokens, a closing marker, the end token.
        let reference = [5, 11, 12, 7, 0];
        let check = |drawn: &[u32], expected: bool| {
            assert_eq!(is_reference(&reference, drawn), expected, "{drawn:?}")
        };
        check(&[5, 11, 12, 7, 0], true);
        check(&[5, 11, 12, 7], true);
        check(&[5, 11], true);
        check(&[5, 11, 0], false);
        check(&[5, 13, 12, 7, 0], false);
        check(&[5, 11, 12, 7, 0, 0], false);
        check(&[], false);
    }
}
