//! `latrace report` and `latrace serve` from outside: a tiny run, finished and not, as page and over HTTP.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use latrace_report::{ReportData, SeveralRuns, StageState};
use serde_json::Value;
use tempfile::TempDir;

/// Small enough for seconds, with every stage and a second method of two rounds.
const RECIPE: &str = r#"
seed = 3
questions = { task = "walk", sizes = { traced = 40, untraced = 24, validation = 8, test = 20 } }
prompts = { markers = "plain", reasoner = "plain", posterior = "plain_posterior" }
initial = { batch_size = 8, max_steps = 30, learning_rate = 1e-2 }
posterior = { batch_size = 8, max_steps = 30, learning_rate = 1e-2 }
traces = { questions = "unseen", n = 4, temperature = 1.0, max_new_tokens = 48 }
answers = { n = 2, temperature = 1.0, max_new_tokens = 12 }
weights = { selection = "weighted" }
final = { batch_size = 8, max_steps = 10, learning_rate = 1e-3 }
evaluation = { n = 3, max_new_tokens = 64 }
engine = { part_questions = 8 }
baselines = { rft = { method = "rft", rounds = 2 } }

[model]
shape = { architectures = ["Qwen3ForCausalLM"], model_type = "qwen3", hidden_size = 16, intermediate_size = 32, num_hidden_layers = 2, num_attention_heads = 2, num_key_value_heads = 1, head_dim = 8, max_position_embeddings = 96, rms_norm_eps = 1e-6, rope_theta = 1000.0, tie_word_embeddings = true }
"#;

/// A finished run, made once.
fn finished_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
        // What an earlier version of the program left is no run of this one.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("tiny.toml"), RECIPE).unwrap();
        let output =
            latrace().current_dir(&folder).args(["run", "tiny.toml", "--run-dir", "run"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join("run")
    })
}

/// A copy of the finished run, to be damaged.
fn copy_of_run() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("copy");
    assert!(Command::new("cp").arg("-r").arg(finished_run()).arg(&run).status().unwrap().success());
    (folder, run)
}

fn latrace() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    command.stdin(Stdio::null());
    command
}

