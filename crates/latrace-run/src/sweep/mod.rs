//! Sweeps: one recipe at every combination of listed values, each a run of its own below one folder.

mod grid;
mod names;
mod record;
mod results;

pub use grid::{Grid, SweptKey};
pub use record::{SWEEP, Sweep, SweptRun};
pub use results::{SeedAccuracies, SettingResult, SweepResults};
