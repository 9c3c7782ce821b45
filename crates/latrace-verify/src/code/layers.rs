//! Which layers of the sandbox work on this machine, found by trying them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::inside::script;
use super::limits::Limits;
use super::parts::{Parts, Unavailable};
use super::sandbox::Sandbox;
use super::supervisor::{self, SharedFile};

/// Whether a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerState {
    /// It was tried, and holds.
    Active,
    /// It was tried, and does not hold, or is not there.
    Missing,
    /// There is nothing here for it to hold.
    NotNeeded,
    /// It could not be tried; the detail says why.
    Untried,
}

impl LayerState {
    /// The name in texts.
    pub fn name(self) -> &'static str {
        match self {
            LayerState::Active => "active",
            LayerState::Missing => "missing",
            LayerState::NotNeeded => "not needed",
            LayerState::Untried => "untried",
        }
    }
}

/// A layer of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// What it is.
    pub name: &'static str,
    /// Whether it holds.
    pub state: LayerState,
    /// What was seen, or why it does not hold.
    pub detail: String,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.name, self.state.name(), self.detail)
    }
}

impl Layer {
    fn new(name: &'static str, state: LayerState, detail: impl Into<String>) -> Layer {
        Layer { name, state, detail: detail.into() }
    }

    fn tried(name: &'static str, holds: bool, detail: impl Into<String>) -> Layer {
        Layer::new(name, if holds { LayerState::Active } else { LayerState::Missing }, detail)
    }
}

/// Namespaces: the name in `/proc/PID/ns`, the layer's name, and bubblewrap's option.
const NAMESPACES: [(&str, &str, &str); 7] = [
    ("user", "user namespace", "--unshare-user"),
    ("mnt", "mount namespace", "--unshare-user"),
    ("pid", "process namespace", "--unshare-pid"),
    ("net", "network namespace", "--unshare-net"),
    ("ipc", "ipc namespace", "--unshare-ipc"),
    ("uts", "host name namespace", "--unshare-uts"),
    ("cgroup", "cgroup namespace", "--unshare-cgroup"),
];

/// Layers that only a program in the sandbox shows.
const WITHIN: [&str; 7] = [
    "system call filter",
    "no new privileges",
    "no nested user namespaces",
    "resource limits",
    "read-only system",
    "another user",
    "memory watch",
];

/// All layers, the sandbox as a whole first. `launcher` is as for [`Sandbox::new`].
pub fn layers(launcher: &Path) -> Vec<Layer> {
    let parts = [("bubblewrap", Parts::bubblewrap()), ("python3", Parts::python())];
    let parts = parts.map(|(name, part)| program(name, part.as_deref()));
    let (whole, seen) = whole(launcher);
    [whole].into_iter().chain(parts).chain(seen).collect()
}

/// The sandbox as a whole, and the layers within it.
fn whole(launcher: &Path) -> (Layer, Vec<Layer>) {
    let missing = |detail: String| Layer::new("sandbox", LayerState::Missing, detail);
    // Nothing within can be observed without the whole, but each namespace can still be tried by itself.
    match Sandbox::new(launcher) {
        Err(error) => (missing(error.to_string()), singly(&error)),
        Ok(sandbox) => match observe(&sandbox) {
            Err(error) => (missing(error.clone()), singly(&Unavailable::NotWorking(error))),
            Ok(seen) => (Layer::new("sandbox", LayerState::Active, "programs are judged"), seen),
        },
    }
}

/// A program, with the version that it reports.
fn program(name: &'static str, part: Result<&Path, &Unavailable>) -> Layer {
    match part.map_err(Unavailable::to_string).and_then(version) {
        Ok(version) => Layer::new(name, LayerState::Active, version),
        Err(error) => Layer::new(name, LayerState::Missing, error),
    }
}

fn version(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let said = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let output = said.map_err(|error| format!("{shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{shown}: {}", output.status));
    }
    Ok(format!("{shown}, {}", String::from_utf8_lossy(&output.stdout).trim()))
}

/// Each namespace by itself, where the whole does not start.
fn singly(whole: &Unavailable) -> Vec<Layer> {
    let namespace = |name, option: &str| match (Parts::bubblewrap(), whole) {
        (Ok(bubblewrap), Unavailable::NotWorking(_)) => alone(name, &bubblewrap, option),
        _ => untried(name),
    };
    let namespaces = NAMESPACES.iter().map(|(_, name, option)| namespace(name, option));
    namespaces.chain(WITHIN.map(untried)).collect()
}

fn untried(name: &'static str) -> Layer {
    Layer::new(name, LayerState::Untried, "nothing runs without a sandbox")
}

fn alone(name: &'static str, bubblewrap: &Path, option: &str) -> Layer {
    let tried = Command::new(bubblewrap)
        .args(["--unshare-user", option, "--ro-bind", "/", "/", "/bin/true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) => {
            let works = output.status.success();
            let said = String::from_utf8_lossy(&output.stderr);
            let detail = if works { format!("{option} by itself works") } else { said.trim().to_owned() };
            Layer::tried(name, works, detail)
        }
        Err(error) => Layer::new(name, LayerState::Missing, error.to_string()),
    }
}

