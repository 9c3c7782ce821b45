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
}

/// Runs every check. `runs` is the folder where runs will be written; it need not exist.
pub fn examine(runs: &Path) -> Vec<Finding> {
    vec![
        Finding::new(
            "latrace",
            Health::Good,
            format!("{}, {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH),
        ),
        threads(),
        instructions(),
        memory(),
        disk(runs),
        gpu(),
        python(),
        sandbox(),
        hub_reach(),
    ]
}

fn threads() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let used = rayon::current_num_threads();
    Finding::new("threads", Health::Good, format!("{used} in use, {cores} available"))
}

fn instructions() -> Finding {
    let level = cpu::level();
    let name = Level::NAMES.iter().find(|(_, known)| *known == level).map_or("unknown", |(name, _)| name);
    let chosen = std::env::var(Level::VARIABLE)
        .map_or(String::new(), |value| format!(", set by {}={value}", Level::VARIABLE));
    let health = if level == Level::Baseline { Health::Lacking } else { Health::Good };
    let slow = if level == Level::Baseline { ": correct, but many times slower than avx2" } else { "" };
    Finding::new("instructions", health, format!("{name}{chosen}{slow}"))
}

fn memory() -> Finding {
    // In a container the machine's free memory says little: the control group's limit ends the process first.
    let free = memory_limit().map_or(free_memory(), |limit| limit.free.min(free_memory()));
    let health = if free < LEAST_MEMORY { Health::Missing } else { Health::Good };
    let total = total_memory().map_or(String::new(), |total| format!(" of {}", bytes(total)));
    let limit = memory_limit()
        .map_or(String::new(), |limit| format!("; the control group allows {} in all", bytes(limit.total)));
    Finding::new("memory", health, format!("{} free{total}{limit}", bytes(free)))
}

/// The nearest ancestor that exists: the folder of runs is created only by the first run.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn disk(runs: &Path) -> Finding {
    let folder = existing(runs);
    let shown = folder.display();
    if let Err(error) = can_write(&folder) {
        return Finding::new(
            "disk",
            Health::Missing,
            format!("cannot write to {shown}, where runs go: {error}"),
        );
    }
    match free_space(&folder) {
        Some(free) if free < LITTLE_DISK => Finding::new(
            "disk",
            Health::Lacking,
            format!("only {} free in {shown}, where runs go", bytes(free)),
        ),
        Some(free) => {
            Finding::new("disk", Health::Good, format!("{} free in {shown}, where runs go", bytes(free)))
        }
        None => Finding::new("disk", Health::Good, format!("{shown}, where runs go, can be written to")),
    }
}

fn can_write(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".latrace-doctor.{}", std::process::id()));
    fs::write(&probe, "x")?;
    fs::remove_file(&probe)
}

#[cfg(unix)]
fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}

fn gpu() -> Finding {
    const QUERY: [&str; 2] = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let listed = first_output("nvidia-smi", &QUERY).filter(|text| !text.is_empty());
    let device = Path::new("/dev/nvidia0").exists().then(|| "an NVIDIA device without nvidia-smi".to_owned());
    let found = listed.or(device).map_or("none".to_owned(), |name| name.replace('\n', "; "));
    Finding::new("GPU", Health::Good, format!("{found}; the engine computes on the CPU"))
}

fn python() -> Finding {
    match first_output("python3", &["--version"]) {
        Some(version) => Finding::new("python3", Health::Good, format!("{version}, for judging programs")),
        None => {
            Finding::new("python3", Health::Lacking, "not found: answers that are programs are not judged")
        }
    }
}

fn sandbox() -> Finding {
    let launcher = std::env::current_exe().map_err(|error| error.to_string());
    match launcher.and_then(|launcher| Sandbox::new(&launcher).map_err(|error| error.to_string())) {
        Ok(_) => Finding::new(
            "sandbox",
            Health::Good,
            "works: programs run without network access, in namespaces, under a seccomp filter and limits",
        ),
        Err(reason) => {
            Finding::new("sandbox", Health::Lacking, format!("none, so no program is run: {reason}"))
        }
    }
}

fn hub_reach() -> Finding {
    match hub::reach() {
        Ok(hub::Reach { endpoint, has_token, cache }) => {
            let asked = endpoint.unwrap_or_else(|| "offline (HF_HUB_OFFLINE)".to_owned());
            let token =
                if has_token { "with a token" } else { "without a token: public models and data sets only" };
            Finding::new("hub", Health::Good, format!("{asked}, {token}; cache {}", cache.display()))
        }
        Err(error) => Finding::new("hub", Health::Lacking, error.to_string()),
    }
}

/// What a program prints, if it exists and succeeds.
fn first_output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn bytes(count: u64) -> String {
    let gigabytes = count as f64 / (1_u64 << 30) as f64;
    if gigabytes >= 1.0 {
        format!("{gigabytes:.1} GiB")
    } else {
        format!("{:.0} MiB", count as f64 / (1_u64 << 20) as f64)
    }
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
