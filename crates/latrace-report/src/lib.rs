//! The report: a run folder as one self-contained HTML page, for a reader who has never seen the run.
//!
//! [`collect`] reads a run folder, finished or not, into [`ReportData`], which holds everything that the page
//! shows; [`fit`] drops traces that do not fit; [`page`] renders it. Model output is escaped as text
//! throughout.

mod collect;
mod data;
mod findings;
mod fit;
mod judged;
mod page;
mod serve;
mod several;
pub mod status;
pub mod sweep_status;
mod text;

pub use collect::{Collector, stages};
pub use data::{
    AnsweredQuestion, BoundPoint, Bounds, Browsed, BrowsedAnswer, BrowsedTrace, ByDifficulty, Density,
    Emphasis, EmphasisCurve, ExampleQuestion, Findings, FunnelStep, Histogram, LengthFigure, MeasuredModel,
    ModelRole, NamedMethod, PairedComparison, QuestionCounts, Remark, RemarkKind, ReportData,
    ResponseBrowser, Run, ShownResponse, ShownStage, StageProgress, StageState, TraceBrowser, Training,
    TrainingPoint, VerdictCount, WeightFigure,
};
pub use findings::findings;
pub use fit::fit;
pub use page::{LARGEST_PAGE, PageUse, page, page_of_several, policy};
pub use serve::serve;
pub use several::{DifferingSetting, OneRun, PooledModel, SeveralRuns, collect_several};

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use latrace_io::files::write_atomically;

pub use latrace_run::layout::PAGE;

/// The data of a run folder, reduced to what fits into a page.
///
/// # Errors
/// The folder is not a run folder; records that cannot be read.
pub fn collect(run: &Path) -> Result<ReportData> {
    Collector::new(run).collect()
}

/// Writes the page of a run folder atomically.
///
/// # Errors
/// As [`collect`]; I/O errors.
pub fn write(run: &Path, out: &Path) -> Result<()> {
    write_page(&page(&collect(run)?, PageUse::File)?, out)
}

/// Writes the page of several run folders atomically.
///
/// # Errors
/// As [`collect_several`]; a page larger than [`LARGEST_PAGE`]; I/O errors.
pub fn write_several(runs: &[PathBuf], out: &Path) -> Result<()> {
    write_page(&several::checked_size(page_of_several(&collect_several(runs)?)?)?, out)
}

fn write_page(text: &str, out: &Path) -> Result<()> {
    write_atomically(out, |file| file.write_all(text.as_bytes()).context("cannot write the page"))
}