/// The page of a run, and the data in it.
#[track_caller]
fn report(run: &Path) -> (String, ReportData) {
    let out = TempDir::new().unwrap();
    let page = out.path().join("page.html");
    let output = latrace().arg("report").arg(run).arg("--out").arg(&page).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(page).unwrap();
    let json = text.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data = serde_json::from_str(json).unwrap();
    (text, data)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_page_holds_what_the_run_counted() {
    let run = finished_run();
    let (text, data) = report(run);
    assert_eq!(text, report(run).0, "the same run gives the same page");
    assert!(
        data.run.finished
            && data.stages.iter().all(|stage| stage.state == StageState::Done && stage.seconds.is_some())
    );
    let summary = read_json(&run.join("summary.json"));
    assert_eq!(
        data.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(),
        ["initial", "final", "rft"]
    );
    for model in &data.models {
        assert_eq!(
            serde_json::to_value(model.overall).unwrap()["accuracy"],
            summary["models"][&model.name]["accuracy"]
        );
        assert_eq!((model.overall.questions, model.overall.samples, model.pass_at.len()), (20, 60, 3));
        // pass@1 is the accuracy, with its interval.
        assert_eq!(model.pass_at[0], model.overall.interval());
    }
    assert_eq!(
        data.comparisons.iter().map(|pair| (pair.against.as_str(), pair.questions)).collect::<Vec<_>>(),
        [("initial", 20), ("rft", 20)]
    );
    let traces = read_json(&run.join("03-traces/stage.json"))["counts"].clone();
    let funnel: Vec<u64> = data.funnel.iter().map(|step| step.count).collect();
    assert_eq!(
        (funnel[0], funnel[1]),
        (traces["sampled"].as_u64().unwrap(), traces["closed"].as_u64().unwrap())
    );
    assert!(funnel.windows(2).all(|pair| pair[1] <= pair[0]), "{funnel:?}");
    let judged = read_json(&run.join("06-verdicts/stage.json"))["counts"]["judged"].as_u64().unwrap();
    assert_eq!(data.verdicts.iter().map(|verdict| verdict.count).sum::<u64>(), judged);
    let weights = data.weights.as_ref().unwrap();
    assert_eq!(weights.rho.counts.iter().sum::<u64>(), traces["closed"].as_u64().unwrap());
    assert_eq!(weights.effective.counts.iter().sum::<u64>(), weights.questions as u64);
    assert_eq!(data.bounds.as_ref().unwrap().points.len(), 4);
    assert_eq!(data.lengths.as_ref().unwrap().traces as u64, traces["closed"].as_u64().unwrap());
    assert!(data.emphasis.as_ref().unwrap().of.contains("drawn for RFT"));
    assert_eq!(data.emphasis.as_ref().unwrap().accuracies.counts.iter().sum::<u64>(), 24);
    assert_eq!(
        data.training.iter().map(|training| (training.name.as_str(), training.steps)).collect::<Vec<_>>(),
        [("initial", 30), ("posterior", 30), ("final", 10)]
    );
    assert_eq!(serde_json::to_value(&data.diagnostics).unwrap(), summary["diagnostics"]);
    assert_eq!(data.diagnostics.lift.unwrap().questions, 24);
    let cautions = &data.diagnostics.cautions;
    let told = |text: &String| data.findings.remarks.iter().any(|remark| remark.text[1..] == text[1..]);
    assert!(!cautions.is_empty() && cautions.iter().all(told), "{cautions:?}");
    assert!(data.missing.is_empty(), "{:?}", data.missing);
}

#[test]
fn traces_can_be_read_with_their_tokens() {
    let data = report(finished_run()).1;
    let traces = &data.traces;
    assert_eq!(
        (traces.questions.len(), traces.of, traces.seed, traces.writer.as_str()),
        (24, 24, None, "the posterior")
    );
    for question in &traces.questions {
        assert_eq!(question.traces.iter().map(|trace| trace.times).sum::<u64>(), 4);
    }
    for trace in traces.questions.iter().flat_map(|question| &question.traces) {
        assert_eq!(trace.tokens.len(), trace.length);
        assert_eq!(trace.centinats.len(), if trace.closed { trace.length } else { 0 });
        assert_eq!(
            trace.answers.iter().map(|answer| answer.times).sum::<u64>(),
            if trace.closed { 2 * trace.times } else { 0 }
        );
        assert_eq!(trace.weight.is_some(), trace.closed);
        if let Some(log_ratio) = trace.log_ratio {
            // Hundredths are rounded, each by at most half of one.
            let mean = f64::from(trace.centinats.iter().sum::<i32>()) / 100.0 / trace.length as f64;
            assert!((mean - log_ratio).abs() < 0.006, "{mean} {log_ratio}");
        }
    }
    let question = &traces.questions[0];
    let text: String =
        question.traces[0].tokens.iter().map(|&token| traces.vocabulary[token as usize].as_str()).collect();
    assert!(text.split_whitespace().count() > 2, "{text:?}");
    assert!(question.hint.is_some() && question.difficulty.is_some());
}

#[test]
fn a_stranger_learns_what_was_asked_and_where_the_run_was_made() {
    let run = finished_run();
    let data = report(run).1;
    let questions = data.questions.unwrap();
    assert!(questions.meaning.starts_with("Get from the first number"), "{}", questions.meaning);
    let example = questions.example.unwrap();
    assert!(example.answer.unwrap().starts_with(['+', '-', '*']) && example.question.split(' ').count() == 2);
    assert_eq!(questions.traced_by_difficulty.iter().map(|(_, number)| number).sum::<usize>(), 40);
    let names: Vec<_> = data.run.methods.iter().map(|of| (of.title.as_str(), of.settings.as_str())).collect();
    assert_eq!(names, [("Final", ""), ("RFT", "rounds = 2")]);
    let provenance = data.run.provenance.unwrap();
    assert_eq!(provenance.command, "latrace run tiny.toml --run-dir run");
    assert!(provenance.cores > 0 && !provenance.processor.is_empty() && provenance.finished.contains(" "));
    let responses = data.responses;
    assert_eq!(
        (responses.models, responses.questions.len()),
        (vec!["initial".to_owned(), "final".to_owned()], 20)
    );
    for of_model in responses.questions.iter().flat_map(|question| &question.responses) {
        assert_eq!(of_model.iter().map(|response| response.times).sum::<u64>(), 3);
        assert!(of_model.iter().all(|response| !response.thought.contains("</think>")));
    }
    assert!(responses.questions.iter().all(|question| question.answer.is_some()));
}

#[test]
fn several_runs_stand_on_one_page() {
    let (folder, other) = copy_of_run();
    let recipe = fs::read_to_string(other.join("recipe.toml")).unwrap();
    // As if it had been a run with another seed.
    fs::write(other.join("recipe.toml"), recipe.replace("seed = 3\n", "seed = 4\n")).unwrap();
    let page = folder.path().join("several.html");
    let write = |runs: &[&Path], out: &[&str]| {
        latrace().arg("report").args(runs).args(out).current_dir(folder.path()).output().unwrap()
    };
    let output = write(&[finished_run(), &other], &["--out", "several.html"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&page).unwrap();
    let json = text.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: SeveralRuns = serde_json::from_str(json).unwrap();
    assert_eq!(data.runs.iter().map(|one| one.run.name.as_str()).collect::<Vec<_>>(), ["run", "copy"]);
    assert!(data.runs.iter().all(|one| one.training.len() == 3 && one.run.recipe.is_none()));
    let [setting] = data.settings.as_slice() else { panic!("{:?}", data.settings) };
    assert_eq!(setting.name, "seed");
    assert_eq!(setting.values, [Some("3".to_owned()), Some("4".to_owned())]);
    let summary = read_json(&other.join("summary.json"));
    let names: Vec<&str> = data.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["initial", "final", "rft"]);
    for model in &data.models {
        let (one, pooled) = (model.by_run[0].unwrap(), model.pooled.unwrap());
        assert_eq!(model.by_run[1], Some(one));
        let counted = |name: &str| summary["models"][&model.name][name].as_f64().unwrap();
        assert_eq!([one.accuracy, one.low, one.high], ["accuracy", "low", "high"].map(counted));
        // The same questions with twice the responses, of which the same share is right.
        assert_eq!((pooled.questions, pooled.samples), (one.questions, 2 * one.samples));
        assert!((pooled.accuracy - one.accuracy).abs() < 1e-12);
    }
    let single = report(finished_run()).1;
    for (pooled, alone) in data.comparisons.iter().zip(&single.comparisons) {
        assert_eq!((&pooled.model, &pooled.against), (&"final".to_owned(), &alone.against));
        assert!((pooled.difference.mean - alone.difference.mean).abs() < 1e-12);
        assert!(pooled.difference.low <= pooled.difference.mean);
    }
    assert_eq!(data.comparisons.len(), 2);
    // Of several runs no folder is the page's own.
    let output = write(&[finished_run(), &other], &[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn runs_that_cannot_stand_beside_each_other_are_refused_by_name() {
    let (folder, other) = copy_of_run();
    let check = |runs: &[&Path], code: i32, expected: &str| {
        let mut command = latrace();
        let output = command
            .arg("report")
            .args(runs)
            .args(["--out", "several.html"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && stderr.contains(expected), "{stderr}");
    };
    check(&[&other, Path::new("copy"), finished_run()], 2, "copy is given twice");
    check(&[finished_run(), Path::new("gone")], 1, "gone");
    let record = other.join("09-final/stage.json");
    let whole = fs::read_to_string(&record).unwrap();
    let mut value: Value = serde_json::from_str(&whole).unwrap();
    value["stale"] = "the seed was 3, is 4".into();
    fs::write(&record, value.to_string()).unwrap();
    check(&[finished_run(), &other], 1, "copy is not finished: stage 09-final was made under other settings");
    fs::write(&record, whole).unwrap();
    fs::remove_dir_all(other.join("baselines/rft/10-evaluation")).unwrap();
    check(&[finished_run(), &other], 1, "stage baselines/rft/10-evaluation/final has not started");
    fs::remove_file(other.join("recipe.toml")).unwrap();
    check(&[finished_run(), &other], 1, "is not a run folder");
    assert!(!folder.path().join("several.html").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_page_is_opened_by_the_systems_opener_or_named() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let open = |path: &str| {
        let mut command = latrace();
        command.arg("report").arg(finished_run()).args(["--out", "page.html", "--open"]);
        let output = command.env("PATH", path).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let page = fs::canonicalize(folder.path()).unwrap().join("page.html");
    let stderr = open("");
    assert!(stderr.contains(&format!("the page is {}", page.display())), "{stderr}");
    let opener = folder.path().join("xdg-open");
    fs::write(&opener, "#!/bin/sh\nprintf %s \"$1\" > opened\n").unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let stderr = open(folder.path().to_str().unwrap());
    assert!(!stderr.contains("does not open"), "{stderr}");
    assert_eq!(fs::read_to_string(folder.path().join("opened")).unwrap(), page.display().to_string());
}

#[test]
fn an_unfinished_run_gives_what_there_is() {
    let (_folder, run) = copy_of_run();
    for gone in ["summary.json", "10-evaluation", "09-final", "08-dataset", "07-weights", "baselines"] {
        let path = run.join(gone);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    let record = run.join("06-verdicts/stage.json");
    let mut value = read_json(&record);
    value["done"] = Value::Bool(false);
    fs::write(&record, value.to_string()).unwrap();
    let (_, data) = report(&run);
    assert!(
        !data.run.finished && data.models.is_empty() && data.weights.is_none() && data.emphasis.is_none()
    );
    assert!(data.findings.headline.starts_with("Not finished: 7 of "), "{}", data.findings.headline);
    let verdicts = data.stages.iter().find(|stage| stage.folder == "06-verdicts").unwrap();
    let progress = verdicts.progress.as_ref().unwrap();
    assert_eq!((verdicts.state, progress.done, progress.total), (StageState::Begun, 12, Some(12)));
    assert_eq!(data.missing["accuracy"], "Not available yet: stage 10-evaluation/initial has not started.");
    assert_eq!(data.missing["emphasis"], "Not available yet: stage 06-verdicts is running or was stopped.");
    assert_eq!(data.traces.questions.len(), 24);
    assert!(
        data.traces
            .questions
            .iter()
            .flat_map(|question| &question.traces)
            .all(|trace| trace.weight.is_none())
    );
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = TempDir::new().unwrap();
    for verb in ["report", "serve"] {
        let output = latrace().arg(verb).arg(folder.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("is not a run folder") && stderr.contains("hint: "), "{stderr}");
    }
}

/// A server of a run.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(run: &Path) -> Server {
        let mut child = latrace()
            .arg("serve")
            .arg(run)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        Server { child, address }
    }

    /// The head and the body of an answer.
    fn ask(&self, request: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask(&format!("GET {path}"), &format!("Host: {}\r\n", self.address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_server_answers_with_the_page_and_its_data_to_its_own_name_alone() {
    let server = Server::start(finished_run());
    let (head, body) = server.get("/");
    assert!(
        head.starts_with("http/1.1 200")
            && body.starts_with("<!doctype html>")
            && body.contains(" data-live"),
        "{head}"
    );
    for header in [
        "content-security-policy: default-src 'none'; script-src 'sha256-",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "cross-origin-resource-policy: same-origin",
        "cache-control: no-store",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    let (head, body) = server.get("/data.json");
    assert_eq!(serde_json::from_str::<ReportData>(&body).unwrap(), report(finished_run()).1);
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let (head, body) = server.ask("GET /data.json", &format!("Host: localhost\r\nIf-None-Match: {tag}\r\n"));
    assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");
    assert!(server.ask("GET /data.json", "Host: attacker.example\r\n").0.starts_with("http/1.1 403"));
    assert!(
        server
            .ask("POST /data.json", &format!("Host: {}\r\nContent-Length: 0\r\n", server.address))
            .0
            .starts_with("http/1.1 405")
    );
    assert!(server.get("/../recipe.toml").0.starts_with("http/1.1 404"));
}

#[test]
fn the_server_sees_the_run_go_on_and_ctrl_c_ends_it() {
    let (_folder, run) = copy_of_run();
    let mut server = Server::start(&run);
    let before: ReportData = serde_json::from_str(&server.get("/data.json").1).unwrap();
    assert!(before.run.finished);
    fs::remove_dir_all(run.join("10-evaluation/final")).unwrap();
    let started = Instant::now();
    loop {
        let now: ReportData = serde_json::from_str(&server.get("/data.json").1).unwrap();
        if !now.run.finished && now.models.len() == 2 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the server still says what was");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(Command::new("kill").args(["-INT", &server.child.id().to_string()]).status().unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
