//! All that judges: the built-in kinds, each answer by itself, and a verifier of the user's own, batch by batch.

use std::collections::BTreeMap;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_io::files::checksum_of_bytes;
use latrace_verify::code::Json;
use latrace_verify::command::{BatchVerdicts, CommandSettings, CommandVerifier, RowFields};
use latrace_verify::{Judgement, Reason};
use rayon::prelude::*;

use crate::query::{COMMAND, Query, SharedSandbox, launcher, slot};

/// A question's query, and an answer to it.
pub type Answered<'a> = (&'a Query, &'a str);

/// What judges answers. The sandbox is set up for the first program.
#[derive(Debug, Default)]
pub struct Verifiers {
    sandbox: SharedSandbox,
    command: Option<CommandVerifier>,
}

/// Answers that are judged together, by their places.
enum Work {
    One(usize),
    Batch(Vec<usize>),
}

impl Verifiers {
    /// The built-in kinds, and the user's own verifier where the settings have one.
    ///
    /// # Errors
    /// A file that its command names cannot be read.
    pub fn new(settings: &CommandSettings) -> Result<Verifiers> {
        let is_given = !settings.command.is_empty();
        let command = is_given.then(|| CommandVerifier::open(settings.clone())).transpose()?;
        Ok(Verifiers { command, ..Verifiers::default() })
    }

    /// Checksums of the files that decide what the user's own verifier does, by the names in its command.
    pub fn checksums(&self) -> BTreeMap<String, String> {
        let files = self.command.iter().flat_map(CommandVerifier::files);
        files.map(|(name, content)| (name.to_owned(), checksum_of_bytes(content))).collect()
    }

    /// Checks that there is what judges a kind of question.
    ///
    /// # Errors
    /// The user's own verifier is asked for, and there is none.
    pub fn check(&self, kind: &str) -> Result<()> {
        if kind != COMMAND || self.command.is_some() {
            return Ok(());
        }
        Err(Failure::usage("questions of the kind \"command\" need a verifier, and none is given")
            .hint("--verifier-command \"python3 judge.py\", or in a recipe verifier.command = [\"python3\", \"judge.py\"]")
            .into())
    }

