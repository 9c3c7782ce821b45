//! Sources of questions: a built-in task, or files in one of the formats of published data sets.

mod formats;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_core::{Markers, Question};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use formats::{Format, SplitChat};

use crate::tasks::{Sizes, Task};
use latrace_core::Split;
use latrace_io::failure::Failure;
use latrace_io::files::checksum;
use latrace_io::hub;
use latrace_io::rows::{BadRows, Place, Row, RowReader};

/// The source of questions, as in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A built-in task; empty: the files below.
    pub task: String,
    /// Numbers of questions of the task.
    pub sizes: Sizes,
    /// Training questions: a path or a data set on the hub, `org/name[@revision][:pattern]`; without a
    /// pattern (`*` matches any characters), its Parquet files with `train` in their names (`validation`,
    /// `test` below); empty: none.
    pub train: String,
    /// Validation questions; empty: none.
    pub validation: String,
    /// Test questions; empty: none.
    pub test: String,
    /// Format of the files' rows.
    pub format: Format,
    /// Fields that the files store under other column names: ours = theirs.
    pub columns: BTreeMap<String, String>,
    /// Verifier for rows without a `kind`.
    pub kind: String,
    /// Number of training questions, from the first on, that keep their traces; the others keep answers only.
    /// 0: all.
    pub traced: usize,
    /// Maximum number of questions of each split. 0: all.
    pub limit: usize,
    /// Seed for a task's questions.
    pub seed: u64,
}

impl Source {
    /// Checks that exactly one of task and files is given.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<()> {
        match (self.task.is_empty(), self.train.is_empty()) {
            (true, true) => {
                Err(Failure::usage("questions: expected a task or a file to train on, got neither").into())
            }
            (false, false) => {
                Err(Failure::usage("questions: expected a task or a file to train on, got both").into())
            }
            (false, true) => self.task().map(drop),
            (true, false) => Ok(()),
        }
    }

    /// The built-in task, if it is one.
    ///
    /// # Errors
    /// A name that no task has.
    pub fn task(&self) -> Result<Option<Task>> {
        if self.task.is_empty() {
            return Ok(None);
        }
        named_task("questions.task", &self.task).map(Some)
    }

    /// The files with their splits, after downloading those on the hub.
    fn files(&self) -> Result<Vec<(Split, Vec<PathBuf>)>> {
        let named = [
            (Split::Train, "train", &self.train),
            (Split::Validation, "validation", &self.validation),
            (Split::Test, "test", &self.test),
        ];
        named
            .into_iter()
            .filter(|(_, _, name)| !name.is_empty())
            .map(|(split, part, name)| Ok((split, hub::part_files(name, part)?)))
            .collect()
    }

    /// Checksums of the files, in order, after downloading those on the hub.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn checksums(&self) -> Result<Vec<String>> {
        self.files()?.iter().flat_map(|(_, paths)| paths).map(|path| checksum(path)).collect()
    }

    /// Texts of the training questions, to train a tokenizer on.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn texts(&self, markers: &Markers) -> Result<Vec<String>> {
        let text = |question: Question| {
            [Some(question.question), question.trace, question.solution, question.answer]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n")
        };
        Ok(self
            .read(markers, None)?
            .into_iter()
            .filter(|(split, _)| *split == Split::Train)
            .map(|(_, question)| text(question))
            .collect())
    }

    /// All questions with their splits, in order.
    ///
    /// # Errors
    /// Files that cannot be read; rows that are not questions, with file, row and field; a task with too few
    /// questions.
    pub fn read(&self, markers: &Markers, chat: Option<SplitChat<'_>>) -> Result<Vec<(Split, Question)>> {
        if let Some(task) = self.task()? {
            let splits = task.questions(&self.sizes, self.seed)?;
            let all = [
                (Split::Train, splits.traced),
                (Split::Train, splits.untraced),
                (Split::Validation, splits.validation),
                (Split::Test, splits.test),
            ];
            return Ok(all
                .into_iter()
                .flat_map(|(split, questions)| questions.into_iter().map(move |question| (split, question)))
                .collect());
        }
        let mut all = Vec::new();
        for (split, paths) in self.files()? {
            let mut of_split = Vec::new();
            for path in paths {
                self.read_file(&path, &mut of_split, markers, chat)?;
            }
            if split == Split::Train && self.traced > 0 {
                of_split.iter_mut().skip(self.traced).for_each(|question| question.trace = None);
            }
            all.extend(of_split.into_iter().map(|question| (split, question)));
        }
        Ok(all)
    }

    /// Adds a file's questions to those of its split, up to the limit.
    fn read_file(
        &self,
        path: &Path,
        of_split: &mut Vec<Question>,
        markers: &Markers,
        chat: Option<SplitChat<'_>>,
    ) -> Result<()> {
        let mut reader = RowReader::open(path, BadRows::Stop)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_full = |count: usize| self.limit > 0 && count >= self.limit;
        while !is_full(of_split.len())
            && let Some(question) =
                reader.next_with(|place, row| self.question(place, row, &stem, markers, chat))?
        {
            of_split.push(question);
        }
        Ok(())
    }

    fn question(
        &self,
        place: Place,
        row: Row,
        stem: &str,
        markers: &Markers,
        chat: Option<SplitChat<'_>>,
    ) -> Result<Question, latrace_io::rows::FieldProblem> {
        let mut row = self.renamed(row);
        // Without ids, a row is identified by its index, which is stable as long as the file is.
        row.entry("id").or_insert_with(|| json!(format!("{stem}-{}", place.number())));
        let mut question = self.format.question(row, markers, chat)?;
        question.kind.get_or_insert_with(|| self.kind.clone());
        Ok(question)
    }

    fn renamed(&self, mut row: Row) -> Row {
        for (ours, theirs) in &self.columns {
            if let Some(value) = row.shift_remove(theirs) {
                row.insert(ours.clone(), value);
            }
        }
        row
    }
}

