//! Checks of this machine: what a run needs, and what some runs need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use latrace_engine::cpu::{self, Level};
use latrace_verify::code::Sandbox;
use serde::Serialize;

use latrace_io::hub;
use latrace_io::memory::{free_memory, memory_limit, total_memory};

/// Memory (bytes) below which not even the smallest run completes.
const LEAST_MEMORY: u64 = 256 << 20;
/// Free disk space (bytes) below which a run is likely to fail soon.
const LITTLE_DISK: u64 = 1 << 30;

/// Whether a requirement is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It is met.
    Good,
    /// It is not met, and some runs need it or are slow without it.
    Lacking,
    /// It is not met, and every run needs it.
    Missing,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was checked.
    pub what: &'static str,
    /// Whether the requirement is met.
    pub health: Health,
    /// What was found, in words.
    pub found: String,
}

impl Finding {
    fn new(what: &'static str, health: Health, found: impl Into<String>) -> Finding {
        Finding { what, health, found: found.into() }
    }

    fn good(what: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(what, Health::Good, found)
    }

    fn lacking(what: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(what, Health::Lacking, found)
    }
}

/// Runs every check. `runs` is the folder where runs will be written; it need not exist.
pub fn examine(runs: &Path) -> Vec<Finding> {
    vec![program(), threads(), instructions(), memory(), disk(runs), gpu(), python(), sandbox(), hub_reach()]
}

fn program() -> Finding {
    let (version, system) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS);
    Finding::good("latrace", format!("{version}, {system} {}", std::env::consts::ARCH))
}

fn threads() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let used = rayon::current_num_threads();
    Finding::good("threads", format!("{used} in use, {cores} available"))
}

fn instructions() -> Finding {
    let level = cpu::level();
    let found = format!("{}{}", name_of(level), chosen_by());
    match level {
        Level::Baseline => {
            Finding::lacking("instructions", format!("{found}: correct, but many times slower than avx2"))
        }
        _ => Finding::good("instructions", found),
    }
}

fn name_of(level: Level) -> &'static str {
    Level::NAMES.iter().find(|(_, known)| *known == level).map_or("unknown", |(name, _)| name)
}

/// Told apart from what the machine has: a variable that was set long ago is easily forgotten.
fn chosen_by() -> String {
    let variable = Level::VARIABLE;
    std::env::var(variable).map_or(String::new(), |value| format!(", set by {variable}={value}"))
}

fn memory() -> Finding {
    let limit = memory_limit();
    // In a container the machine's free memory says little: the control group's limit ends the process first.
    let free = limit.as_ref().map_or(free_memory(), |limit| limit.free.min(free_memory()));
    let health = if free < LEAST_MEMORY { Health::Missing } else { Health::Good };
    let total = total_memory().map_or(String::new(), |total| format!(" of {}", bytes(total)));
    let limit = limit
        .map_or(String::new(), |limit| format!("; the control group allows {} in all", bytes(limit.total)));
    Finding::new("memory", health, format!("{} free{total}{limit}", bytes(free)))
}

fn disk(runs: &Path) -> Finding {
    let folder = existing(runs);
    let shown = folder.display();
    if let Err(error) = can_write(&folder) {
        let found = format!("cannot write to {shown}, where runs go: {error}");
        return Finding::new("disk", Health::Missing, found);
    }
    let Some(free) = free_space(&folder) else {
        return Finding::good("disk", format!("{shown}, where runs go, can be written to"));
    };
    let found = format!("{} free in {shown}, where runs go", bytes(free));
    if free < LITTLE_DISK {
        Finding::lacking("disk", format!("only {found}"))
    } else {
        Finding::good("disk", found)
    }
}

/// The nearest ancestor that exists: the folder of runs is created only by the first run.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Tries it: permissions alone do not tell of read-only file systems and quotas.
fn can_write(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".latrace-doctor.{}", std::process::id()));
    fs::write(&probe, "x")?;
    fs::remove_file(&probe)
}

#[cfg(unix)]
fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    // Available to this user: the superuser's reserve is left out.
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}

fn gpu() -> Finding {
    let found = listed_gpus().or_else(unlisted_gpu).unwrap_or_else(|| "none".to_owned());
    // Good also without one: no run needs it.
    Finding::good("GPU", format!("{found}; the engine computes on the CPU"))
}

fn listed_gpus() -> Option<String> {
    const QUERY: [&str; 2] = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let listed = first_output("nvidia-smi", &QUERY).filter(|text| !text.is_empty())?;
    Some(listed.replace('\n', "; "))
}

fn unlisted_gpu() -> Option<String> {
    Path::new("/dev/nvidia0").exists().then(|| "an NVIDIA device without nvidia-smi".to_owned())
}

fn python() -> Finding {
    match first_output("python3", &["--version"]) {
        Some(version) => Finding::good("python3", format!("{version}, for judging programs")),
        None => Finding::lacking("python3", "not found: answers that are programs are not judged"),
    }
}

fn sandbox() -> Finding {
    const WORKS: &str =
        "works: programs run without network access, in namespaces, under a seccomp filter and limits";
    match try_sandbox() {
        Ok(()) => Finding::good("sandbox", WORKS),
        Err(reason) => Finding::lacking("sandbox", format!("none, so no program is run: {reason}")),
    }
}

/// Sets up a sandbox, with this program as its launcher.
fn try_sandbox() -> Result<(), String> {
    let launcher = std::env::current_exe().map_err(|error| error.to_string())?;
    Sandbox::new(&launcher).map(drop).map_err(|error| error.to_string())
}

fn hub_reach() -> Finding {
    match hub::reach() {
        Ok(reach) => Finding::good("hub", reach_in_words(reach)),
        Err(error) => Finding::lacking("hub", error.to_string()),
    }
}

fn reach_in_words(reach: hub::Reach) -> String {
    let hub::Reach { endpoint, has_token, cache } = reach;
    let endpoint = endpoint.unwrap_or_else(|| "offline (HF_HUB_OFFLINE)".to_owned());
    // Whether there is one, never the token itself: the output is pasted into bug reports.
    let token = if has_token { "with a token" } else { "without a token: public models and data sets only" };
    format!("{endpoint}, {token}; cache {}", cache.display())
}

/// What a program prints, if it exists and succeeds.
fn first_output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn bytes(count: u64) -> String {
    let megabytes = count as f64 / (1_u64 << 20) as f64;
    if megabytes >= 1024.0 { format!("{:.1} GiB", megabytes / 1024.0) } else { format!("{megabytes:.0} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_to_is_missing_and_one_to_be_made_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(disk(&folder.path().join("runs/deep")).health, Health::Good);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        assert!(can_write(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn sizes_are_told_in_binary_units() {
        assert_eq!([bytes(512 << 20), bytes(3 << 29)], ["512 MiB", "1.5 GiB"]);
    }
}
