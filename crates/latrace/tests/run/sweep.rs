//! `latrace sweep` and `--notify` from outside.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::Bench;

/// A run of a second or so.
const SHORT: [&str; 4] = ["skip=[\"rft\"]", "initial.max_steps=4", "posterior.max_steps=4", "traces.n=2"];

fn sweep(bench: &Bench, arguments: &[&str]) -> Output {
    let mut command = bench.latrace(&["sweep", "tiny.toml", "--sweep-dir", "swept"]);
    command.args(SHORT).args(arguments).output().unwrap()
}

#[track_caller]
fn check(bench: &Bench, arguments: &[&str], code: i32, expected: &[&str]) -> String {
    let output = sweep(bench, arguments);
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
    assert_eq!(output.status.code(), Some(code), "{said}");
    expected.iter().for_each(|expected| assert!(said.contains(expected), "expected {expected:?} in {said}"));
    said
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_sweep_carries_out_every_combination_and_pools_the_seeds() {
    let bench = Bench::new();
    let steps = ["final.max_steps=2,3", "--seeds", "2"];
    check(
        &bench,
        &[&steps[..], &["--dry-run"]].concat(),
        0,
        &["swept/max_steps=2-seed=1", "to be done", "4 runs of tiny"],
    );
    assert!(!bench.run_folder("swept").exists(), "a dry run leaves nothing");

    let report = "latrace report swept/max_steps=2-seed=0 swept/max_steps=2-seed=1 swept/max_steps=3-seed=0 swept/max_steps=3-seed=1";
    let said = check(&bench, &steps, 0, &["run 4 of 4, max_steps=3-seed=1: begins", report]);
    assert_eq!(said.matches("| setting ").count(), 4, "a table after each run: {said}");
    let plan = read(&bench.run_folder("swept/sweep.json"));
    assert_eq!(plan["runs"][1]["folder"], "max_steps=2-seed=1");
    assert_eq!(plan["runs"][1]["settings"]["final.max_steps"], "2");

    let results = read(&bench.run_folder("swept/summary.json"));
    let second = &results["sweep"][1];
    assert_eq!(second["name"], "max_steps=3");
    let model = second["models"].as_array().unwrap().iter().find(|model| model["model"] == "final").unwrap();
    let of_run = |seed: &str| {
        let run = read(&bench.run_folder(&format!("swept/max_steps=3-seed={seed}/summary.json")));
        run["models"]["final"].clone()
    };
    for (seed, name) in
        ["0", "1"].into_iter().flat_map(|seed| ["accuracy", "high", "samples"].map(|name| (seed, name)))
    {
        assert_eq!(model["by_seed"][seed][name], of_run(seed)[name]);
    }
    // Seeds draw questions of their own here, so those of both count.
    assert_eq!((&model["pooled"]["questions"], &model["pooled"]["samples"]), (&json!(40), &json!(80)));

    let again = check(&bench, &steps, 0, &["run 1 of 4, max_steps=2-seed=0: done already"]);
    assert_eq!(again.matches("| setting ").count(), 1, "{again}");
    check(
        &bench,
        &["final.max_steps=2,4", "--seeds", "2"],
        2,
        &["is another sweep: its run max_steps=3-seed=0"],
    );
    let compared = bench.latrace(&["compare", "--pooled", "swept"]).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));

    status_tells_the_state_of_every_run(&bench);

    let more = ["final.max_steps=2,3", "--seeds", "3"];
    let listed = check(&bench, &[&more[..], &["--dry-run"]].concat(), 0, &["6 runs of tiny"]);
    assert_eq!(
        (listed.matches("to be done |").count(), listed.matches(" done |").count()),
        (2, 6),
        "{listed}"
    );
}

