//! Streams a benchmark's questions from its files, because tests of programs may be larger than memory.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Benchmark, Item};
use latrace_io::failure::Failure;
use latrace_io::rows::{BadRow, BadRows, Place, RowReader};

/// Selects questions of a benchmark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Subsets to use; empty: all.
    pub subsets: Vec<String>,
    /// Maximum number of questions; `None`: all.
    pub limit: Option<usize>,
}

impl Chosen {
    fn is_full(&self, count: usize) -> bool {
        self.limit.is_some_and(|limit| count >= limit)
    }

    fn takes(&self, item: &Item) -> bool {
        self.subsets.is_empty() || item.subset.as_ref().is_some_and(|subset| self.subsets.contains(subset))
    }
}

/// Calls `visit` with each selected question and its id, in file order.
///
/// # Errors
/// Files that cannot be read; a row that is not a question, with file, row and field; two questions with the
/// same id; a subset that no question is in.
pub fn for_each(
    benchmark: &Benchmark,
    files: &[PathBuf],
    chosen: &Chosen,
    mut visit: impl FnMut(String, Item) -> Result<()>,
) -> Result<()> {
    // Compiled once: a benchmark may have tens of thousands of rows.
    let template = benchmark.template()?;
    let mut selection = Selection::new(chosen);
    for file in files {
        let mut reader = RowReader::open(file, BadRows::Stop)?;
        // Tested before a row is read: what lies beyond the limit may be large, or damaged.
        while !chosen.is_full(selection.count)
            && let Some((at, item)) =
                reader.next_with(|at, row| benchmark.item(&row, &template).map(|item| (at, item)))?
        {
            if let Some((id, item)) = selection.select(file, at, item)? {
                visit(id, item)?;
            }
        }
    }
    selection.check(benchmark, files)
}

/// What has been seen of a benchmark's rows.
struct Selection<'a> {
    chosen: &'a Chosen,
    ids: HashSet<String>,
    /// Subsets of all questions, selected or not, for the hint about an unknown one.
    subsets: BTreeSet<String>,
    rows: usize,
    count: usize,
}

impl<'a> Selection<'a> {
    fn new(chosen: &'a Chosen) -> Selection<'a> {
        Selection { chosen, ids: HashSet::new(), subsets: BTreeSet::new(), rows: 0, count: 0 }
    }

    /// The question with its id, if it is selected.
    fn select(&mut self, file: &Path, at: Place, item: Option<Item>) -> Result<Option<(String, Item)>> {
        // Rows that are filtered out are numbered too, so that an id does not depend on the filter.
        let number = self.rows;
        self.rows += 1;
        let Some(item) = item else { return Ok(None) };
        // Before the choice: the hint about a misspelt subset lists all that there are.
        self.subsets.extend(item.subset.clone());
        if !self.chosen.takes(&item) {
            return Ok(None);
        }
        let id = item.id.clone().unwrap_or_else(|| number.to_string());
        if !self.ids.insert(id.clone()) {
            return Err(duplicate(file, at, &id).into());
        }
        self.count += 1;
        Ok(Some((id, item)))
    }

    /// Checks, after the last row, that all chosen subsets exist and that there are questions.
    fn check(&self, benchmark: &Benchmark, files: &[PathBuf]) -> Result<()> {
        let unknown = self.chosen.subsets.iter().find(|subset| !self.subsets.contains(*subset));
        match unknown {
            // With the limit reached, the subset may be in rows that were not read.
            Some(subset) if !self.chosen.is_full(self.count) => {
                Err(self.no_subset(subset, &benchmark.title).into())
            }
            _ if self.count == 0 => Err(no_questions(&benchmark.title, &files[0]).into()),
            _ => Ok(()),
        }
    }

    fn no_subset(&self, subset: &str, title: &str) -> Failure {
        let known: Vec<&str> = self.subsets.iter().map(String::as_str).collect();
        Failure::usage(format!("--subset {subset}: {title} has no such subset"))
            .hint(format!("it has {}", known.join(", ")))
    }
}

fn duplicate(file: &Path, at: Place, id: &str) -> BadRow {
    BadRow::new(file, at, format!("expected an id that no earlier question has, got \"{id}\""))
}

fn no_questions(title: &str, file: &Path) -> Failure {
    Failure::work(format!("{title} has no questions in {}", file.display()))
}
