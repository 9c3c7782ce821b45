//! Streams a benchmark's questions from its files, because tests of programs may be larger than memory.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Result;

use super::{Benchmark, Item};
use latrace_io::failure::Failure;
use latrace_io::rows::{BadRow, BadRows, RowReader};

/// Selects questions of a benchmark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Subsets to use; empty: all.
    pub subsets: Vec<String>,
    /// Maximum number of questions; `None`: all.
    pub limit: Option<usize>,
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
    let template = benchmark.template()?;
    let (mut ids, mut subsets, mut place, mut count) = (HashSet::new(), HashSet::new(), 0_usize, 0);
    for file in files {
        let mut reader = RowReader::open(file, BadRows::Stop)?;
        while chosen.limit.is_none_or(|limit| count < limit) {
            let Some((at, item)) =
                reader.next_with(|at, row| benchmark.item(&row, &template).map(|item| (at, item)))?
            else {
                break;
            };
            let number = place;
            place += 1;
            let Some(item) = item else { continue };
            let is_asked = chosen.subsets.is_empty()
                || item.subset.as_ref().is_some_and(|subset| chosen.subsets.contains(subset));
            subsets.extend(item.subset.clone());
            if !is_asked {
                continue;
            }
            let id = item.id.clone().unwrap_or_else(|| number.to_string());
            if !ids.insert(id.clone()) {
                return Err(BadRow::new(
                    file,
                    at,
                    format!("expected an id that no earlier question has, got \"{id}\""),
                )
                .into());
            }
            count += 1;
            visit(id, item)?;
        }
    }
    let unknown = chosen
        .subsets
        .iter()
        .find(|subset| !subsets.contains(*subset))
        .filter(|_| chosen.limit.is_none_or(|limit| count < limit));
    match unknown {
        Some(subset) => {
            let mut known: Vec<String> = subsets.into_iter().collect();
            known.sort();
            Err(Failure::usage(format!("--subset {subset}: {} has no such subset", benchmark.title))
                .hint(format!("it has {}", known.join(", ")))
                .into())
        }
        None if count == 0 => {
            Err(Failure::work(format!("{} has no questions in {}", benchmark.title, files[0].display()))
                .into())
        }
        None => Ok(()),
    }
}