/// What a program in the sandbox saw.
#[derive(Debug, Deserialize)]
struct Report {
    namespaces: BTreeMap<String, String>,
    interfaces: Vec<String>,
    filter: String,
    no_new_privileges: String,
    refused_call: i32,
    nested: String,
    limits: BTreeMap<String, i64>,
    write: i32,
}

/// Runs a program that reports what it sees, and observes it from outside meanwhile.
fn observe(sandbox: &Sandbox) -> Result<Vec<Layer>, String> {
    let limits = Limits { time_s: 20.0, ..Limits::default() };
    let mut child =
        supervisor::spawn(sandbox.python(&script(), &limits, 0)).map_err(|error| error.to_string())?;
    let seen = watch(&mut child, &limits);
    supervisor::end(&mut child);
    seen
}

fn watch(child: &mut Child, limits: &Limits) -> Result<Vec<Layer>, String> {
    let report = report(child)?;
    // It waits meanwhile, so that it can be looked at from outside.
    let processes = supervisor::processes(child.id());
    let mut layers: Vec<Layer> =
        NAMESPACES.iter().map(|(short, name, _)| namespace(&report, short, name)).collect();
    layers.extend(within(&report, limits));
    layers.push(another_user(&processes));
    layers.push(memory_watch(&processes));
    Ok(layers)
}

/// What the program inside reports: it prints one line and waits.
fn report(child: &mut Child) -> Result<Report, String> {
    let (Some(stdin), Some(stdout)) = (child.stdin.as_mut(), child.stdout.take()) else {
        return Err("no pipes".to_owned());
    };
    let program = SharedFile::program(include_str!("python/layers.py"));
    supervisor::send_files(stdin, &[program]).map_err(|error| error.to_string())?;
    let line = first_line(stdout).ok_or("the program that looks around says nothing")?;
    // What Python wrote to standard error explains a report that cannot be read.
    serde_json::from_str(&line).map_err(|error| {
        let mut said = String::new();
        let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
        format!("the program that looks around failed: {error} {}", said.trim())
    })
}

/// The first line of what a program prints, if it comes in time.
fn first_line(stdout: ChildStdout) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let (sender, receiver) = mpsc::channel();
    // A read from a pipe has no time limit, so another thread may hang in our place.
    thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        sender.send(line)
    });
    receiver.recv_timeout(PATIENCE).ok()
}

fn namespace(report: &Report, short: &str, name: &'static str) -> Layer {
    let Some(theirs) = report.namespaces.get(short) else {
        return Layer::new(name, LayerState::Missing, "this kernel has none");
    };
    // A separate namespace has another number than ours.
    let own = own_namespace(short);
    let others: Vec<&String> = report.interfaces.iter().filter(|interface| *interface != "lo").collect();
    if short == "net" && !others.is_empty() {
        return Layer::new(name, LayerState::Missing, format!("interfaces {others:?}"));
    }
    let holds = *theirs != own;
    Layer::tried(
        name,
        holds,
        if holds { format!("{theirs}, not {own}") } else { format!("{theirs}, as outside") },
    )
}

