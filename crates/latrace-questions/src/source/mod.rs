//! Sources of questions: a built-in task, or files in one of the formats of published data sets.

mod answer_rule;
mod field_sources;
mod formats;
mod kinds;
mod limit;
mod program_tests;
mod questions;
mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use latrace_core::random::stream;
use latrace_core::{Markers, Question};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

pub use answer_rule::AnswerRule;
pub use field_sources::check_column;
pub use formats::{Format, RenderChat, conversation_prompt, field_synonyms};
pub use kinds::KindBy;
pub use limit::{QuestionLimit, SplitLimits};
pub use program_tests::{TestCounts, TestSource};
pub use questions::Questions;
pub use reference::{is_code, reference};

use crate::hints::{HintKind, set_hints};
use crate::query::{KINDS, is_kind};
use crate::tasks::{Sizes, Splits, Task};
use field_sources::FieldSources;
use kinds::KindRules;
use latrace_core::Split;
use latrace_io::failure::Failure;
use latrace_io::files::checksum;
use latrace_io::hub;
use latrace_io::rows::{BadRows, FieldProblem, Place, Row, RowReader, field};
use latrace_io::settings::{nearest, unknown_key};
use program_tests::TestKey;
use questions::Origin;

/// The source of questions, as in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A built-in task; empty: the files below.
    pub task: String,
    /// What the questions of files mean, in at most two sentences, for readers of the report. A task says so itself.
    pub about: String,
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
    /// Fields that the files store under other column names: ours = theirs, or a template of their columns.
    pub columns: BTreeMap<String, String>,
    /// What of the `answer` column is the reference answer.
    pub answer_rule: AnswerRule,
    /// Verifier for rows without a `kind`.
    pub kind: String,
    /// Verifiers for rows without a `kind`, by what the row's `source` (or else its id) begins with.
    pub kinds: BTreeMap<String, String>,
    /// Verifiers for rows that this still leaves without one, by what the question begins with.
    pub question_kinds: BTreeMap<String, String>,
    /// Where the tests of programs are, if not in the rows.
    pub tests: TestSource,
    /// Number of training questions, from the first on, that keep their traces; the others keep answers only.
    /// 0: all.
    pub traced: usize,
    /// Maximum number of questions of each split. 0: all.
    pub limit: QuestionLimit,
    /// Whether the rows of a split are shuffled before the limit is applied.
    pub shuffle: bool,
    /// Which hint a training question gets.
    pub hint: HintKind,
    /// The share of a partial hint's words, or of the questions with a noisy hint that get another's.
    pub hint_share: f64,
    /// Seed for a task's questions, for the order of shuffled rows, and for drawn hints.
    pub seed: u64,
}