    /// The judgements on answers, in their order, on all threads of the pool.
    ///
    /// # Errors
    /// A verifier of the user's own that is missing or does not start.
    pub fn judge_all(&self, answers: &[Answered<'_>]) -> Result<Vec<Judgement>> {
        let work = self.work(answers)?;
        // `collect` keeps the order, whatever order they finish in.
        let judged = work.par_iter().map(|work| self.judge(work, answers)).collect::<Result<Vec<_>>>()?;
        Ok(in_order(&work, judged))
    }

    /// As [`Verifiers::judge_all`], on this thread alone.
    ///
    /// # Errors
    /// As [`Verifiers::judge_all`].
    pub fn judge_in_turn(&self, answers: &[Answered<'_>]) -> Result<Vec<Judgement>> {
        let work = self.work(answers)?;
        let judged = work.iter().map(|work| self.judge(work, answers)).collect::<Result<Vec<_>>>()?;
        Ok(in_order(&work, judged))
    }

    fn work(&self, answers: &[Answered<'_>]) -> Result<Vec<Work>> {
        let (batched, single): (Vec<usize>, Vec<usize>) =
            (0..answers.len()).partition(|place| answers[*place].0.fields().is_some());
        if !batched.is_empty() {
            self.check(COMMAND)?;
        }
        let size = self.command.as_ref().map_or(1, |command| command.settings().batch);
        let batches = batched.chunks(size).map(|places| Work::Batch(places.to_vec()));
        Ok(batches.chain(single.into_iter().map(Work::One)).collect())
    }

    fn judge(&self, work: &Work, answers: &[Answered<'_>]) -> Result<Vec<Judgement>> {
        match work {
            Work::One(place) => {
                let (query, answer) = answers[*place];
                Ok(vec![query.judge(answer, &self.sandbox)])
            }
            Work::Batch(places) => self.judge_batch(places.iter().map(|place| answers[*place]).collect()),
        }
    }

    fn judge_batch(&self, answers: Vec<Answered<'_>>) -> Result<Vec<Judgement>> {
        let rows = answers
            .iter()
            .filter_map(|(query, prediction)| Some(RowFields { fields: query.fields()?, prediction }));
        let rows: Vec<RowFields<'_>> = rows.collect();
        match self.verdicts(&rows)? {
            None => Ok(vec![Judgement::new(Reason::NoSandbox, None); rows.len()]),
            Some(BatchVerdicts { judgements, problem }) => {
                problem.iter().for_each(|problem| tracing::warn!("{problem}"));
                Ok(judgements)
            }
        }
    }

    /// The verdicts of the user's own verifier; `None` without a sandbox where it should run in one.
    fn verdicts(&self, rows: &[RowFields<'_>]) -> Result<Option<BatchVerdicts>> {
        let Some(command) = &self.command else { return Ok(None) };
        if !command.settings().sandbox {
            let launcher = launcher().map_err(Failure::work)?;
            return Ok(Some(command.judge_bare(&launcher, rows)?));
        }
        let sandbox = self.sandbox.get();
        Ok(sandbox.map(|sandbox| command.judge_in(sandbox, rows, slot())).transpose()?)
    }
}

/// The judgements of each piece of work by the places of its answers.
fn in_order(work: &[Work], judged: Vec<Vec<Judgement>>) -> Vec<Judgement> {
    let places = work.iter().flat_map(|work| match work {
        Work::One(place) => std::slice::from_ref(place),
        Work::Batch(places) => places,
    });
    let mut all: Vec<(usize, Judgement)> = places.copied().zip(judged.into_iter().flatten()).collect();
    all.sort_unstable_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, judgement)| judgement).collect()
}

/// The fields of a row for a verifier of the user's own. `source` is the row's text, or that of its `gold` alone:
/// only the text has large integers in full.
pub(crate) fn exact_fields(row: Json, source: Option<&str>) -> Json {
    let Some(exact) = source.and_then(|source| Json::read(source).ok()) else { return row };
    let Json::Object(mut fields) = row else { return row };
    let is_row = matches!(exact, Json::Object(_));
    for (name, value) in &mut fields {
        // `kind`, `id` and `question` are the question's own, whatever its reference says.
        match name.as_str() {
            "kind" | "id" | "question" => {}
            name if is_row && exact.has(name) => *value = exact.field(name).clone(),
            "gold" if !is_row => *value = exact.clone(),
            _ => {}
        }
    }
    Json::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(row: serde_json::Value) -> Query {
        let serde_json::Value::Object(row) = row else { panic!("a row is an object") };
        Query::of(&row, None, 1.0).unwrap()
    }

    #[test]
    fn judgements_keep_the_order_of_answers_of_all_kinds() {
        let batch = |places: &[usize]| Work::Batch(places.to_vec());
        let named = |name: &str| Judgement::new(Reason::Equal, name.to_owned());
        let work = [batch(&[1, 4]), batch(&[5]), Work::One(0), Work::One(2), Work::One(3)];
        let judged = vec![
            vec![named("1"), named("4")],
            vec![named("5")],
            vec![named("0")],
            vec![named("2")],
            vec![named("3")],
        ];
        let names: Vec<String> = in_order(&work, judged).into_iter().filter_map(|of| of.extracted).collect();
        assert_eq!(names, ["0", "1", "2", "3", "4", "5"]);
    }

    #[test]
    fn the_users_own_verifier_is_missed_only_where_a_row_asks_for_it() {
        let maths = query(json!({"kind": "math", "gold": "4"}));
        let own = query(json!({"kind": "command", "gold": {"any": ["thing"]}}));
        let verifiers = Verifiers::default();
        let reasons = |answers: &[Answered<'_>]| -> Result<Vec<Reason>> {
            Ok(verifiers.judge_all(answers)?.into_iter().map(|of| of.reason).collect())
        };
        assert_eq!(
            reasons(&[(&maths, "\\boxed{4}"), (&maths, "5")]).unwrap(),
            [Reason::Equal, Reason::Different]
        );
        let error = reasons(&[(&maths, "4"), (&own, "4")]).unwrap_err();
        assert!(error.to_string().contains("need a verifier"), "{error}");
        assert!(verifiers.judge_in_turn(&[(&own, "4")]).is_err());
        assert!(verifiers.check("math").is_ok() && verifiers.check("command").is_err());
    }

    #[test]
    fn fields_are_those_of_the_text_where_there_is_one() {
        let row =
            Json::read(r#"{"id": "a", "kind": "command", "question": "q", "gold": 1e29, "x": 1}"#).unwrap();
        let number = "123456789012345678901234567890";
        let exact = |source: &str| exact_fields(row.clone(), Some(source)).field("gold").to_string();
        assert_eq!(exact(number), number);
        assert_eq!(exact(&format!("{{\"gold\": {number}}}")), number);
        assert_eq!(exact("{\"y\": 1}"), "1e29");
        let other = exact_fields(row.clone(), Some("{\"id\": \"b\", \"x\": 2}"));
        assert_eq!([other.field("id"), other.field("x")].map(Json::to_string), ["\"a\"", "2"]);
        assert_eq!(exact_fields(row.clone(), None), row);
    }
}
