//! What a program may use.

/// What a program may use in one test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Wall time from the start of execution, in seconds.
    pub time_s: f64,
    /// Memory of all its processes together, in MiB.
    pub memory_mb: u64,
    /// What it may print, in MiB.
    pub output_mb: u64,
    /// Processes and threads at once.
    pub processes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        // Six seconds are what LiveCodeBench gives each test.
        Limits { time_s: 6.0, memory_mb: 1024, output_mb: 16, processes: 32 }
    }
}
