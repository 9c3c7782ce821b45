//! A shell script in place of the ranks: what the engine writes for them, and what it makes of what they report.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use latrace_engine::boundary::{FitJob, ScoreRow};
use latrace_engine::scoring::score_all;
use latrace_engine::torchrun::{TorchDtype, TorchrunConfig, TorchrunEngine};
use latrace_engine::train_config::Normaliser;
use latrace_engine::{Engine, EngineRole, RowFile, RowFileWriter, RowSource, TrainConfig};
use latrace_lm::{Event, TrainPlan, Update};
use serde_json::Value;
use tempfile::TempDir;

use crate::shared::{Run, engine, golden, in_full, rows, settings};

pub const TESTS: &[(&str, fn())] = &[
    ("the ranks get the plan, the rows and the settings", the_job),
    ("what the ranks report becomes events", events),
    ("rows that are in a file stay there", rows_in_a_file),
    ("a fresh start forgets an old one", a_fresh_start),
    ("ranks that fail say why", failures),
    ("ranks that do not keep to the plan are stopped", broken_ranks),
    ("silent ranks are stopped", silence),
    ("an observer's error ends the ranks", an_observers_error),
    ("a command that is not installed is named before the ranks are started", not_installed),
    ("hints follow from what happened", hints),
    ("scores are the ranks' numbers", scores),
    ("of a scorer only its log stays", a_scorers_files),
    ("the engine says what it is, and what it does not do", identity),
];

/// The engine with a script in place of launcher and ranks: `$work` is their folder, `$0` the worker, `$1` the job.
fn config(script: &str) -> TorchrunConfig {
    let script =
        format!("set -e; work=$(dirname \"$1\"); say() {{ echo \"$1\" >> $work/events.jsonl; }}; {script}");
    TorchrunConfig {
        launch: ["sh", "-c", &script].map(str::to_owned).to_vec(),
        dtype: TorchDtype::F32,
        timeout: 60,
        ..TorchrunConfig::default()
    }
}

const START: &str =
    r#"say '{"event": "started", "ranks": 2, "device": "cpu", "torch": "2", "transformers": "5"}';"#;

/// A shell command that reports an update.
fn update(number: u64) -> String {
    format!(
        r#"say '{{"event": "update", "number": {number}, "loss": {number}.5, "grad_norm": 0.25, "seconds": 2.0,
        "peak_memory_bytes": 7}}';"#
    )
    .replace('\n', "")
}

/// Saves the first weights as the final ones.
fn save() -> String {
    let weights = golden("qwen2").join("model.safetensors");
    format!("mkdir $work/model; cp {} $work/model/; say '{{\"event\": \"saved\"}}';", weights.display())
}

fn two_updates() -> TrainConfig {
    TrainConfig { max_steps: Some(2), ..settings() }
}

fn fit(
    script: &str,
    rows: &dyn RowSource,
    config_of_training: &TrainConfig,
    out: &Path,
    resume: bool,
) -> (Result<()>, Run) {
    let (mut run, model) = (Run::default(), golden("qwen2"));
    let job = FitJob { model: &model, rows, config: config_of_training, out, resume };
    let mut trainer = engine(config(script)).trainer().unwrap();
    let outcome = trainer.fit(job, &mut |event| run.observe(event));
    (outcome, run)
}

