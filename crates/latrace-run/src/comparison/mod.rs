//! Compares models: one table over models and benchmarks, and paired differences by question.

mod across;
mod bands;
mod pairs;
mod pass;
mod recount;
mod sources;

use std::collections::BTreeMap;
use std::iter;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

pub use across::{AcrossRuns, across_runs};
pub use pairs::{Pair, SEED};
pub use pass::PassLine;
pub use sources::ResultSource;

use crate::diagnostics::MethodCost;
use latrace_io::text_table::{self, percent, range};
use latrace_objective::statistics::Accuracy;

/// A model's results on a benchmark.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The model's display name.
    pub model: String,
    /// The display name without its folder prefix, if it has one.
    pub name: String,
    /// The folder that the results come from.
    pub folder: PathBuf,
    /// The benchmark's display name.
    pub benchmark: String,
    /// Responses per question, if known.
    pub k: Option<usize>,
    /// On all questions.
    pub overall: Accuracy,
    /// On each subset.
    pub by_subset: BTreeMap<String, Accuracy>,
    /// Mean number of different right answers to a question, if known.
    pub distinct_right: Option<f64>,
    /// What it took, in each of the runs that it is of; empty where no run says so.
    pub costs: Vec<MethodCost>,
    /// Which columns are shown.
    pub shows: Shows,
    /// Where its per-question results are.
    pub questions: ResultSource,
}

impl Entry {
    /// By either name: a run's models are shown with their folder, which nobody wants to type.
    fn is_named(&self, name: &str) -> bool {
        self.model == name || self.name == name
    }
}

/// The columns of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// One for all questions.
    Overall,
    /// One for each subset.
    Subsets,
    /// One for all, and one for each subset.
    Both,
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComparedColumn {
    /// The benchmark.
    pub benchmark: String,
    /// A subset of it; `None` for all questions.
    pub subset: Option<String>,
    /// Responses per question, if the same for all models of the column.
    pub k: Option<usize>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedLine {
    /// The model.
    pub model: String,
    /// By column; `None` if the model was not evaluated on it.
    pub cells: Vec<Option<Accuracy>>,
    /// What a run of it took, on average; `None` if no run says so.
    pub cost: Option<MethodCost>,
}

/// A comparison of models.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The columns of the table.
    pub columns: Vec<ComparedColumn>,
    /// The models.
    pub rows: Vec<ComparedLine>,
    /// For each benchmark, one model against every other.
    pub paired: Vec<Pair>,
    /// Pairs that could not be compared question by question, and why.
    pub unpaired: Vec<String>,
    /// pass@k and different right answers, if asked for.
    pub pass: Vec<PassLine>,
}

/// What to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparisonOptions {
    /// Pool models of the same name.
    pub pooled: bool,
    /// Subsets to restrict questions to; empty: all.
    pub only: Vec<String>,
    /// The model to compare the others with; `None`: the first of each benchmark.
    pub against: Option<String>,
    /// The model by whose accuracy questions are divided, in place of their subsets.
    pub by: Option<String>,
    /// Whether pass@k is computed.
    pub pass: bool,
}

/// Compares the results in the folders: evaluations, folders of evaluations, runs.
///
/// # Errors
/// A folder that is none of these or is unfinished; an option that matches nothing in them.
pub fn compare(folders: &[PathBuf], choice: &ComparisonOptions) -> Result<Comparison> {
    let read = read(folders)?;
    // Of each run on its own: samples of several models are not those of one.
    let pass = if choice.pass { pass::lines(&read, choice.pooled)? } else { Vec::new() };
    let mut entries = chosen(read, choice)?;
    // Before names identify rows: two models of one name would otherwise share a row.
    tell_apart(&mut entries);
    let columns = columns(&entries);
    let models = distinct(entries.iter().map(|entry| &entry.model));
    let rows = models.into_iter().map(|model| line(&entries, model, &columns)).collect();
    let (paired, unpaired) = pairs::pairs(&entries, choice.against.as_deref())?;
    Ok(Comparison { columns, rows, paired, unpaired, pass })
}

