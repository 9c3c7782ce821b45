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
pub mod status;
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
pub use page::{LARGEST_PAGE, PageUse, page, policy};
pub use serve::serve;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use latrace_io::files::write_atomically;

/// File name of the page in a run folder.
pub const PAGE: &str = "report.html";

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
    let text = page(&collect(run)?, PageUse::File)?;
    write_atomically(out, |file| file.write_all(text.as_bytes()).context("cannot write the page"))
}