impl Source {
    /// Checks that exactly one of task and files is given.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.hint_share) {
            let message =
                format!("questions.hint_share: expected a share in [0, 1], got {}", self.hint_share);
            return Err(Failure::usage(message).into());
        }
        self.check_names()?;
        let got = match (self.task.is_empty(), self.train.is_empty()) {
            (true, true) => "neither",
            (false, false) => "both",
            (false, true) => return self.check_task(),
            (true, false) => return self.check_rows(),
        };
        Err(Failure::usage(format!("questions: expected a task or a file to train on, got {got}")).into())
    }

    /// Checks that a task has no settings of files, which would do nothing.
    fn check_task(&self) -> Result<()> {
        self.task()?;
        let set = [("shuffle", self.shuffle), ("answer_rule", !self.answer_rule.is_as_is())];
        match set.into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((setting, _)) => {
                let message =
                    format!("questions.{setting}: expected files of questions, got the task {}", self.task);
                Err(Failure::usage(message)
                    .hint("a built-in task draws its questions with questions.seed")
                    .into())
            }
        }
    }

    /// Checks the settings of how the rows of files are read.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check_rows(&self) -> Result<()> {
        self.check_names()?;
        if self.format == Format::Gsm8k && !self.answer_rule.is_as_is() {
            let message =
                "questions.answer_rule: expected as-is with the format gsm8k, which cuts answers itself";
            return Err(Failure::usage(message).into());
        }
        FieldSources::new(&self.columns)?;
        self.tests.check()
    }

    /// Checks names of fields and of verifiers.
    fn check_names(&self) -> Result<()> {
        check_kind("questions.kind", &self.kind)?;
        for (table, kinds) in [("kinds", &self.kinds), ("question_kinds", &self.question_kinds)] {
            let setting = |beginning| format!("questions.{table}.\"{beginning}\"");
            kinds.iter().try_for_each(|(beginning, kind)| check_kind(&setting(beginning), kind))?;
        }
        self.check_columns()
    }

    /// A column that no field is read from would silently do nothing.
    fn check_columns(&self) -> Result<()> {
        let fields = self.format.fields();
        // The field by which tests are found is read, whatever it is called.
        let is_read = |name: &&String| fields.contains(&name.as_str()) || self.tests.is_keyed_by(name);
        match self.columns.keys().find(|name| !is_read(name)) {
            None => Ok(()),
            Some(name) => Err(unknown_key(&format!("questions.columns.{name}"), &fields).into()),
        }
    }

    /// The source as the keys of stages hold it: settings that are younger than the first keys are in them only where
    /// they say something, so that a run from before keeps its stages.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn in_key<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = json!(self);
        if let Value::Object(fields) = &mut value {
            let younger = [("answer_rule", json!(AnswerRule::AsIs)), ("shuffle", json!(false))];
            // What only the report says is no part of the work.
            fields.remove("about");
            fields.retain(|name, value| !younger.contains(&(name.as_str(), value.clone())));
        }
        value.serialize(serializer)
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
        let given = named.into_iter().filter(|(.., name)| !name.is_empty());
        given.map(|(split, part, name)| Ok((split, hub::part_files(name, part)?))).collect()
    }

    /// Checksums of the files, in order, after downloading those on the hub.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn checksums(&self) -> Result<Vec<String>> {
        let questions = self.files()?.into_iter().flat_map(|(_, paths)| paths);
        questions.chain(self.tests.files()?).map(|path| checksum(&path)).collect()
    }

    /// Texts of the training questions, to train a tokenizer on.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn texts(&self, markers: &Markers) -> Result<Vec<String>> {
        let questions = self.read_own(markers, None)?.all.into_iter();
        // Text of the validation or test split in the tokenizer's training data would leak into the model.
        let training = questions.filter(|(split, _)| *split == Split::Train);
        Ok(training.map(|(_, question)| text_of(question)).collect())
    }

    /// All questions with their splits, in order.
    ///
    /// # Errors
    /// Files that cannot be read; rows that are not questions, with file, row and field; a column that no row has; two
    /// questions of one id; a task with too few questions.
    pub fn read(&self, markers: &Markers, chat: Option<RenderChat<'_>>) -> Result<Questions> {
        let OwnQuestions { mut all, origins, counts } = self.read_own(markers, chat)?;
        set_hints(&mut all, self.hint, self.hint_share, self.seed);
        Questions::new(all, origins, counts, self.columns.clone())
    }

    /// All questions, with their own hints, and the rows that they come from.
    fn read_own(&self, markers: &Markers, chat: Option<RenderChat<'_>>) -> Result<OwnQuestions> {
        match self.task()? {
            Some(task) => Ok(OwnQuestions {
                all: in_order(task.questions(&self.sizes, self.seed)?),
                ..OwnQuestions::default()
            }),
            None => self.read_files(&Reading { markers, chat, fields: FieldSources::new(&self.columns)? }),
        }
    }

    fn read_files(&self, reading: &Reading<'_>) -> Result<OwnQuestions> {
        let mut all = Vec::new();
        for (split, paths) in self.files()? {
            let mut of_split = self.read_split(split, &paths, reading)?;
            if split == Split::Train && self.traced > 0 {
                // Dropped after reading, so that the same questions are trained on for every value of it.
                of_split.iter_mut().skip(self.traced).for_each(|read| read.question.trace = None);
            }
            all.extend(of_split.into_iter().map(|read| (split, read)));
        }
        reading.fields.check_found()?;
        let mut counts = RowCounts::default();
        all.iter().for_each(|(_, read)| counts.add_kind(read));
        let keyed = all.iter_mut().map(|(_, read)| (&mut read.question, read.test_key.take()));
        counts.tests = self.tests.join(keyed.collect())?;
        let (all, origins) =
            all.into_iter().map(|(split, read)| ((split, read.question), read.origin)).unzip();
        Ok(OwnQuestions { all, origins, counts })
    }

    /// The questions of a split's files, in their order or shuffled, up to the limit.
    fn read_split(
        &self,
        split: Split,
        paths: &[PathBuf],
        reading: &Reading<'_>,
    ) -> Result<Vec<ReadQuestion>> {
        let limit = self.limit.of(split).unwrap_or(usize::MAX);
        // Any row may be among the first after a shuffle.
        let most = if self.shuffle { usize::MAX } else { limit };
        let mut of_split = Vec::new();
        for path in paths {
            self.read_file(path, (split, most), &mut of_split, reading)?;
        }
        if self.shuffle {
            // By a number of each question's own: which are drawn does not depend on the order of the rows.
            of_split.sort_by_cached_key(|read| stream(self.seed, "shuffle", &read.question.id, 0));
            of_split.truncate(limit);
        }
        Ok(of_split)
    }

    /// Adds a file's questions to those of its split, up to `most` in all.
    fn read_file(
        &self,
        path: &Path,
        (split, most): (Split, usize),
        of_split: &mut Vec<ReadQuestion>,
        reading: &Reading<'_>,
    ) -> Result<()> {
        let mut reader = RowReader::open(path, BadRows::Stop)?;
        let file: Arc<Path> = path.into();
        // The limit is tested before a row is read, so that a huge file is read no further than needed.
        while of_split.len() < most {
            let position = (split == Split::Train).then_some(of_split.len());
            let parse = |place, row| {
                let read = self.question((&file, place), row, position, reading);
                read.map_err(|problem| problem.in_columns(&self.columns))
            };
            let Some(question) = reader.next_with(parse)? else { break };
            of_split.push(question);
        }
        Ok(())
    }

    /// Calls `visit` with the text of each question of a file, and reads nothing else of it: rows of an evaluation set
    /// need have no answers.
    ///
    /// # Errors
    /// A file that cannot be read; rows without a question.
    pub fn each_text(&self, path: &Path, mut visit: impl FnMut(&str)) -> Result<()> {
        let mut reader = RowReader::open(path, BadRows::Stop)?;
        let fields = FieldSources::new(&self.columns)?;
        while let Some(text) = reader.next_with(|_, row| formats::question_text(&fields.read(row)?))? {
            visit(&text);
        }
        Ok(())
    }

    fn question(
        &self,
        (file, place): (&Arc<Path>, Place),
        row: Row,
        position: Option<usize>,
        reading: &Reading<'_>,
    ) -> Result<ReadQuestion, FieldProblem> {
        let mut row = reading.fields.read(row)?;
        let test_key = self.tests.key(&row, position);
        let own_id = row.get("id").and_then(Value::as_str).map(str::to_owned);
        let origin = Origin {
            file: Arc::clone(file),
            place,
            has_id: field(&row, "id").is_some(),
            has_answer: row.contains_key("answer"),
        };
        if !origin.has_id {
            // By its index, which is stable as long as the file is.
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            row.insert("id".to_owned(), json!(format!("{stem}-{}", place.number())));
        }
        let mut question = self.format.question(row, reading.markers, reading.chat)?;
        if let Some(text) = &question.answer {
            question.answer = Some(self.answer_rule.answer(text)?.to_owned());
        }
        let rules = KindRules { sources: &self.kinds, questions: &self.question_kinds, default: &self.kind };
        let (kind, kind_by) = rules.kind(&question, own_id.as_deref());
        question.kind = Some(kind);
        Ok(ReadQuestion { question, origin, kind_by, test_key })
    }
}

