//! Questions as they were read, each with the row that it comes from: what is wrong with one is said of its row.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use latrace_core::{Question, Split};
use latrace_io::failure::Failure;
use latrace_io::rows::{BadRow, FieldProblem, Place, json_text};

use super::RowCounts;
use super::reference::{gold, reference};
use crate::judge::{Judge, Judged};

/// The questions of a source. Their ids differ, since all later stages join on them.
#[derive(Debug)]
pub struct Questions {
    /// All of them with their splits, in order.
    pub all: Vec<(Split, Question)>,
    /// How the rows of files were read.
    pub counts: RowCounts,
    /// The row of each; none of a built-in task.
    origins: Vec<Origin>,
    /// Fields that the files call otherwise: ours = theirs.
    columns: BTreeMap<String, String>,
}

/// The row that a question comes from.
#[derive(Debug)]
pub(super) struct Origin {
    pub file: Arc<Path>,
    pub place: Place,
    /// Whether it has an id of its own.
    pub has_id: bool,
    /// Whether it has a column for the answer, be it null.
    pub has_answer: bool,
}

impl Questions {
    /// # Errors
    /// Two questions of one id.
    pub(super) fn new(
        all: Vec<(Split, Question)>,
        origins: Vec<Origin>,
        counts: RowCounts,
        columns: BTreeMap<String, String>,
    ) -> Result<Questions> {
        let questions = Questions { all, counts, origins, columns };
        questions.check_ids()?;
        Ok(questions)
    }

    fn check_ids(&self) -> Result<()> {
        let mut seen = HashMap::new();
        for (index, (_, question)) in self.all.iter().enumerate() {
            if let Some(earlier) = seen.insert(question.id.as_str(), index) {
                return Err(self.same_id(earlier, index).into());
            }
        }
        Ok(())
    }

    fn same_id(&self, earlier: usize, later: usize) -> Failure {
        let message = format!("two questions have the id {:?}", self.all[later].1.id);
        let [Some(first), Some(second)] = [earlier, later].map(|index| self.origins.get(index)) else {
            return Failure::work(message);
        };
        let hint = if (&first.file, first.place) == (&second.file, second.place) {
            "a question belongs to one split: give each a file of its own"
        } else if second.has_id {
            "ids must be unique across all splits; without an id, rows are numbered by file"
        } else {
            "rows without an id are numbered by the name of their file: rename one of the two, or give rows ids"
        };
        Failure::work(format!("{message}: {} and {}", first.shown(), second.shown())).hint(hint)
    }

    /// Reads each question's reference: one that cannot be judged would otherwise stop a run after hours of sampling.
    ///
    /// # Errors
    /// Names the row, the field and the file's own column of it.
    pub fn check_judged(&self, judge: &Judge<'_>) -> Result<()> {
        (0..self.all.len()).try_for_each(|index| self.check_reference(index, judge))
    }

    fn check_reference(&self, index: usize, judge: &Judge<'_>) -> Result<()> {
        let question = &self.all[index].1;
        let judged = Judged {
            id: &question.id,
            question: &question.question,
            kind: question.kind.as_deref().unwrap_or_default(),
            reference: &json_text(&reference(question))?,
        };
        let Err(error) = judge.parse(judged) else { return Ok(()) };
        match (error.downcast::<FieldProblem>(), self.origins.get(index)) {
            (Ok(problem), Some(origin)) => {
                let problem = origin.of_reference(problem, question).in_columns(&self.columns);
                Err(BadRow::new(&origin.file, origin.place, problem).into())
            }
            (Ok(problem), None) => Err(anyhow::Error::new(problem).context(self.name(index))),
            (Err(other), _) => Err(other.context(self.name(index))),
        }
    }

    /// What errors call a question: by its id and its row.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        let id = &self.all[index].1.id;
        self.origins
            .get(index)
            .map_or_else(|| format!("question {id}"), |origin| format!("question {id} ({})", origin.shown()))
    }
}

impl Origin {
    fn shown(&self) -> String {
        format!("{} {}", self.file.display(), self.place)
    }