/// A run that succeeds, and its folder.
fn fitted(script: &str, rows: &dyn RowSource, config: &TrainConfig) -> (Run, TempDir) {
    let out = tempfile::tempdir().unwrap();
    let (outcome, run) = fit(script, rows, config, out.path(), false);
    outcome.unwrap();
    (run, out)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn whole_run() -> String {
    [START, &update(1), &update(2), &save()].concat()
}

fn the_job() {
    let training = TrainConfig { normaliser: Normaliser::TokenMean, cutoff_length: 16, ..two_updates() };
    let training =
        TrainConfig { over_length: latrace_engine::train_config::OverLength::Truncate, ..training };
    // Rows are removed at the end.
    let script = format!("cp $work/rows $work/kept; {}", whole_run());
    let (_, out) = fitted(&script, &rows(), &training);
    let work = out.path().join("torchrun");
    let job = read_json(&work.join("job.json"));
    for (key, expected) in [
        ("mode", "\"train\""),
        ("compute", "\"f32\""),
        ("attention", "\"auto\""),
        ("cpu_offload", "false"),
        ("row_limit", "16"),
        ("total_updates", "2"),
        ("resume", "null"),
        ("save_dtype", "\"f32\""),
        ("checkpoint_every", "0"),
    ] {
        assert_eq!(job[key].to_string(), expected, "{key}");
    }
    assert_eq!(job["loss"]["kind"], "nll");
    assert_eq!((&job["optimiser"]["weight_decay"], &job["optimiser"]["beta2"]), (&0.1.into(), &0.999.into()));
    let checksum = latrace_io::files::checksum(&work.join("worker.py")).unwrap();
    assert_eq!(job["worker"][1], checksum);
    let plan = TrainPlan::new(&rows(), &training, 256).unwrap();
    let lines = fs::read_to_string(work.join("plan.jsonl")).unwrap();
    let planned: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let updates: Vec<Update> = plan.updates_after(0).collect();
    assert_eq!(planned.len(), updates.len());
    for (line, update) in planned.iter().zip(&updates) {
        let tokens: usize =
            update.rows.iter().map(|&row| rows()[row].tokens.len().min(16) - rows()[row].prompt_len).sum();
        assert_eq!(line["divisor"], tokens as f64, "response tokens of the update, once cut");
        assert_eq!(serde_json::from_value::<Update>(without_divisor(line)).unwrap(), *update);
    }
    let kept = RowFile::open(&work.join("kept")).unwrap();
    assert_eq!(kept.read(&(0..kept.len()).collect::<Vec<_>>()).unwrap(), rows());
}

fn without_divisor(line: &Value) -> Value {
    let mut line = line.clone();
    line.as_object_mut().unwrap().remove("divisor");
    line
}

fn events() {
    // In pieces: a line that is not complete is waited for.
    let first = update(1).replace("say '", "printf '%s' '").replace("';", "' >> $work/events.jsonl;");
    let (half, rest) = first.split_at(40);
    let pieces = format!("{half}' >> $work/events.jsonl; sleep 0.1; printf '%s\\n' '{rest}");
    let script = [START, &pieces, &update(2), &save()].concat();
    let (run, out) = fitted(&script, &rows(), &two_updates());
    assert_eq!((run.resumed_from, run.steps.len(), run.finished), (None, 2, true));
    let plan = TrainPlan::new(&rows(), &two_updates(), 256).unwrap();
    for (metrics, update) in run.steps.iter().zip(plan.updates_after(0)) {
        let tokens: usize = update.rows.iter().map(|&row| rows()[row].tokens.len()).sum();
        assert_eq!((metrics.step, metrics.loss), (update.number, update.number as f64 + 0.5));
        assert_eq!((metrics.lr, metrics.epoch), (update.learning_rate, update.epoch));
        assert_eq!((metrics.grad_norm, metrics.peak_memory_bytes), (0.25, 7));
        assert_eq!((metrics.tokens, metrics.tokens_per_second), (tokens, tokens as f64 / 2.0));
        assert!(metrics.weight_ess > 0.0 && metrics.time > 1e9);
    }
    for name in ["config.json", "model.safetensors", "training.json"] {
        assert!(out.path().join(name).is_file(), "{name}");
    }
    let left: Vec<_> =
        fs::read_dir(out.path().join("torchrun")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| *name == "rows" || *name == "model"), "{left:?}");
}

fn rows_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine");
    let mut writer = RowFileWriter::create(&path).unwrap();
    rows().iter().for_each(|row| writer.push(row).unwrap());
    let (_, out) = fitted(&whole_run(), &writer.finish().unwrap(), &two_updates());
    let job = read_json(&out.path().join("torchrun/job.json"));
    assert_eq!(job["rows"], path.canonicalize().unwrap().to_str().unwrap());
    assert!(path.is_file(), "it is not ours to remove");
}

/// A complete checkpoint of update 1.
fn checkpoint() -> String {
    let record =
        r#"{"step": 1, "fingerprint": "'$(sed -n 's/.*"fingerprint": "\(.*\)".*/\1/p' $1)'", "ranks": 2}"#;
    format!(
        "mkdir $work/checkpoint-1; echo '{record}' > $work/checkpoint-1/training.json; touch $work/checkpoint-1/.metadata; \
         say '{{\"event\": \"checkpoint\", \"step\": 1}}';"
    )
}

