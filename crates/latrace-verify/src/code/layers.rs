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
use super::supervisor;

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
    let mut layers: Vec<Layer> =
        parts.into_iter().map(|(name, part)| program(name, part.as_deref())).collect();
    // Nothing below can be observed without the whole, but each namespace can still be tried by itself.
    let whole = match Sandbox::new(launcher) {
        Ok(sandbox) => match observe(&sandbox) {
            Ok(seen) => {
                layers.extend(seen);
                Layer::new("sandbox", LayerState::Active, "programs are judged")
            }
            Err(error) => {
                layers.extend(singly(&Unavailable::NotWorking(error.clone())));
                Layer::new("sandbox", LayerState::Missing, error)
            }
        },
        Err(error) => {
            layers.extend(singly(&error));
            Layer::new("sandbox", LayerState::Missing, error.to_string())
        }
    };
    layers.insert(0, whole);
    layers
}

/// A program by the version it tells.
fn program(name: &'static str, part: Result<&Path, &Unavailable>) -> Layer {
    let path = match part {
        Ok(path) => path,
        Err(error) => return Layer::new(name, LayerState::Missing, error.to_string()),
    };
    let said = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    match said {
        Ok(output) if output.status.success() => Layer::new(
            name,
            LayerState::Active,
            format!("{}, {}", path.display(), String::from_utf8_lossy(&output.stdout).trim()),
        ),
        Ok(output) => Layer::new(name, LayerState::Missing, format!("{}: {}", path.display(), output.status)),
        Err(error) => Layer::new(name, LayerState::Missing, format!("{}: {error}", path.display())),
    }
}

/// Each namespace by itself, where the whole does not start.
fn singly(whole: &Unavailable) -> Vec<Layer> {
    let untried = |name| Layer::new(name, LayerState::Untried, "nothing runs without a sandbox");
    let namespace = |name, option: &str| match (Parts::bubblewrap(), whole) {
        (Ok(bubblewrap), Unavailable::NotWorking(_)) => alone(name, &bubblewrap, option),
        _ => untried(name),
    };
    NAMESPACES.iter().map(|(_, name, option)| namespace(name, option)).chain(WITHIN.map(untried)).collect()
}

fn alone(name: &'static str, bubblewrap: &Path, option: &str) -> Layer {
    let tried = Command::new(bubblewrap)
        .args(["--unshare-user", option, "--ro-bind", "/", "/", "/bin/true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => {
            Layer::new(name, LayerState::Active, format!("{option} by itself works"))
        }
        Ok(output) => Layer::new(name, LayerState::Missing, String::from_utf8_lossy(&output.stderr).trim()),
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

/// Runs a program that tells what it sees, and looks at it from outside meanwhile.
fn observe(sandbox: &Sandbox) -> Result<Vec<Layer>, String> {
    let limits = Limits { time_s: 20.0, ..Limits::default() };
    let mut child =
        supervisor::spawn(sandbox.command(&script(), &limits, 0)).map_err(|error| error.to_string())?;
    let seen = watch(&mut child, &limits);
    supervisor::end(&mut child);
    seen
}

fn watch(child: &mut Child, limits: &Limits) -> Result<Vec<Layer>, String> {
    let (Some(stdin), Some(stdout)) = (child.stdin.as_mut(), child.stdout.take()) else {
        return Err("no pipes".to_owned());
    };
    // It prints one line and waits, so that it can be looked at from outside.
    supervisor::send_program(stdin, include_str!("layers.py")).map_err(|error| error.to_string())?;
    let line = first_line(stdout).ok_or("the program that looks around says nothing")?;
    let report: Report = serde_json::from_str(&line).map_err(|error| {
        let mut said = String::new();
        let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
        format!("the program that looks around failed: {error} {}", said.trim())
    })?;
    let processes = supervisor::processes(child.id());
    let mut layers: Vec<Layer> =
        NAMESPACES.iter().map(|(short, name, _)| namespace(&report, short, name)).collect();
    layers.extend(within(&report, limits));
    layers.push(another_user(&processes));
    layers.push(memory_watch(&processes));
    Ok(layers)
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
    // A namespace of its own has another number than ours.
    let own = std::fs::read_link(format!("/proc/self/ns/{short}"))
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some(theirs) = report.namespaces.get(short) else {
        return Layer::new(name, LayerState::Missing, "this kernel has none");
    };
    let others: Vec<&String> =
        report.interfaces.iter().filter(|interface| short == "net" && *interface != "lo").collect();
    let holds = *theirs != own && others.is_empty();
    let detail = match (holds, others.is_empty()) {
        (true, _) => format!("{theirs}, not {own}"),
        (false, true) => format!("{theirs}, as outside"),
        (false, false) => format!("interfaces {others:?}"),
    };
    Layer::tried(name, holds, detail)
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

/// The error of a call, as it is shown.
fn said(error: i32) -> String {
    if error == 0 { "it works".to_owned() } else { Errno::from_raw_os_error(error).to_string() }
}

fn system_call_filter(report: &Report) -> Layer {
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
    const ANY: i64 = i64::MAX;
    let processes = i64::try_from(limits.processes).unwrap_or(ANY);
    let expected = [
        ("AS", ANY),
        ("CPU", ANY),
        ("FSIZE", ANY),
        ("NOFILE", ANY),
        ("STACK", ANY),
        ("CORE", 0),
        ("NPROC", processes),
    ];
    let holds = |(name, most): (&str, i64)| {
        report.limits.get(name).is_some_and(|limit| !is_unlimited(*limit) && *limit <= most)
    };
    let shown: Vec<String> = report.limits.iter().map(|(name, limit)| shown_limit(name, *limit)).collect();
    Layer::tried("resource limits", expected.into_iter().all(holds), shown.join(", "))
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
    let own = rustix::process::getuid().as_raw();
    let theirs = processes.last().and_then(|process| user_of(*process));
    let name = "another user";
    match theirs {
        None => Layer::new(name, LayerState::Untried, "the user of the processes inside cannot be read"),
        Some(user) if own != 0 => {
            Layer::new(name, LayerState::NotNeeded, format!("programs run as user {user}, who is not root"))
        }
        Some(user) => Layer::tried(name, user != 0, format!("we are root, programs run as user {user}")),
    }
}

fn user_of(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
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
