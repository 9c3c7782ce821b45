//! Children end with their parent, whatever ends it, and with all that they have started. Without a test harness: the
//! supervisor is this binary once more.
#![allow(clippy::unwrap_used, reason = "without a harness, no function is marked as a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use latrace_engine::child::{self, Child, ChildCommand};

/// First argument of a process that starts the child of its second and third, and then sleeps.
const PARENT: &str = "parent";

fn main() -> ExitCode {
    if let Some(code) = child::hidden() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder, script] = &arguments[..]
        && mode == PARENT
    {
        let _child = Child::start(&shell(Path::new(folder), script)).unwrap();
        sleep(Duration::from_secs(600));
    }
    let tests: [Test; 7] = [
        ("its end is told in words, with its last lines", its_end_is_told),
        ("a command that does not exist says so", a_missing_command),
        ("the environment is set and removed", the_environment),
        ("a child that is stopped ends with all that it has started", stopped),
        ("what a child leaves behind ends with it", left_behind),
        ("after a kill of the parent nothing runs", a_killed_parent),
        ("a supervisor that is told to end ends its child", a_terminated_supervisor),
    ];
    for (name, test) in tests {
        test(tempfile::tempdir().unwrap().path());
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// A name, and a test that gets an empty folder.
type Test = (&'static str, fn(&Path));

fn shell(folder: &Path, script: &str) -> ChildCommand {
    ChildCommand {
        name: "shell".to_owned(),
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        env: Vec::new(),
        log: folder.join("log"),
    }
}

/// A script that starts a process in a session of its own, which writes its id and sleeps, deaf to polite signals; and
/// the file of that id.
fn with_a_stubborn_process(folder: &Path, then: &str) -> (String, PathBuf) {
    let stubborn = folder.join("stubborn.sh");
    let id = folder.join("id");
    let [new, id_name] = [folder.join("id.new").display().to_string(), id.display().to_string()];
    fs::write(
        &stubborn,
        format!("trap '' TERM\necho $$ > {new}\nmv {new} {id_name}\nsleep 600\nsleep 600\n"),
    )
    .unwrap();
    let wait = format!("while [ ! -e {id_name} ]; do sleep 0.01; done");
    (format!("setsid sh {} & {wait}; {then}", stubborn.display()), id)
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "still waiting for {what}");
        sleep(Duration::from_millis(10));
    }
}

fn process_in(id: &Path) -> u32 {
    wait_for("the process's id", || id.exists());
    fs::read_to_string(id).unwrap().trim().parse().unwrap()
}

/// A process that has ended may wait for someone to ask how.
fn is_running(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn its_end_is_told(folder: &Path) {
    for (script, expected) in
        [("echo a; echo b >&2; exit 3", "exit code 3"), ("kill -9 $$", "killed by signal 9")]
    {
        let child = Child::start(&shell(folder, script)).unwrap();
        assert_eq!(child.wait().unwrap(), (false, expected.to_owned()));
        assert_eq!(child.exited().unwrap().as_deref(), Some(expected));
    }
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert_eq!(log, "$ sh -c echo a; echo b >&2; exit 3\na\nb\n$ sh -c kill -9 $$\n");
    let child = Child::start(&shell(folder, "true")).unwrap();
    assert_eq!(child.wait().unwrap(), (true, "exit code 0".to_owned()));
    assert!(child.last_lines().ends_with("$ sh -c true"), "{}", child.last_lines());
}

fn a_missing_command(folder: &Path) {
    let command = ChildCommand { argv: vec!["/no/such/program".to_owned()], ..shell(folder, "") };
    let child = Child::start(&command).unwrap();
    assert_eq!(child.wait().unwrap(), (false, "exit code 127".to_owned()));
    assert!(
        child.last_lines().contains("cannot start /no/such/program: No such file"),
        "{}",
        child.last_lines()
    );
    let empty = ChildCommand { argv: Vec::new(), ..shell(folder, "") };
    assert!(Child::start(&empty).unwrap_err().to_string().contains("the command to start is empty"));
}

fn the_environment(folder: &Path) {
    let env = vec![("LATRACE_ONE".to_owned(), Some("1".to_owned())), ("HOME".to_owned(), None)];
    let command = ChildCommand { env, ..shell(folder, "echo \"[$LATRACE_ONE][$HOME]\"") };
    let child = Child::start(&command).unwrap();
    child.wait().unwrap();
    assert!(child.last_lines().ends_with("[1][]"), "{}", child.last_lines());
}

fn stopped(folder: &Path) {
    let (script, id) = with_a_stubborn_process(folder, "sleep 600");
    let child = Child::start(&shell(folder, &script)).unwrap();
    let process = process_in(&id);
    assert!(child.exited().unwrap().is_none() && is_running(process));
    assert_eq!(child::stop_all(), 1);
    assert!(!is_running(process));
    assert!(child.exited().unwrap().is_some());
    assert_eq!(child::stop_all(), 0);
}

fn left_behind(folder: &Path) {
    let (script, id) = with_a_stubborn_process(folder, "exit 4");
    let child = Child::start(&shell(folder, &script)).unwrap();
    let process = process_in(&id);
    assert_eq!(child.wait().unwrap(), (false, "exit code 4".to_owned()));
    assert!(!is_running(process));
}

fn a_killed_parent(folder: &Path) {
    let (script, id) = with_a_stubborn_process(folder, "sleep 600");
    let this = std::env::current_exe().unwrap();
    let mut parent =
        Command::new(this).args([PARENT, &folder.display().to_string(), &script]).spawn().unwrap();
    let process = process_in(&id);
    assert!(is_running(process));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for("the end of the process", || !is_running(process));
}

fn a_terminated_supervisor(folder: &Path) {
    let (script, id) = with_a_stubborn_process(folder, "sleep 600");
    let child = Child::start(&shell(folder, &script)).unwrap();
    let process = process_in(&id);
    // The only child that is ours.
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let supervisor = lists.collect::<String>().trim().to_owned();
    assert!(Command::new("kill").args(["-TERM", &supervisor]).status().unwrap().success());
    wait_for("the end of the process", || !is_running(process));
    child.wait().unwrap();
}