fn read(folders: &[PathBuf]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for folder in folders {
        entries.extend(sources::read(folder)?);
    }
    Ok(entries)
}

/// The results, pooled and restricted as asked. Pooling comes first, so that a subset that only some of the pooled runs have
/// is not missing.
fn chosen(mut entries: Vec<Entry>, choice: &ComparisonOptions) -> Result<Vec<Entry>> {
    if choice.pooled {
        entries = recount::pool(entries)?;
    }
    if let Some(name) = &choice.by {
        entries = bands::by_model(entries, name)?;
    }
    if choice.only.is_empty() { Ok(entries) } else { recount::keep(entries, &choice.only) }
}

/// Each name once, in order of its first appearance: the order of the folders on the command line.
fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Adds the folder to the names of models that were evaluated twice on the same benchmark, to tell them
/// apart.
fn tell_apart(entries: &mut [Entry]) {
    // All clashes are found before the first name changes: a renamed entry clashes with none.
    let clashing: Vec<bool> =
        entries.iter().map(|entry| entries.iter().any(|other| clash(entry, other))).collect();
    for (entry, _) in entries.iter_mut().zip(clashing).filter(|(_, clashes)| *clashes) {
        entry.model = format!("{} ({})", entry.model, entry.folder.display());
    }
}

fn clash(one: &Entry, other: &Entry) -> bool {
    one.model == other.model && one.benchmark == other.benchmark && one.folder != other.folder
}

fn columns(entries: &[Entry]) -> Vec<ComparedColumn> {
    let benchmarks = distinct(entries.iter().map(|entry| &entry.benchmark));
    benchmarks.into_iter().flat_map(|benchmark| columns_of(benchmark, entries)).collect()
}

/// A benchmark's columns: all that any of its models shows.
fn columns_of(benchmark: &str, entries: &[Entry]) -> Vec<ComparedColumn> {
    let of: Vec<&Entry> = entries.iter().filter(|entry| entry.benchmark == benchmark).collect();
    let k = common_k(&of);
    let column = |subset| ComparedColumn { benchmark: benchmark.to_owned(), subset, k };
    let overall = shows(&of, Shows::Overall).then_some(None);
    let subsets = if shows(&of, Shows::Subsets) { subsets(&of) } else { Vec::new() };
    overall.into_iter().chain(subsets.into_iter().map(Some)).map(column).collect()
}

fn shows(entries: &[&Entry], wanted: Shows) -> bool {
    entries.iter().any(|entry| [wanted, Shows::Both].contains(&entry.shows))
}

/// Responses per question, if all models have the same number of them.
fn common_k(entries: &[&Entry]) -> Option<usize> {
    let first = entries.first()?.k?;
    entries.iter().all(|entry| entry.k == Some(first)).then_some(first)
}

/// The subsets of a benchmark, from easy to hard, then by name.
fn subsets(entries: &[&Entry]) -> Vec<String> {
    let mut subsets: Vec<&String> = entries.iter().flat_map(|entry| entry.by_subset.keys()).collect();
    subsets.sort_by_key(|subset| (difficulty(subset), *subset));
    // Sorted, the same subset of several models is adjacent.
    subsets.dedup();
    subsets.into_iter().cloned().collect()
}

/// Sort key of a subset, before its name: easy, medium, hard. Names that are not difficulties all get 0.
fn difficulty(subset: &str) -> usize {
    ["easy", "medium", "hard"].iter().position(|name| name.eq_ignore_ascii_case(subset)).unwrap_or(0)
}

fn line(entries: &[Entry], model: &str, columns: &[ComparedColumn]) -> ComparedLine {
    let cells = columns.iter().map(|column| cell(entries, model, column)).collect();
    let costs = entries.iter().filter(|entry| entry.model == model).flat_map(|entry| &entry.costs);
    ComparedLine { model: model.to_owned(), cells, cost: MethodCost::mean(costs) }
}