/// The built-in task that a setting or option names.
///
/// # Errors
/// A name that no task has.
pub fn named_task(setting: &str, name: &str) -> Result<Task> {
    let known = || Task::ALL.map(Task::name).join(", ");
    Task::named(name).ok_or_else(|| {
        Failure::usage(format!("{setting}: expected one of {}, got \"{name}\"", known())).into()
    })
}

/// Checks that ids are unique.
///
/// # Errors
/// Names the id.
pub fn check_ids(questions: &[(Split, Question)]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    let double = questions.iter().find(|(_, question)| !seen.insert(question.id.as_str()));
    double.map_or(Ok(()), |(_, question)| {
        let failure = Failure::work(format!("two questions have the id \"{}\"", question.id));
        Err(failure.hint("ids must be unique across all splits; omit the column to number rows by file"))
            .context("cannot use the questions")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(train: &Path) -> Source {
        Source {
            task: String::new(),
            sizes: Sizes { traced: 0, untraced: 0, validation: 0, test: 0 },
            train: train.display().to_string(),
            validation: String::new(),
            test: String::new(),
            format: Format::Rows,
            columns: BTreeMap::new(),
            kind: "math".to_owned(),
            traced: 0,
            limit: 0,
            seed: 0,
        }
    }

    #[test]
    fn columns_are_renamed_and_places_name_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.jsonl");
        std::fs::write(&path, "{\"problem\": \"1 + 1\", \"answer\": \"2\", \"trace\": \"t\"}\n{\"problem\": \"2 + 2\", \"answer\": 4, \"trace\": \"u\"}\n")
            .unwrap();
        let source = Source {
            columns: BTreeMap::from([("question".to_owned(), "problem".to_owned())]),
            traced: 1,
            ..source(&path)
        };
        let read = source.read(&Markers::named("think").unwrap(), None).unwrap();
        let seen: Vec<_> = read
            .iter()
            .map(|(split, q)| {
                (*split, q.id.as_str(), q.question.as_str(), q.answer.as_deref(), q.trace.as_deref())
            })
            .collect();
        assert_eq!(
            seen,
            [
                (Split::Train, "data-1", "1 + 1", Some("2"), Some("t")),
                (Split::Train, "data-2", "2 + 2", Some("4"), None)
            ]
        );
        check_ids(&read).unwrap();
        assert!(
            check_ids(&[read[0].clone(), read[0].clone()])
                .unwrap_err()
                .chain()
                .any(|cause| cause.to_string().contains("\"data-1\""))
        );
    }

    #[test]
    fn one_source_is_named() {
        let path = Path::new("x.jsonl");
        source(path).check().unwrap();
        assert!(
            Source { task: "walk".to_owned(), ..source(path) }
                .check()
                .unwrap_err()
                .to_string()
                .contains("got both")
        );
        assert!(
            Source { train: String::new(), ..source(path) }
                .check()
                .unwrap_err()
                .to_string()
                .contains("got neither")
        );
        assert!(
            Source { task: "wlak".to_owned(), train: String::new(), ..source(path) }
                .check()
                .unwrap_err()
                .to_string()
                .contains("walk, countdown, arithmetic")
        );
    }
}
