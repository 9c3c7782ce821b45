//! Compares models: one table over models and benchmarks, and paired differences by question.

mod pairs;
mod recount;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

pub use pairs::Pair;
pub use sources::ResultSource;

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
    /// Which columns are shown.
    pub shows: Shows,
    /// Where its per-question results are.
    pub questions: ResultSource,
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
}

/// Compares the results in the folders: evaluations, folders of evaluations, runs.
///
/// # Errors
/// A folder that is none of these or is unfinished; an option that matches nothing in them.
pub fn compare(folders: &[PathBuf], choice: &ComparisonOptions) -> Result<Comparison> {
    let mut entries = Vec::new();
    for folder in folders {
        entries.extend(sources::read(folder)?);
    }
    if choice.pooled {
        entries = recount::pool(entries)?;
    }
    if !choice.only.is_empty() {
        entries = recount::keep(entries, &choice.only)?;
    }
    tell_apart(&mut entries);
    let columns = columns(&entries);
    let mut models: Vec<&String> = Vec::new();
    entries.iter().for_each(|entry| {
        if !models.contains(&&entry.model) {
            models.push(&entry.model)
        }
    });
    let rows = models
        .into_iter()
        .map(|model| ComparedLine {
            model: model.clone(),
            cells: columns.iter().map(|column| cell(&entries, model, column)).collect(),
        })
        .collect();
    let (paired, unpaired) = pairs::pairs(&entries, choice.against.as_deref())?;
    Ok(Comparison { columns, rows, paired, unpaired })
}

/// Adds the folder to the names of models that were evaluated twice on the same benchmark, to tell them
/// apart.
fn tell_apart(entries: &mut [Entry]) {
    let clash = |one: &Entry, other: &Entry| {
        one.model == other.model && one.benchmark == other.benchmark && one.folder != other.folder
    };
    let clashing: Vec<bool> =
        entries.iter().map(|entry| entries.iter().any(|other| clash(entry, other))).collect();
    for (entry, _) in entries.iter_mut().zip(clashing).filter(|(_, clashes)| *clashes) {
        entry.model = format!("{} ({})", entry.model, entry.folder.display());
    }
}

fn columns(entries: &[Entry]) -> Vec<ComparedColumn> {
    let mut benchmarks: Vec<&String> = Vec::new();
    entries.iter().for_each(|entry| {
        if !benchmarks.contains(&&entry.benchmark) {
            benchmarks.push(&entry.benchmark)
        }
    });
    let mut columns = Vec::new();
    for benchmark in benchmarks {
        let of = || entries.iter().filter(|entry| entry.benchmark == *benchmark);
        let k =
            of().map(|entry| entry.k).reduce(|one, other| if one == other { one } else { None }).flatten();
        let column = |subset: Option<String>| ComparedColumn { benchmark: benchmark.clone(), subset, k };
        let shows = |wanted: &[Shows]| of().any(|entry| wanted.contains(&entry.shows));
        if shows(&[Shows::Overall, Shows::Both]) {
            columns.push(column(None));
        }
        if shows(&[Shows::Subsets, Shows::Both]) {
            let mut subsets: Vec<&String> = of().flat_map(|entry| entry.by_subset.keys()).collect();
            subsets.sort_by_key(|subset| (difficulty(subset), *subset));
            subsets.dedup();
            columns.extend(subsets.into_iter().map(|subset| column(Some(subset.clone()))));
        }
    }
    columns
}

/// Sort key of a subset, before its name: easy, medium, hard. Names that are not difficulties all get 0.
fn difficulty(subset: &str) -> usize {
    ["easy", "medium", "hard"].iter().position(|name| name.eq_ignore_ascii_case(subset)).unwrap_or(0)
}

fn cell(entries: &[Entry], model: &str, column: &ComparedColumn) -> Option<Accuracy> {
    let entry = entries.iter().find(|entry| entry.model == model && entry.benchmark == column.benchmark)?;
    match &column.subset {
        None => Some(entry.overall),
        Some(subset) => entry.by_subset.get(subset).copied(),
    }
}

impl Comparison {
    /// The comparison as Markdown.
    pub fn markdown(&self) -> String {
        let heading = |column: &ComparedColumn| {
            let subset = column.subset.as_ref().map_or(String::new(), |subset| format!(" {subset}"));
            let average = column.k.map_or(String::new(), |k| format!(" avg@{k}"));
            format!("{}{subset}{average}", column.benchmark)
        };
        let header: Vec<String> =
            std::iter::once("model".to_owned()).chain(self.columns.iter().map(heading)).collect();
        let shown = |cell: &Option<Accuracy>| match cell {
            Some(Accuracy { accuracy, low, high, .. }) => {
                format!("{} ({})", percent(*accuracy), range(*low, *high))
            }
            None => "–".to_owned(),
        };
        let row = |line: &ComparedLine| {
            std::iter::once(line.model.clone()).chain(line.cells.iter().map(shown)).collect::<Vec<String>>()
        };
        let mut text = text_table::markdown(&header, &self.rows.iter().map(row).collect::<Vec<_>>());
        text.push_str("\nAccuracy in percent, with its 95 % interval by bootstrap over questions.\n");
        if !self.paired.is_empty() {
            text.push_str(&format!("\n{}", pairs::markdown(&self.paired)));
        }
        for reason in &self.unpaired {
            text.push_str(&format!("\nNot compared question by question: {reason}.\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
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
}