fn cell(entries: &[Entry], model: &str, column: &ComparedColumn) -> Option<Accuracy> {
    let entry = entries.iter().find(|entry| entry.model == model && entry.benchmark == column.benchmark)?;
    match &column.subset {
        None => Some(entry.overall),
        Some(subset) => entry.by_subset.get(subset).copied(),
    }
}

/// How the table's intervals are made.
const INTERVALS: &str = "Accuracy in percent, with its 95 % interval by bootstrap over questions.\n";

impl Comparison {
    /// The comparison as Markdown.
    pub fn markdown(&self) -> String {
        let mut parts = vec![self.table(), INTERVALS.to_owned()];
        if !self.paired.is_empty() {
            parts.push(pairs::markdown(&self.paired));
        }
        if !self.pass.is_empty() {
            parts.push(pass::markdown(&self.pass));
        }
        let unpaired = self.unpaired.iter();
        parts.extend(unpaired.map(|reason| format!("Not compared question by question: {reason}.\n")));
        parts.join("\n")
    }

    fn table(&self) -> String {
        let mut header: Vec<String> =
            iter::once("model".to_owned()).chain(self.columns.iter().map(ComparedColumn::heading)).collect();
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(ComparedLine::row).collect();
        if self.rows.iter().any(|line| line.cost.is_some()) {
            header.extend(["tokens drawn", "tokens trained", "seconds"].map(str::to_owned));
            rows.iter_mut().zip(&self.rows).for_each(|(row, line)| row.extend(line.cost_cells()));
        }
        text_table::markdown(&header, &rows)
    }
}

impl ComparedColumn {
    fn heading(&self) -> String {
        let subset = self.subset.as_ref().map_or(String::new(), |subset| format!(" {subset}"));
        let average = self.k.map_or(String::new(), |k| format!(" avg@{k}"));
        format!("{}{subset}{average}", self.benchmark)
    }
}

impl ComparedLine {
    fn row(&self) -> Vec<String> {
        iter::once(self.model.clone()).chain(self.cells.iter().map(shown)).collect()
    }

    fn cost_cells(&self) -> [String; 3] {
        let Some(MethodCost { tokens_drawn, tokens_trained, seconds }) = self.cost else {
            return ["–"; 3].map(str::to_owned);
        };
        [tokens_drawn.to_string(), tokens_trained.to_string(), format!("{seconds:.0}")]
    }
}

fn shown(cell: &Option<Accuracy>) -> String {
    let Some(Accuracy { accuracy, low, high, .. }) = cell else { return "–".to_owned() };
    format!("{} ({})", percent(*accuracy), range(*low, *high))
}

#[cfg(test)]
mod tests {
    use latrace_objective::statistics::Tally;

    use super::sources::QuestionOutcome;
    use super::*;

    fn accuracy(accuracy: f64) -> Accuracy {
        Accuracy { accuracy, low: accuracy - 0.1, high: accuracy + 0.1, questions: 10, samples: 20 }
    }

    fn entry(model: &str, benchmark: &str, folder: &str, k: usize) -> Entry {
        let by_subset =
            ["easy", "hard", "medium"].into_iter().map(|name| (name.to_owned(), accuracy(0.5))).collect();
        let (model, benchmark, folder) = (model.to_owned(), benchmark.to_owned(), PathBuf::from(folder));
        let questions = ResultSource::Evaluation(folder.clone());
        Entry {
            name: model.clone(),
            model,
            folder,
            benchmark,
            k: Some(k),
            overall: accuracy(0.25),
            by_subset,
            distinct_right: None,
            costs: Vec::new(),
            shows: Shows::Overall,
            questions,
        }
    }