/// The questions of a source before hints are set.
#[derive(Default)]
struct OwnQuestions {
    all: Vec<(Split, Question)>,
    /// Those of files.
    origins: Vec<Origin>,
    counts: RowCounts,
}

/// A question, with what is known of its row.
struct ReadQuestion {
    question: Question,
    origin: Origin,
    kind_by: KindBy,
    test_key: TestKey,
}

/// How the rows of files were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Questions of each kind, by what decided it.
    pub kinds: BTreeMap<String, BTreeMap<KindBy, u64>>,
    /// Tests of programs.
    pub tests: TestCounts,
}

impl RowCounts {
    fn add_kind(&mut self, read: &ReadQuestion) {
        let kind = read.question.kind.clone().unwrap_or_default();
        *self.kinds.entry(kind).or_default().entry(read.kind_by).or_default() += 1;
    }

    /// Logs what a reader may not expect: kinds that no row states, and programs without tests.
    pub fn log(&self) {
        for (kind, counts) in &self.kinds {
            for (by, what) in [(KindBy::Source, "source"), (KindBy::Question, "question")] {
                if let Some(count) = counts.get(&by) {
                    tracing::info!("{count} questions are of kind {kind} by how their {what} begins");
                }
            }
        }
        let TestCounts { own, joined, none, unmatched } = self.tests;
        if joined + unmatched > 0 {
            tracing::info!(
                "{joined} programs have tests from questions.tests; {unmatched} rows there belong to no question"
            );
        }
        if none > 0 {
            let all = own + joined + none;
            tracing::warn!(
                "{none} of {all} questions of kind code have no tests, and so no verifier: weights.fallbacks says what becomes of them"
            );
        }
    }
}

