//! The report: a run folder as one self-contained HTML page, written for someone who has never seen the run.
//!
//! [`collect`] reads a run folder, finished or not, into [`ReportData`], all that the page shows; [`fit`]
//! leaves out traces that a page has no room for; [`page`] draws it. What a model wrote stays text on every
//! way there.

mod collect;
mod data;
mod findings;
mod fit;
mod judged;
mod page;
mod serve;
pub mod status;

pub use collect::{Collector, stages};
pub use data::{
    BoundPoint, Bounds, Browsed, BrowsedAnswer, BrowsedTrace, ByDifficulty, Density, Emphasis, EmphasisCurve,
    Findings, FunnelStep, Histogram, LengthFigure, MeasuredModel, ModelRole, PairedComparison,
    QuestionCounts, Remark, RemarkKind, ReportData, Run, ShownStage, StageProgress, StageState, TraceBrowser,
    Training, TrainingPoint, VerdictCount, WeightFigure,
};
pub use findings::findings;
pub use fit::fit;
pub use page::{LARGEST_PAGE, PageUse, page, policy};
pub use serve::serve;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use latrace_io::files::write_atomically;

/// The page in a run folder.
pub const PAGE: &str = "report.html";

/// The data of a run folder, with what a page has room for.
///
/// # Errors
/// A folder that is no run's, records that cannot be read.
pub fn collect(run: &Path) -> Result<ReportData> {
    Collector::new(run).collect()
}

/// Writes the page of a run folder, whole or not at all.
///
/// # Errors
/// As [`collect`]; I/O errors.
pub fn write(run: &Path, out: &Path) -> Result<()> {
    let text = page(&collect(run)?, PageUse::File)?;
    write_atomically(out, |writer| writer.write_all(text.as_bytes()).context("cannot write the page"))
}