fn a_fresh_start() {
    let out = tempfile::tempdir().unwrap();
    let config = two_updates();
    let interrupted = [START, &update(1), &checkpoint(), "exit 3"].concat();
    let (outcome, run) = fit(&interrupted, &rows(), &config, out.path(), false);
    assert!(outcome.is_err());
    assert_eq!(run.checkpoints, [1]);
    let resumed = [START, &update(2), &save()].concat();
    // What resumes is told where.
    let with_resume = format!("grep -q '\"step\": 1' $1; test -d $work/checkpoint-1; {resumed}");
    let copy = tempfile::tempdir().unwrap();
    copy_folder(out.path(), copy.path());
    let (outcome, run) = fit(&with_resume, &rows(), &config, copy.path(), true);
    outcome.unwrap();
    assert_eq!((run.resumed_from, run.steps.len()), (Some(1), 1));
    let other = TrainConfig { learning_rate: 1.0, ..config.clone() };
    let error = fit(&resumed, &rows(), &other, out.path(), true).0.unwrap_err().to_string();
    assert!(error.contains("fingerprint") && error.contains("checkpoint-1"), "{error}");
    let fresh = format!("test ! -e $work/checkpoint-1; {}", whole_run());
    let (outcome, run) = fit(&fresh, &rows(), &config, out.path(), false);
    outcome.unwrap();
    assert_eq!((run.resumed_from, run.steps.len()), (None, 2));
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The error of a script, with its hint.
fn error_of(script: &str) -> String {
    error_with(config(script))
}

fn error_with(torchrun: TorchrunConfig) -> String {
    let (out, model) = (tempfile::tempdir().unwrap(), golden("qwen2"));
    let training = two_updates();
    let job = FitJob { model: &model, rows: &rows(), config: &training, out: out.path(), resume: false };
    let error = engine(torchrun).trainer().unwrap().fit(job, &mut |_| Ok(())).unwrap_err();
    in_full(&error)
}

#[track_caller]
fn assert_contains(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "expected {expected:?} in {text}");
    }
}

fn failures() {
    let error = error_of(&[START, &update(1), "echo last words; exit 3"].concat());
    assert_contains(&error, &["exit code 3", "last words"]);
    let report = |kind: &str| {
        format!(
            r#"echo '{{"kind": "{kind}", "rank": 1, "time": 1.0, "update": 2, "rows": ["a"], "message": "why"}}' > $work/error-1.json; exit 1"#
        )
    };
    assert_contains(
        &error_of(&report("memory")),
        &["update 2, rows a, rank 1: why", "activation_checkpointing"],
    );
    assert_contains(
        &error_of(&report("non-finite")),
        &["step 2: why is not finite", "lower the learning rate"],
    );
    assert_contains(&error_of(&report("rows")), &["torchrun/rows is not a valid file of training rows: why"]);
    assert_contains(&error_of("kill -9 $$"), &["killed by signal 9"]);
}

fn not_installed() {
    for (launch, expected) in [
        ("/nowhere/torchrun --standalone", "there is no program \"/nowhere/torchrun\""),
        ("no-such-torchrun", "there is no program \"no-such-torchrun\""),
        ("env A=1 no-such-python -m torch.distributed.run", "there is no program \"no-such-python\""),
    ] {
        let launch: Vec<String> = launch.split(' ').map(str::to_owned).collect();
        let torchrun = TorchrunConfig { launch, ..TorchrunConfig::default() };
        let error = engine(torchrun.clone()).check_installed(EngineRole::Train).unwrap_err();
        assert_contains(&in_full(&error), &["(torchrun.launch)", expected, "uv pip install torch"]);
        assert_eq!(error_with(torchrun.clone()), in_full(&error));
        let scorer = engine(torchrun).scorer(&golden("qwen2"));
        assert_eq!(in_full(&scorer.err().unwrap()), in_full(&error));
    }
}

fn hints() {
    let nothing = TorchrunConfig { launch: vec!["/usr/bin/false".to_owned()], ..TorchrunConfig::default() };
    let error = error_with(nothing);
    assert_contains(&error, &["ended (exit code 1)", "$ /usr/bin/false", "hint: None"]);
    let after_a_checkpoint = error_of(&[START, &update(1), &checkpoint(), "exit 3"].concat());
    assert_contains(&after_a_checkpoint, &["resumes from the checkpoint after update 1"]);
    assert!(!after_a_checkpoint.contains("host memory"), "{after_a_checkpoint}");
    let killed = error_of("kill -9 $$");
    assert_contains(&killed, &["host memory"]);
    assert!(!killed.contains("checkpoint"), "{killed}");
}

