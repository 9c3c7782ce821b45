//! The report: a run folder as one self-contained HTML page, written for someone who has never seen the run.
//!
//! [`ReportData`] is all that the page shows. [`page`] draws it; what a model wrote stays text on every way there.

mod data;
mod findings;
mod fit;
mod page;

pub use data::{
    Accuracy, BoundPoint, Bounds, Browsed, BrowsedAnswer, BrowsedTrace, ByDifficulty, Comparison, Density, Emphasis, EmphasisCurve, Findings, FunnelStep,
    Histogram, Interval, Lengths, Model, Progress, Questions, Remark, RemarkKind, ReportData, Role, Run, Stage, StageState, Traces, Training, TrainingPoint,
    VerdictCount, Weights,
};
pub use findings::findings;
pub use fit::fit;
pub use page::{LARGEST_PAGE, PageUse, page, policy};