    /// A problem with what answers are compared with, as one of the field that it comes from.
    fn of_reference(&self, problem: FieldProblem, question: &Question) -> FieldProblem {
        match gold(question) {
            _ if problem.field() != "gold" => problem,
            Some((field, _)) => problem.of_field(field),
            None => {
                let got = if self.has_answer { "null" } else { "nothing" };
                FieldProblem::new("answer", "the reference answer", got).hint(UNANSWERED)
            }
        }
    }
}

const UNANSWERED: &str = "answers are compared with a question's `answer`, or else its `solution`: give it one, or leave the row out";

#[cfg(test)]
mod tests {
    use std::fs;

    use latrace_core::Markers;

    use crate::source::tests::source;
    use crate::source::{Source, TestSource};
    use crate::verifiers::Verifiers;

    use super::*;

    /// The error of two files of rows, for training and for the test, without their folder.
    #[track_caller]
    fn check(rows: [&str; 2], columns: &[(&str, &str)], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, rows: &str| {
            let path = folder.path().join(name).join("q.jsonl");
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, rows).unwrap();
            path
        };
        let [train, test] = [write("train", rows[0]), write("test", rows[1])];
        let columns = columns.iter().map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()));
        let test = if rows[1].is_empty() { String::new() } else { test.display().to_string() };
        let source =
            Source { columns: columns.collect(), test, tests: TestSource::default(), ..source(&train) };
        let verifiers = Verifiers::default();
        let read = source.read(&Markers::named("think").unwrap(), None);
        let error = read.and_then(|read| read.check_judged(&Judge::new(1.0, &verifiers))).unwrap_err();
        let shown = format!("{error:#}").replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_reference_that_cannot_be_judged_is_named_by_row_and_column() {
        let good = "{\"question\": \"q\", \"gold\": \"1\"}\n";
        let row = |fields: &str| format!("{good}{{\"question\": \"q\", {fields}}}\n");
        let gold = [("answer", "gold")];
        let one = |fields: &str, expected: &str| check([&row(fields), ""], &gold, expected);
        let answer = "train/q.jsonl line 2: field \"answer\" (column \"gold\"): expected";
        one("\"gold\": null", &format!("{answer} the reference answer, got null"));
        one("\"more\": 1", &format!("{answer} the reference answer, got nothing"));
        one(
            "\"gold\": []",
            &format!("{answer} one answer: a text, a number, or a list of one of them, got a list of 0"),
        );
        one("\"gold\": {}", &format!("{answer} a text or a number, got an object"));
        let kinds = "\"math\", \"choice\", \"text\", \"code\", \"command\" or a built-in task";
        let kind = format!("train/q.jsonl line 2: field \"kind\": expected {kinds}, got string \"maths\"");
        one("\"gold\": \"1\", \"kind\": \"maths\"", &kind);
        let command = "question q-2 (train/q.jsonl line 2): questions of the kind \"command\" need a verifier, and none is given";
        one("\"gold\": \"1\", \"kind\": \"command\"", command);
        // Of a question that has no answer, the solution is compared with.
        let tests =
            "train/q.jsonl line 2: field \"tests\": expected a text or a list of texts, got an object";
        one("\"gold\": null, \"tests\": {}", tests);
    }

    #[test]
    fn two_questions_of_one_id_are_named_by_their_rows() {
        let own = "{\"question\": \"q\", \"answer\": 1, \"id\": 7}\n";
        check(
            [&own.repeat(2), ""],
            &[],
            "two questions have the id \"7\": train/q.jsonl line 1 and train/q.jsonl line 2",
        );
        let none = "{\"question\": \"q\", \"answer\": 1, \"id\": null}\n";
        check(
            [none, none],
            &[],
            "two questions have the id \"q-1\": train/q.jsonl line 1 and test/q.jsonl line 1",
        );
    }

    #[test]
    fn a_column_that_no_row_has_is_named_with_the_nearest() {
        let rows = "{\"question\": \"q\", \"answer\": 1, \"thought\": \"t\"}\n";
        let expected = "questions.columns.trace: no row has a column \"thougt\"; the nearest is \"thought\"";
        check([rows, ""], &[("trace", "thougt")], expected);
    }
}