fn a_scorers_files() {
    let shared = tempfile::tempdir().unwrap();
    let files = || {
        let folders = fs::read_dir(shared.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
        files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let engine = TorchrunEngine::new(config("echo their log; sleep 600"), shared.path()).unwrap();
    let scorer = engine.scorer(&golden("qwen2")).unwrap();
    assert!(files().contains(&"job.json".to_owned()), "{:?}", files());
    drop(scorer);
    assert_eq!(files(), ["worker.log"]);
}

fn broken_ranks() {
    let second = error_of(&[START, &update(2)].concat());
    assert_contains(&second, &["the ranks made update 2: expected 1"]);
    let third = error_of(&[START, &update(1), &update(2), &update(3)].concat());
    assert_contains(&third, &["more updates than planned"]);
    assert_contains(&error_of("say nonsense"), &["unknown event nonsense"]);
    assert_contains(&error_of(START), &["ended without a model"]);
}

fn silence() {
    let start = Instant::now();
    let torchrun = TorchrunConfig { timeout: 1, ..config("echo waiting; sleep 600") };
    assert_contains(
        &error_with(torchrun),
        &["no word from the ranks for 1 s", "waiting", "torchrun.timeout"],
    );
    assert!(start.elapsed() < Duration::from_secs(30), "and they are not waited for");
}

fn an_observers_error() {
    let (out, model, training) = (tempfile::tempdir().unwrap(), golden("qwen2"), two_updates());
    let job = FitJob { model: &model, rows: &rows(), config: &training, out: out.path(), resume: false };
    let script = format!("echo $$ > $work/id; {START} sleep 600");
    let outcome = engine(config(&script)).trainer().unwrap().fit(job, &mut |event| {
        assert!(matches!(event, Event::Started { total_steps: 2, .. }));
        anyhow::bail!("no more")
    });
    assert_eq!(outcome.unwrap_err().to_string(), "no more");
    let id = fs::read_to_string(out.path().join("torchrun/id")).unwrap();
    assert!(!Path::new("/proc").join(id.trim()).exists(), "the ranks have ended");
}

fn scores() {
    // 3 + 2 log-probs of 0, then 1.
    let answer = |window: usize, bytes: usize, rows: usize| {
        format!(
            "while [ $(wc -l < $work/windows.jsonl) -lt {window} ]; do sleep 0.01; done; \
             head -c {bytes} /dev/zero > $work/scores-{}; say '{{\"event\": \"scored\", \"rows\": {rows}}}';",
            window - 1
        )
    };
    let row = |response: &[u32]| ScoreRow { prompt: vec![1], response: response.to_vec() };
    let score = |script: &str| {
        let mut scorer = engine(config(script)).scorer(&golden("qwen2")).unwrap();
        let first = score_all(&mut *scorer, vec![row(&[1, 2, 3]), row(&[4, 5])])?;
        Ok::<_, anyhow::Error>((first, score_all(&mut *scorer, vec![row(&[6])])?))
    };
    let good = [START, &answer(1, 20, 2), &answer(2, 4, 1), "sleep 600"].concat();
    assert_eq!(score(&good).unwrap(), (vec![vec![0.0; 3], vec![0.0; 2]], vec![vec![0.0]]));
    for (script, expected) in [
        (answer(1, 16, 2), "expected 20 bytes, got 16"),
        (answer(1, 20, 1), "1 rows of another window"),
        (String::new(), "ended before all rows were scored"),
        ("exit 2".to_owned(), "exit code 2"),
    ] {
        let error = score(&script).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
}

fn identity() {
    let engine = engine(TorchrunConfig::default());
    let identity = engine.identity(EngineRole::Train);
    assert_eq!(
        (identity.kind.as_str(), identity.compute.as_str(), identity.exact),
        ("torchrun", "bf16", false)
    );
    let error = engine.generator(&golden("qwen2")).err().unwrap().to_string();
    assert_eq!(error, "the engine \"torchrun\" does not generate samples (use servers, or cpu)");
}