/// What turns rows into questions.
struct Reading<'a> {
    markers: &'a Markers,
    chat: Option<RenderChat<'a>>,
    fields: FieldSources,
}

/// All text of a question, for training a tokenizer.
fn text_of(question: Question) -> String {
    let texts = [Some(question.question), question.trace, question.solution, question.answer];
    texts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// The questions of a task. Those with traces come first, so that [`Source::traced`] means the same for tasks
/// and files.
fn in_order(splits: Splits) -> Vec<(Split, Question)> {
    let Splits { traced, untraced, validation, test } = splits;
    let train = traced.into_iter().chain(untraced).map(|question| (Split::Train, question));
    let validation = validation.into_iter().map(|question| (Split::Validation, question));
    train.chain(validation).chain(test.into_iter().map(|question| (Split::Test, question))).collect()
}

/// The built-in task that a setting or option names.
///
/// # Errors
/// A name that no task has.
pub fn named_task(setting: &str, name: &str) -> Result<Task> {
    Ok(Task::named(name).ok_or_else(|| unknown_task(setting, name))?)
}

fn unknown_task(setting: &str, name: &str) -> Failure {
    let names = Task::ALL.map(Task::name);
    let (known, nearest) = (names.join(", "), nearest(name, &names).unwrap_or_default());
    Failure::usage(format!(
        "{setting}: expected one of {known}, got \"{name}\"; the nearest is \"{nearest}\""
    ))
}

fn check_kind(setting: &str, kind: &str) -> Result<()> {
    if is_kind(kind) {
        return Ok(());
    }
    let (known, nearest) = (KINDS.join(", "), nearest(kind, &KINDS).unwrap_or_default());
    let message = format!(
        "{setting}: expected one of {known}, or a built-in task, got \"{kind}\"; the nearest is \"{nearest}\""
    );
    Err(Failure::usage(message).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn source(train: &Path) -> Source {
        Source {
            hint: HintKind::Own,
            hint_share: 0.5,
            task: String::new(),
            about: String::new(),
            sizes: Sizes { traced: 0, untraced: 0, validation: 0, test: 0 },
            train: train.display().to_string(),
            validation: String::new(),
            test: String::new(),
            format: Format::Rows,
            columns: BTreeMap::new(),
            answer_rule: AnswerRule::AsIs,
            kind: "math".to_owned(),
            kinds: BTreeMap::new(),
            question_kinds: BTreeMap::new(),
            tests: TestSource::default(),
            traced: 0,
            limit: QuestionLimit::Each(0),
            shuffle: false,
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
        let read = source.read(&Markers::named("think").unwrap(), None).unwrap().all;
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
                .contains("walk, countdown, arithmetic, graph, latin")
        );
    }

    /// A file of numbered questions with traces, of a kind of their own where there is one.
    fn file(folder: &Path, name: &str, count: usize, kind: Option<&str>) -> String {
        let path = folder.join(format!("{name}.jsonl"));
        let row = |number: usize| {
            let mut row = json!({"question": format!("{name} {number}"), "answer": "2", "trace": "t"});
            if let Some(kind) = kind {
                row["kind"] = json!(kind);
            }
            format!("{row}\n")
        };
        std::fs::write(&path, (1..=count).map(row).collect::<String>()).unwrap();
        path.display().to_string()
    }

    #[test]
    fn every_split_is_read_up_to_the_limit_and_training_traces_up_to_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let split = |name: &str| file(folder.path(), name, 4, (name == "test").then_some("text"));
        let source = Source {
            validation: split("validation"),
            test: split("test"),
            limit: QuestionLimit::Each(3),
            traced: 2,
            ..source(Path::new(&split("train")))
        };
        let markers = Markers::named("think").unwrap();
        let seen: Vec<_> = source.read(&markers, None).unwrap().all;
        let of = |wanted: Split| {
            let of_split = seen.iter().filter(|(split, _)| *split == wanted);
            let fields = |(_, question): &(Split, Question)| {
                (question.id.clone(), question.trace.is_some(), question.kind.clone().unwrap())
            };
            of_split.map(fields).collect::<Vec<_>>()
        };
        let expected = |name: &str, traced: [bool; 3], kind: &str| {
            let question =
                |(number, is_traced): (usize, bool)| (format!("{name}-{number}"), is_traced, kind.to_owned());
            (1..).zip(traced).map(question).collect::<Vec<_>>()
        };
        assert_eq!(of(Split::Train), expected("train", [true, true, false], "math"));
        assert_eq!(of(Split::Validation), expected("validation", [true; 3], "math"));
        assert_eq!(of(Split::Test), expected("test", [true; 3], "text"));
        assert_eq!(source.checksums().unwrap().len(), 3);
    }

    /// Ids of the questions of each split, in the order in which they are read.
    fn ids(source: &Source) -> [Vec<String>; 3] {
        let read = source.read(&Markers::named("think").unwrap(), None).unwrap().all;
        let of = |split: Split| {
            let of_split = read.iter().filter(|(its, _)| *its == split);
            of_split.map(|(_, question)| question.id.clone()).collect()
        };
        Split::ALL.map(of)
    }

    #[test]
    fn splits_have_limits_of_their_own_and_an_order_by_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let of_folder = |name: &str, count| file(folder.path(), name, count, None);
        let ordered = Source {
            test: of_folder("test", 9),
            limit: serde_json::from_value(json!({"train": 4, "test": 2})).unwrap(),
            ..source(Path::new(&of_folder("train", 40)))
        };
        let [train, _, test] = ids(&ordered);
        assert_eq!(train, ["train-1", "train-2", "train-3", "train-4"]);
        assert_eq!(test, ["test-1", "test-2"]);
        let shuffled = Source { shuffle: true, ..ordered.clone() };
        let [drawn, _, tested] = ids(&shuffled);
        assert_eq!((drawn.len(), tested.len()), (4, 2));
        assert_ne!(drawn, train, "drawn from all rows, not from the first");
        assert_eq!(ids(&shuffled), [drawn.clone(), Vec::new(), tested]);
        assert_ne!(ids(&Source { seed: 1, ..shuffled.clone() })[0], drawn);
        // A smaller limit takes the first of the same order.
        let fewer = serde_json::from_value(json!({"train": 2})).unwrap();
        assert_eq!(ids(&Source { limit: fewer, ..shuffled.clone() })[0], drawn[..2]);
        // The first of that order keep their traces.
        let traced = Source { traced: 1, ..shuffled };
        let read = traced.read(&Markers::named("think").unwrap(), None).unwrap().all;
        let with_trace =
            read.iter().filter(|(split, question)| *split == Split::Train && question.trace.is_some());
        assert_eq!(
            with_trace.map(|(_, question)| question.id.as_str()).collect::<Vec<_>>(),
            [drawn[0].as_str()]
        );
    }

    #[test]
    fn keys_hold_the_younger_settings_only_where_they_say_something() {
        #[derive(Serialize)]
        struct Key {
            #[serde(serialize_with = "Source::in_key")]
            source: Source,
        }
        let key = |source: Source| serde_json::to_value(Key { source }).unwrap()["source"].clone();
        let source = source(Path::new("x.jsonl"));
        let before = key(source.clone());
        assert_eq!((&before["limit"], &before["seed"]), (&json!(0), &json!(0)));
        assert!(
            ["shuffle", "answer_rule", "about"].iter().all(|name| before.get(name).is_none()),
            "{before}"
        );
        assert_eq!(key(Source { about: "Sums.".to_owned(), ..source.clone() }), before);
        let changed = key(Source { shuffle: true, answer_rule: AnswerRule::WithoutUnits, ..source });
        assert_eq!((&changed["shuffle"], &changed["answer_rule"]), (&json!(true), &json!("without-units")));
    }

    #[test]
    fn rows_as_published_are_joined_and_their_answers_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("asdiv.jsonl");
        let rows = [
            json!({"body": "Two here, three there.", "question": "How many apples?", "answer": "5 (apples)", "idx": 4}),
            json!({"body": "It is 5.", "question": "What is it?", "answer": null, "idx": 5}),
        ];
        std::fs::write(&path, rows.map(|row| format!("{row}\n")).concat()).unwrap();
        let columns = [("question", "{{ body }} {{ question }}"), ("id", "idx")];
        let source = Source {
            columns: columns.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())).into(),
            answer_rule: AnswerRule::WithoutUnits,
            ..source(&path)
        };
        source.check().unwrap();
        let read = source.read(&Markers::named("think").unwrap(), None).unwrap().all;
        let question = &read[0].1;
        assert_eq!((question.id.as_str(), question.answer.as_deref()), ("4", Some("5")));
        assert_eq!(question.question, "Two here, three there. How many apples?");
        assert_eq!(read[1].1.answer, None);
        let mut texts = Vec::new();
        source.each_text(&path, |text| texts.push(text.to_owned())).unwrap();
        assert_eq!(texts[1], "It is 5. What is it?");
        let hashes = Source { answer_rule: AnswerRule::AfterHashes, ..source };
        let error = format!("{:#}", hashes.read(&Markers::named("think").unwrap(), None).unwrap_err());
        assert!(
            error.contains("asdiv.jsonl") && error.contains("line 1") && error.contains("\"answer\""),
            "{error}"
        );
    }

    #[test]
    fn settings_of_files_are_refused_where_they_would_do_nothing() {
        let refused = |source: Source, expected: &str| {
            let error = source.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let path = Path::new("x.jsonl");
        let task = Source { task: "walk".to_owned(), train: String::new(), ..source(path) };
        let shuffled = Source { shuffle: true, ..task.clone() };
        refused(shuffled, "questions.shuffle: expected files of questions, got the task walk");
        let cut = Source { answer_rule: AnswerRule::AfterHashes, ..task };
        refused(cut.clone(), "questions.answer_rule: expected files of questions");
        let gsm8k = Source { format: Format::Gsm8k, task: String::new(), train: "x.jsonl".to_owned(), ..cut };
        refused(gsm8k, "expected as-is with the format gsm8k");
        let columns = BTreeMap::from([("question".to_owned(), "{{ a".to_owned())]);
        refused(Source { columns, ..source(path) }, "questions.columns.question");
    }

    #[test]
    fn a_tokenizer_is_trained_on_no_held_out_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "train", 2, None);
        let source = Source { test: file(folder.path(), "test", 2, None), ..source(Path::new(&path)) };
        let texts = source.texts(&Markers::named("think").unwrap()).unwrap();
        assert_eq!(texts, ["train 1\nt\n2", "train 2\nt\n2"]);
    }

    #[test]
    fn a_tasks_questions_with_traces_come_first() {
        let sizes = Sizes { traced: 3, untraced: 4, validation: 1, test: 2 };
        let source = Source {
            task: "walk".to_owned(),
            train: String::new(),
            sizes,
            traced: 1,
            ..source(Path::new("x"))
        };
        let questions = source.read(&Markers::named("plain").unwrap(), None).unwrap().all;
        let splits: Vec<Split> = questions.iter().map(|(split, _)| *split).collect();
        assert_eq!(splits[..7], [Split::Train; 7]);
        assert_eq!(splits[7..], [Split::Validation, Split::Test, Split::Test]);
        let traced: Vec<bool> = questions.iter().map(|(_, question)| question.trace.is_some()).collect();
        assert_eq!(traced[..7], [true, true, true, false, false, false, false]);
    }
}