fn own_namespace(short: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{short}"));
    link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Layers that the program inside has seen at work.
fn within(report: &Report, limits: &Limits) -> Vec<Layer> {
    vec![
        system_call_filter(report),
        no_new_privileges(report),
        no_nested_namespaces(report),
        resource_limits(report, limits),
        read_only_system(report),
    ]
}

/// The error of a call in words.
fn said(error: i32) -> String {
    if error == 0 { "it works".to_owned() } else { Errno::from_raw_os_error(error).to_string() }
}

fn system_call_filter(report: &Report) -> Layer {
    // SECCOMP_MODE_FILTER, as /proc/PID/status shows it.
    const FILTERING: &str = "2";
    // The mode alone would not show that the rules are ours: a refused call does.
    let filters = report.filter == FILTERING && report.refused_call == Errno::PERM.raw_os_error();
    let refused = said(report.refused_call);
    let detail = format!("mode {}, a socket to a machine's host: {refused}", report.filter);
    Layer::tried("system call filter", filters, detail)
}

fn no_new_privileges(report: &Report) -> Layer {
    let detail = format!("NoNewPrivs {}", report.no_new_privileges);
    Layer::tried("no new privileges", report.no_new_privileges == "1", detail)
}

fn no_nested_namespaces(report: &Report) -> Layer {
    let name = "no nested user namespaces";
    match report.nested.parse::<i32>() {
        Ok(error) => Layer::tried(name, error != 0, format!("making one: {}", said(error))),
        Err(_) => Layer::new(name, LayerState::Untried, report.nested.clone()),
    }
}

fn read_only_system(report: &Report) -> Layer {
    let detail = format!("writing to /usr: {}", said(report.write));
    Layer::tried("read-only system", report.write != 0, detail)
}

fn resource_limits(report: &Report, limits: &Limits) -> Layer {
    let processes = i64::try_from(limits.processes).unwrap_or(i64::MAX);
    let holds = |name: &str, most: i64| {
        report.limits.get(name).is_some_and(|limit| !is_unlimited(*limit) && *limit <= most)
    };
    // Those that depend on the machine need only be limits at all.
    let limited = ["AS", "CPU", "FSIZE", "NOFILE", "STACK"].iter().all(|name| holds(name, i64::MAX));
    let shown: Vec<String> = report.limits.iter().map(|(name, limit)| shown_limit(name, *limit)).collect();
    Layer::tried(
        "resource limits",
        limited && holds("CORE", 0) && holds("NPROC", processes),
        shown.join(", "),
    )
}

/// Python shows `RLIM_INFINITY` as −1.
fn is_unlimited(limit: i64) -> bool {
    limit < 0
}

fn shown_limit(name: &str, limit: i64) -> String {
    if is_unlimited(limit) { format!("{name} unlimited") } else { format!("{name} {limit}") }
}

/// The user that the processes in the sandbox belong to outside it.
fn another_user(processes: &[u32]) -> Layer {
    let name = "another user";
    let Some(user) = processes.last().and_then(|process| user_of(*process)) else {
        return Layer::new(name, LayerState::Untried, "the user of the processes inside cannot be read");
    };
    // Only root can start processes of other users.
    if rustix::process::getuid().is_root() {
        return Layer::tried(name, user != 0, format!("we are root, programs run as user {user}"));
    }
    Layer::new(name, LayerState::NotNeeded, format!("programs run as user {user}, who is not root"))
}

fn user_of(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether the processes inside, and what memory they hold, can be seen from outside.
fn memory_watch(processes: &[u32]) -> Layer {
    let bytes = supervisor::memory_of(processes);
    // Bubblewrap, the first process of its namespace, the interpreter.
    const LEAST: usize = 2;
    let detail = format!("{} processes hold {} MiB", processes.len(), bytes >> 20);
    Layer::tried("memory watch", processes.len() >= LEAST && bytes > 0, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let namespaces =
            NAMESPACES.iter().map(|(short, ..)| ((*short).to_owned(), format!("{short}:[1]"))).collect();
        let limits =
            [("AS", 9), ("CPU", 9), ("FSIZE", 9), ("NOFILE", 9), ("STACK", 9), ("CORE", 0), ("NPROC", 32)];
        Report {
            namespaces,
            interfaces: vec!["lo".to_owned()],
            filter: "2".to_owned(),
            no_new_privileges: "1".to_owned(),
            refused_call: Errno::PERM.raw_os_error(),
            nested: Errno::NOSPC.raw_os_error().to_string(),
            limits: limits.map(|(name, limit)| (name.to_owned(), limit)).into(),
            write: Errno::ROFS.raw_os_error(),
        }
    }

    fn state(report: &Report, name: &str) -> LayerState {
        let namespaces = NAMESPACES.iter().map(|(short, name, _)| namespace(report, short, name));
        let mut all = namespaces.chain(within(report, &Limits::default()));
        all.find(|layer| layer.name == name).map(|layer| layer.state).unwrap()
    }

    #[track_caller]
    fn check(name: &str, expected: LayerState, change: impl FnOnce(&mut Report)) {
        assert_eq!(state(&report(), name), LayerState::Active);
        let mut report = report();
        change(&mut report);
        assert_eq!(state(&report, name), expected);
    }

    #[test]
    fn each_layer_is_what_was_seen_of_it() {
        use LayerState::{Missing, Untried};
        let own = std::fs::read_link("/proc/self/ns/pid").unwrap().to_string_lossy().into_owned();
        check("process namespace", Missing, |report| drop(report.namespaces.insert("pid".to_owned(), own)));
        check("cgroup namespace", Missing, |report| drop(report.namespaces.remove("cgroup")));
        check("network namespace", Missing, |report| report.interfaces.push("eth0".to_owned()));
        check("system call filter", Missing, |report| report.filter = "0".to_owned());
        check("system call filter", Missing, |report| report.refused_call = 0);
        check("no new privileges", Missing, |report| report.no_new_privileges = "0".to_owned());
        check("no nested user namespaces", Missing, |report| report.nested = "0".to_owned());
        check("no nested user namespaces", Untried, |report| report.nested = "ImportError()".to_owned());
        check("resource limits", Missing, |report| {
            report.limits.insert("NPROC".to_owned(), -1);
        });
        check("resource limits", Missing, |report| {
            report.limits.insert("NPROC".to_owned(), 33);
        });
        check("read-only system", Missing, |report| report.write = 0);
    }

    #[test]
    fn layers_are_printed_and_serialised() {
        let layer = Layer::tried("network namespace", true, "net:[1], not net:[2]");
        assert_eq!(layer.to_string(), "network namespace: active (net:[1], not net:[2])");
        let detail = "net:[1], not net:[2]";
        let expected = serde_json::json!({"name": "network namespace", "state": "active", "detail": detail});
        assert_eq!(serde_json::to_value(&layer).unwrap(), expected);
    }
}