    #[test]
    fn columns_are_benchmarks_and_subsets_from_easy_to_hard() {
        let entries = [
            entry("a", "B1", "x", 2),
            Entry { shows: Shows::Subsets, ..entry("a", "B2", "y", 8) },
            entry("b", "B1", "z", 4),
        ];
        let columns = columns(&entries);
        let names: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {:?} {:?}", column.benchmark, column.subset, column.k))
            .collect();
        assert_eq!(
            names,
            [
                "B1 None None",
                "B2 Some(\"easy\") Some(8)",
                "B2 Some(\"medium\") Some(8)",
                "B2 Some(\"hard\") Some(8)"
            ]
        );
        assert_eq!(cell(&entries, "b", &columns[0]), Some(accuracy(0.25)));
        assert_eq!(cell(&entries, "b", &columns[1]), None);
    }

    #[test]
    fn models_of_one_name_are_told_apart_by_their_folders() {
        let mut entries = [entry("a", "B1", "x", 2), entry("a", "B1", "y", 2), entry("a", "B2", "z", 2)];
        tell_apart(&mut entries);
        assert_eq!(entries.map(|entry| entry.model), ["a (x)", "a (y)", "a"]);
    }

    /// The results of a model: each question's text, subset, right responses and all.
    fn results(questions: &[(&str, &str, &str, usize, usize)]) -> ResultSource {
        let outcome = |&(id, question, subset, right, samples): &(&str, &str, &str, usize, usize)| {
            let (question, subset) = (question.to_owned(), Some(subset.to_owned()));
            (id.to_owned(), QuestionOutcome { question, subset, tally: Tally { right, samples } })
        };
        ResultSource::Counted(questions.iter().map(outcome).collect())
    }

    fn with_results(model: &str, folder: &str, questions: &[(&str, &str, &str, usize, usize)]) -> Entry {
        Entry { questions: results(questions), shows: Shows::Both, ..entry(model, "B1", folder, 4) }
    }

    #[test]
    fn a_model_is_compared_with_the_first_or_the_named_one() {
        let entries = [
            with_results("a", "x", &[("1", "p", "easy", 1, 4), ("2", "q", "hard", 0, 4)]),
            with_results("b", "y", &[("1", "p", "easy", 4, 4), ("2", "q", "hard", 1, 4)]),
        ];
        let pairs_of = |against: Option<&str>| {
            let (pairs, unpaired) = pairs::pairs(&entries, against).unwrap();
            assert_eq!(unpaired, [""; 0]);
            let names = |pair: &Pair| (pair.first.clone(), pair.second.clone(), pair.paired.difference.mean);
            (pairs.iter().map(names).collect::<Vec<_>>(), pairs::markdown(&pairs))
        };
        let (found, table) = pairs_of(None);
        assert_eq!(found, [("a".to_owned(), "b".to_owned(), 0.5)]);
        let row: Vec<&str> = table.lines().nth(2).unwrap().split('|').map(str::trim).collect();
        assert_eq!(row[1..5], ["B1", "b", "a", "+50.0"], "{table}");
        assert_eq!(row[7], "2", "{table}");
        assert_eq!(pairs_of(Some("b")).0, [("b".to_owned(), "a".to_owned(), -0.5)]);
        let error = pairs::pairs(&entries, Some("c")).unwrap_err().to_string();
        assert_eq!(error, "--against c: no such model on B1");
    }

    #[test]
    fn models_on_different_questions_form_no_pair() {
        let first = with_results("a", "x", &[("1", "p", "easy", 1, 4), ("2", "q", "hard", 0, 4)]);
        let check = |others: &[(&str, &str, &str, usize, usize)], expected: &str| {
            let entries = [first.clone(), with_results("b", "y", others)];
            let (pairs, unpaired) = pairs::pairs(&entries, None).unwrap();
            assert_eq!((pairs.len(), unpaired), (0, vec![format!("a and b on B1: {expected}")]));
        };
        let (one, two, more) = (("1", "p", "easy", 1, 4), ("2", "q", "hard", 0, 4), ("3", "r", "hard", 0, 4));
        check(&[one], "their questions differ (2 and 1; \"2\" is in only one of them)");
        check(&[one, two, more], "their questions differ (2 and 3; \"3\" is in only one of them)");
        check(&[one, ("2", "other", "hard", 0, 4)], "their questions differ (\"2\" has a different text)");
        check(&[], "y has no per-question results");
    }