fn status_tells_the_state_of_every_run(bench: &Bench) {
    let status = |arguments: &[&str]| {
        let output = bench.latrace(&[&["status", "swept"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let moved = |from: &str, to: &str| fs::rename(bench.run_folder(from), bench.run_folder(to)).unwrap();
    moved("swept/max_steps=2-seed=1", "elsewhere");
    moved("swept/max_steps=3-seed=0/09-final", "final");
    let expected = "\
swept: a sweep of the recipe tiny
2 of 4 runs done

done         max_steps=2-seed=0 15 of 15 stages
to do        max_steps=2-seed=1
stopped      max_steps=3-seed=0 14 of 15 stages
done         max_steps=3-seed=1 15 of 15 stages
";
    assert_eq!(status(&[]), expected);
    let json: Value = serde_json::from_str(&status(&["--json"])).unwrap();
    assert_eq!(json["runs"][1], json!({"folder": "max_steps=2-seed=1", "state": "waiting"}));
    let stopped = json!({"folder": "max_steps=3-seed=0", "state": "stopped", "done": 14, "stages": 15});
    assert_eq!((&json["runs"][2], &json["done"]), (&stopped, &json!(2)));
    // Of another layout.
    moved("swept/max_steps=3-seed=0/layout.json", "layout");
    assert!(status(&[]).contains("\nunknown      max_steps=3-seed=0 "), "{}", status(&[]));
    moved("layout", "swept/max_steps=3-seed=0/layout.json");
    moved("final", "swept/max_steps=3-seed=0/09-final");
    moved("elsewhere", "swept/max_steps=2-seed=1");
}

#[test]
fn a_run_that_fails_does_not_keep_the_others_from_being_done() {
    let bench = Bench::new();
    fs::create_dir_all(bench.run_folder("swept/n=2")).unwrap();
    fs::write(bench.run_folder("swept/n=2/layout.json"), "{\"layout\": 1, \"version\": \"0\"}").unwrap();
    let tell = "printf '%s|%s' \"$LATRACE_STATE\" \"$LATRACE_MESSAGE\" > told";
    let settings = ["evaluation.n=2,3", "--notify", tell];
    check(
        &bench,
        &settings,
        1,
        &["run 1 of 2, n=2 failed: ", "1 of 2 runs failed: n=2", "| n=3     |   final |"],
    );
    assert!(bench.run_folder("swept/n=3/summary.json").is_file());
    assert_eq!(fs::read_to_string(bench.run_folder("told")).unwrap(), "failed|1 of 2 runs failed: n=2");
    // Once what was wrong is gone, the rest is done.
    fs::remove_dir_all(bench.run_folder("swept/n=2")).unwrap();
    check(&bench, &settings, 0, &["run 1 of 2, n=2: begins", "run 2 of 2, n=3: done already"]);
    assert_eq!(fs::read_to_string(bench.run_folder("told")).unwrap(), "done|2 runs done");
}

#[test]
fn a_wrong_value_is_refused_before_the_first_run() {
    let bench = Bench::new();
    let same = "the runs learning_rate=1e-3 and learning_rate=0.001 of the sweep have the same settings";
    check(&bench, &["final.learning_rate=1e-3,3e-3,0.001"], 2, &[same, "hint: list each value once"]);
    check(&bench, &["evaluation.n=2,many"], 2, &["evaluation.n"]);
    assert!(!bench.run_folder("swept").exists());
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() {
    let bench = Bench::new();
    let mut command = bench.latrace(&["sweep", "tiny.toml", "--sweep-dir", "swept"]);
    let mut child = command.args(SHORT).args(["evaluation.n=2,3"]).spawn().unwrap();
    let begun = bench.run_folder("swept/n=3/recipe.toml");
    while !begun.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = sweep(&bench, &["evaluation.n=2,3"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let _ = child.kill();
    child.wait().unwrap();
    assert!(said.contains("another process is working in swept") || said.contains("done already"), "{said}");
    check(&bench, &["evaluation.n=2,3"], 0, &["run 1 of 2, n=2: done already", "| n=3     |   final |"]);
}

/// Writes what it is told.
const TELL: &str = "printf '%s|%s|%s' \"$LATRACE_RUN\" \"$LATRACE_STATE\" \"$LATRACE_MESSAGE\" > told";

fn told(bench: &Bench) -> Vec<String> {
    let text = fs::read_to_string(bench.run_folder("told")).unwrap();
    text.split('|').map(str::to_owned).collect()
}

#[test]
fn a_command_is_told_how_a_run_ended() {
    let bench = Bench::new();
    let settings = [&SHORT[..], &["final.max_steps=2", "--notify"]].concat();
    bench.done("r", &[&settings[..], &[TELL]].concat());
    let models = read(&bench.run_folder("r/summary.json"))["models"].clone();
    let [before, after] = ["initial", "final"].map(|name| 100.0 * models[name]["accuracy"].as_f64().unwrap());
    let said = told(&bench);
    assert_eq!(
        said[..2],
        [fs::canonicalize(bench.run_folder("r")).unwrap().display().to_string(), "done".to_owned()]
    );
    assert!(said[2].starts_with(&format!("accuracy in percent: {before:.1} (")), "{said:?}");
    assert!(said[2].contains(&format!("before, {after:.1} (")) && said[2].ends_with("after"), "{said:?}");

    // Its own failure is none of the run's.
    let warned = bench.done("r", &[&settings[..], &["exit 3"]].concat());
    assert!(warned.contains("the command of --notify failed: exit code 3"), "{warned}");

    fs::write(bench.run_folder("r/layout.json"), "{\"layout\": 1, \"version\": \"0\"}").unwrap();
    fs::remove_file(bench.run_folder("r/recipe.toml")).unwrap();
    bench.refused("r", &[&settings[..], &[TELL]].concat(), 2, "layout");
    let said = told(&bench);
    assert!(said[1] == "failed" && said[2].contains("layout"), "{said:?}");
}

#[test]
fn a_command_is_told_of_an_interruption() {
    let bench = Bench::new();
    let child = bench.command("r", &["--notify", TELL]).spawn().unwrap();
    while !bench.run_folder("r/01-initial").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let said = told(&bench);
    assert!(said[1] == "interrupted" && said[2].contains("r keeps what is finished"), "{said:?}");
}

#[test]
fn what_the_command_leaves_running_ends_and_so_does_the_command_with_the_program() {
    let bench = Bench::new();
    let alive = |id: &str| {
        let id = fs::read_to_string(bench.run_folder(id)).unwrap();
        Path::new("/proc").join(id.trim()).exists()
    };
    let leave = "setsid sleep 600 > /dev/null & echo $! > left";
    bench.done("r", &[&SHORT[..], &["--notify", leave]].concat());
    assert!(!alive("left"), "it does not outlive the command");

    // Nothing is left to be done: the command is told at once, and hangs.
    let hang = "trap '' TERM; sleep 600 & echo $! > hangs.new; mv hangs.new hangs; wait";
    let child = bench.command("r", &[&SHORT[..], &["--notify", hang]].concat()).spawn().unwrap();
    while !bench.run_folder("hangs").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(!alive("hangs") && !stderr.contains("the command of --notify failed"), "{stderr}");
}

#[test]
fn a_command_that_prints_leaves_standard_output_to_the_results() {
    let bench = Bench::new();
    let quoted = "echo \"it's | \\\"$LATRACE_STATE\\\"\" | cat; yes | head -c 3000000";
    let output = bench.run("r", &[&SHORT[..], &["--notify", quoted]].concat());
    assert!(output.status.success());
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(stderr.contains("it's | \"done\"\n") && stderr.matches("y\n").count() >= 1_500_000);
    assert!(stdout.contains("final") && !stdout.contains("it's"), "{stdout}");
    bench.refused("r", &["--notify", ""], 2, "a value is required for '--notify <COMMAND>'");
    let warned = bench.done("r", &[&SHORT[..], &["--notify", "no-such-program"]].concat());
    assert!(warned.contains("the command of --notify failed: exit code 127"), "{warned}");
}

#[test]
fn a_command_is_told_even_if_another_version_was_installed_meanwhile() {
    let bench = Bench::new();
    let program = bench.run_folder("latrace");
    fs::copy(assert_cmd::cargo::cargo_bin!("latrace"), &program).unwrap();
    let mut command = std::process::Command::new(&program);
    command.current_dir(bench.folder.path()).args(["run", "tiny.toml", "--run-dir", "r", "--notify", TELL]);
    let child = command.args(SHORT).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !bench.run_folder("r").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::remove_file(&program).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told(&bench)[1], "done");
}

fn interrupt(process: u32) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-TERM", &process.to_string()]).status().unwrap().success());
}

#[test]
fn a_sweep_of_a_changed_recipe_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    let seeds = ["--seeds", "2"];
    check(&bench, &seeds, 0, &["2 of 2"]);
    let summary = fs::read(bench.run_folder("swept/summary.json")).unwrap();
    let recipe = bench.folder.path().join("tiny.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace("learning_rate = 1e-3", "learning_rate = 2e-3")).unwrap();
    check(&bench, &seeds, 2, &["final.learning_rate was 0.001, is 0.002", "--sweep-dir NEW"]);
    assert_eq!(fs::read(bench.run_folder("swept/summary.json")).unwrap(), summary);
}
