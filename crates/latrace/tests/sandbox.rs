//! What the sandbox consists of here, and that nothing is left of a program that ran in it.
//!
//! One test at a time: processes that lose their parent become this process's children, and it looks at all
//! it has.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use latrace_verify::code::{Fencing, Json, LayerState, Limits, Sandbox, Tests, judge, layers};

static ALONE: Mutex<()> = Mutex::new(());

fn launcher() -> PathBuf {
    assert_cmd::cargo::cargo_bin("latrace")
}

/// The sandbox, or a notice where there is none.
fn sandbox() -> Option<Sandbox> {
    Sandbox::new(&launcher()).inspect_err(|error| println!("no sandbox here: {error}")).ok()
}

/// Children of this process, dead or alive, by name.
fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let name = |process: &str| fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    lists.flat_map(|list| list.split_whitespace().map(name).collect::<Vec<_>>()).collect()
}

#[track_caller]
fn check(sandbox: &Sandbox, program: &str, limits: Limits, expected: &str) {
    let tests = Tests::read(&Json::read(r#"{"inputs": ["3\n"], "outputs": ["6\n"]}"#).unwrap()).unwrap();
    let judgement = judge(&tests, program, Fencing::Optional, &limits, sandbox, 0);
    assert_eq!(judgement.reason.code(), expected, "{program}");
    assert_eq!(children(), Vec::<String>::new(), "after {program}");
}

#[test]
fn nothing_is_left_of_a_program_however_it_ends() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Whatever loses its parent below this process becomes its child, and stays until it is waited for.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let Some(sandbox) = sandbox() else {
        return;
    };
    // Time enough for a machine that does other work too.
    let limits = Limits { time_s: 60.0, memory_mb: 256, output_mb: 1, processes: 16 };
    let short = Limits { time_s: 0.5, ..limits };
    let spawn = "import os, time\nfor _ in range(5):\n  if os.fork() == 0: time.sleep(60)\n";
    for _ in 0..10 {
        check(&sandbox, "print(2 * int(input()))", limits, "equal");
    }
    check(&sandbox, &format!("{spawn}print(2 * int(input()))"), limits, "equal");
    check(&sandbox, "import sys; sys.exit(1)", limits, "crashed");
    check(&sandbox, "import os; os.kill(os.getpid(), 9)", limits, "crashed");
    check(&sandbox, "import time; time.sleep(60)", short, "time_limit");
    check(&sandbox, &format!("{spawn}time.sleep(60)"), short, "time_limit");
    check(&sandbox, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", short, "time_limit");
    let hoard = "import os, time\nfor _ in range(6):\n  if os.fork() == 0:\n    b = bytearray(60 << 20); time.sleep(60)\ntime.sleep(60)";
    check(&sandbox, hoard, limits, "memory_limit");
    check(&sandbox, "while True: print('x' * 1000)", limits, "output_limit");
    let double_fork = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(60)\n  os._exit(0)\nos.wait()\n";
    check(&sandbox, &format!("{double_fork}print(2 * int(input()))"), limits, "equal");
}

#[test]
fn integers_of_any_size_go_in_and_come_out() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(sandbox) = sandbox() else {
        return;
    };
    let judged = |program: &str, expected: &str| {
        let text = format!(
            r#"{{"fn_name": "f", "inputs": [[123456789012345678901234567890]], "outputs": [{expected}]}}"#
        );
        judge(
            &Tests::read(&Json::Text(text)).unwrap(),
            program,
            Fencing::Optional,
            &Limits::default(),
            &sandbox,
            0,
        )
        .reason
        .code()
    };
    assert_eq!(judged("def f(x): return x + 1", "123456789012345678901234567891"), "equal");
    assert_eq!(judged("def f(x): return x + 1", "123456789012345678901234567890"), "different");
    assert_eq!(judged("def f(x): return float(x)", "123456789012345678901234567890"), "different");
    assert_eq!(judged("def f(x): return type(x).__name__", "\"int\""), "equal");
    assert_eq!(judged("def f(x): return 10 ** 5000", &format!("1{}", "0".repeat(5000))), "equal");
}

#[test]
fn layers_are_those_that_programs_see() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = layers(&launcher());
    for layer in &found {
        println!("{layer}");
        assert!(!layer.detail.is_empty(), "{layer}");
    }
    assert_eq!(found[0].name, "sandbox");
    let state = |name: &str| found.iter().find(|layer| layer.name == name).map(|layer| layer.state);
    let within = [
        "user namespace",
        "process namespace",
        "network namespace",
        "system call filter",
        "resource limits",
        "read-only system",
        "memory watch",
    ];
    let expected =
        if found[0].state == LayerState::Active { LayerState::Active } else { LayerState::Untried };
    for name in within {
        // A namespace is tried by itself where the whole does not work.
        if expected == LayerState::Active || !name.ends_with("namespace") {
            assert_eq!(state(name), Some(expected), "{name}");
        }
    }
    let is_root = rustix::process::geteuid().is_root();
    if expected == LayerState::Active {
        assert_eq!(
            state("another user"),
            Some(if is_root { LayerState::Active } else { LayerState::NotNeeded })
        );
    }
}

#[test]
fn without_an_executable_nothing_works_and_every_layer_says_so() {
    let found = layers(&PathBuf::from("/nowhere/launcher"));
    assert_eq!(found[0].state, LayerState::Missing, "{}", found[0]);
    assert!(
        found
            .iter()
            .filter(|layer| layer.name == "system call filter")
            .all(|layer| layer.state == LayerState::Untried)
    );
}

#[test]
fn what_starts_the_launcher_takes_it_along_when_it_ends() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if sandbox().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let row = serde_json::json!({"id": 1, "kind": "code", "gold": {"inputs": [""], "outputs": [""]}, "prediction": "import time; time.sleep(50)", "bare": true, "limits": {"time_s": 50}});
    fs::write(folder.path().join("rows.jsonl"), row.to_string()).unwrap();
    let mut command = std::process::Command::new(launcher());
    let mut child = command
        .args(["verify", "--data", "rows.jsonl", "--out", "out.jsonl"])
        .current_dir(folder.path())
        .spawn()
        .unwrap();
    let below = || {
        let all = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        all.filter(|line| {
            line.contains("__sandbox") && line.contains(&format!("__sandbox\0{}\0", child.id()))
        })
        .count()
    };
    let until = |wanted: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !wanted() && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        wanted()
    };
    assert!(until(&|| below() == 1));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert!(until(&|| below() == 0));
    child.wait().unwrap();
}
