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

/// The same, of one that ends in order when it is told to, and reports its child's end or starts it again.
const ORDERLY: &str = "orderly";

/// What an orderly parent says of its child's end.
const REPORTED: &str = "the child has ended";

/// Children of an orderly parent.
const CHILDREN: usize = 4;

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
    if let [mode, folder, script] = &arguments[..]
        && mode == ORDERLY
    {
        orderly(Path::new(folder), script);
    }
    let tests: [Test; 11] = [
        ("its end is told in words, with its last lines", its_end_is_told),
        ("a command that does not exist says so", a_missing_command),
        ("the environment is set and removed", the_environment),
        ("a child that is stopped ends with all that it has started", stopped),
        ("children are stopped together", stopped_together),
        ("a program that is told to end reports no end of a child, and starts none", told_to_end),
        ("no child gets the key of servers", no_key),
        ("what a child leaves behind ends with it", left_behind),
        ("after a kill of the parent nothing runs", a_killed_parent),
        ("a supervisor that is told to end ends its child", a_terminated_supervisor),
        ("a brief command is told what it is to know, and ends in time", briefly),
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
    child.stop();
    assert!(!is_running(process));
}

/// Deaf to polite signals.
const STUBBORN: &str = "trap '' TERM; while :; do sleep 600; done";

fn stopped_together(folder: &Path) {
    let start = |_| Child::start(&shell(folder, &format!("{STUBBORN} # {}", folder.display()))).unwrap();
    let children: Vec<Child> = (0..CHILDREN).map(start).collect();
    wait_for("the children", || running_in(folder).len() >= CHILDREN);
    let started = Instant::now();
    child::stop_together(children);
    assert!(started.elapsed() < child::GRACE + Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(running_in(folder), Vec::<u32>::new());
}

/// Processes with the folder in their command line.
fn running_in(folder: &Path) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let name = folder.display().to_string();
    let names_it = |id: &u32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&name)
    };
    ids.filter(names_it).filter(|id| is_running(*id)).collect()
}

/// Starts several children, waits for their ends on a thread each, and starts them again, until it is told to end.
fn orderly(folder: &Path, script: &str) -> ! {
    ctrlc::set_handler(|| {
        child::stop_all();
        std::process::exit(130);
    })
    .unwrap();
    let keep = || {
        loop {
            let child = Child::start(&shell(folder, script)).unwrap();
            let (_, how) = child.wait().unwrap();
            println!("{REPORTED}: {how}");
        }
    };
    std::thread::scope(|scope| (0..CHILDREN).for_each(|_| drop(scope.spawn(keep))));
    unreachable!("they are kept forever")
}

/// Ends an orderly parent as soon as its children run; gives what it has said, and for how long it has lived on.
fn ended_in_order(folder: &Path, script: &str, signal: &str, who: impl Fn(u32) -> String) -> Duration {
    let script = format!("echo $$ >> {0}/started; {script} # {0}", folder.display());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ORDERLY, &folder.display().to_string(), &script]).stdout(std::process::Stdio::piped());
    let parent = command.spawn().unwrap();
    let has_started = || {
        let ids = fs::read_to_string(folder.join("started")).unwrap_or_default();
        ids.lines().count() == CHILDREN
    };
    wait_for("the children", has_started);
    let told = Instant::now();
    let to = who(parent.id());
    Command::new("sh").args(["-c", &format!("kill {signal} {to}")]).status().unwrap();
    let output = parent.wait_with_output().unwrap();
    let lived_on = told.elapsed();
    assert_eq!(running_in(folder), Vec::<u32>::new(), "nothing runs once the parent has ended");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(has_started(), "none is started during the stop");
    lived_on
}

fn told_to_end(folder: &Path) {
    for (name, signal) in [("one", "-TERM"), ("two", "-TERM"), ("three", "-TERM"), ("four", "-INT")] {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        ended_in_order(&folder, "exec sleep 600", signal, |parent| parent.to_string());
    }
    // As a batch system does it: all processes of the job get the signal, the children before us.
    let all = folder.join("all");
    fs::create_dir(&all).unwrap();
    ended_in_order(&all, "exec sleep 600", "-TERM", |parent| {
        let children = fs::read_to_string(all.join("started")).unwrap();
        format!("{} {parent}", children.replace('\n', " "))
    });
    // Those that end at once are not reported while another is waited for.
    let mixed = folder.join("mixed");
    fs::create_dir(&mixed).unwrap();
    let one_is_deaf =
        format!("if mkdir {}; then {STUBBORN}; else exec sleep 600; fi", mixed.join("first").display());
    ended_in_order(&mixed, &one_is_deaf, "-TERM", |parent| parent.to_string());
    let deaf = folder.join("deaf");
    fs::create_dir(&deaf).unwrap();
    let lived_on = ended_in_order(&deaf, STUBBORN, "-TERM", |parent| parent.to_string());
    assert!(lived_on < child::GRACE + Duration::from_secs(4), "{lived_on:?}: one after another");
}

fn no_key(folder: &Path) {
    let this = std::env::current_exe().unwrap();
    let script = "echo key=[$LATRACE_SERVER_KEY]";
    let mut parent = Command::new(this);
    parent.args([PARENT, &folder.display().to_string(), script]).env(child::SERVER_KEY, "sesame");
    let mut parent = parent.spawn().unwrap();
    let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
    wait_for("the child", || log().contains("key=[]") || log().contains("sesame"));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(!log().contains("sesame"), "{}", log());
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

fn briefly(folder: &Path) {
    let (out, long) = (folder.join("out"), Duration::from_secs(60));
    let script = format!("echo \"$ONE\" > {}", out.display());
    child::run_briefly(&script, &[("ONE", "1 'and' 2".to_owned())], long).unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), "1 'and' 2\n");
    let failure = |script: &str, limit| child::run_briefly(script, &[], limit).unwrap_err().to_string();
    assert_eq!(failure("exit 3", long), "exit code 3");
    let (script, id) = with_a_stubborn_process(folder, "sleep 600");
    assert_eq!(failure(&script, Duration::from_secs(2)), "not finished after 2 s");
    assert!(!is_running(process_in(&id)), "what it has started ends with it");
}