    #[test]
    fn pooled_runs_add_up_question_by_question() {
        let entries = || {
            vec![
                with_results("a", "x", &[("1", "p", "easy", 1, 4), ("2", "q", "hard", 0, 4)]),
                with_results("a", "y", &[("1", "p", "easy", 4, 4)]),
                with_results("b", "z", &[("1", "p", "easy", 2, 4)]),
            ]
        };
        let pooled = recount::pool(entries()).unwrap();
        let names: Vec<&str> = pooled.iter().map(|entry| entry.model.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let Accuracy { accuracy, questions, samples, .. } = pooled[0].overall;
        assert_eq!((accuracy, questions, samples), (0.3125, 2, 12));
        // Some questions have more responses than others, so that no one number stands for them.
        assert_eq!((pooled[0].k, pooled[1].k), (None, Some(4)));
        assert_eq!(pooled[0].by_subset["easy"].accuracy, 0.625);
        // The mean of a single subset would repeat the overall one.
        assert_eq!((pooled[0].shows, pooled[1].shows), (Shows::Both, Shows::Overall));
        let mut others = entries();
        others[1] = with_results("a", "y", &[("1", "another text", "easy", 4, 4)]);
        let error = recount::pool(others).unwrap_err().to_string();
        assert_eq!(error, "cannot pool x and y: question \"1\" has a different text");
    }

    #[test]
    fn only_the_questions_of_some_subsets_are_kept() {
        let entries = || vec![with_results("a", "x", &[("1", "p", "easy", 1, 4), ("2", "q", "hard", 0, 4)])];
        let kept = recount::keep(entries(), &["hard".to_owned()]).unwrap();
        assert_eq!((kept[0].overall.accuracy, kept[0].overall.questions), (0.0, 1));
        assert_eq!(kept[0].by_subset.keys().collect::<Vec<_>>(), ["hard"]);
        let error = recount::keep(entries(), &["medium".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "--only medium: a has no such question on B1");
    }

    #[test]
    fn a_column_names_the_responses_per_question_where_all_models_have_as_many() {
        let k = |entries: &[Entry]| columns(entries)[0].k;
        assert_eq!(k(&[entry("a", "B1", "x", 4), entry("b", "B1", "y", 4)]), Some(4));
        assert_eq!(k(&[entry("a", "B1", "x", 4), entry("b", "B1", "y", 2)]), None);
        assert_eq!(k(&[entry("a", "B1", "x", 4), Entry { k: None, ..entry("b", "B1", "y", 4) }]), None);
    }

    #[test]
    fn results_are_read_from_a_folder_or_those_in_it_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let accuracy = |questions, samples| {
            serde_json::json!({
                "accuracy": 0.5, "low": 0.4, "high": 0.6, "questions": questions, "samples": samples, "by_difficulty": {},
            })
        };
        for name in ["b", "a", "c"] {
            let summary =
                serde_json::json!({"models": {"final": accuracy(10, 40), "initial": accuracy(10, 20)}});
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("summary.json"), summary.to_string()).unwrap();
        }
        let entries = sources::read(folder.path()).unwrap();
        let found: Vec<String> = entries.iter().map(|entry| entry.model.clone()).collect();
        let run = |name: &str| folder.path().join(name).display().to_string();
        let expected =
            ["a", "b", "c"].map(|name| [format!("{}: initial", run(name)), format!("{}: final", run(name))]);
        assert_eq!(found, expected.concat());
        assert_eq!([entries[0].k, entries[1].k], [Some(2), Some(4)]);
        assert_eq!(sources::read(&folder.path().join("b")).unwrap().len(), 2);
        let empty = tempfile::tempdir().unwrap();
        let error = sources::read(empty.path()).unwrap_err().to_string();
        assert!(error.contains("has no summary.json, nor has any of its subfolders"), "{error}");
    }
}
