//! `latrace run` from outside: a tiny recipe from start to end, killed, changed, refused.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

mod bench;
mod hub;
mod import;
mod loggers;
mod push;
mod redo;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use latrace_core::random::stream;
use latrace_core::{Split, Tokenizer, Verdict};
use latrace_engine::cpu::unit;
use latrace_engine::{CpuEngine, Engine, EngineRole};
use latrace_run::pipeline::records::{
    ExampleRecord, QuestionRecord, ResponseRecord, ScoreRecord, TraceRecord, VerdictRecord, WeightRecord,
};
use latrace_run::recipe::run::ComputeType;
use serde_json::{Value, json};

use bench::{Bench, RECIPE, assert_same, contents, records};

/// A run's questions by their ids.
fn questions_of(run: &Path) -> BTreeMap<String, QuestionRecord> {
    let questions = records::<QuestionRecord>(&run.join("00-questions")).into_iter();
    questions.map(|question| (question.id.clone(), question)).collect()
}

/// Numbers below 1, the same each time.
fn numbers(seed: u64) -> impl Iterator<Item = f64> {
    let mut rng = latrace_objective::Rng::new(seed);
    std::iter::repeat_with(move || rng.uniform())
}

#[test]
fn a_run_killed_twenty_times_ends_as_one_that_was_not() {
    let bench = Bench::new();
    let started = std::time::Instant::now();
    bench.done("whole", &[]);
    let whole = started.elapsed();
    let (mut kills, mut stages) = (0, BTreeSet::new());
    // Each life is a random share of what a twelfth of the run takes: later ones begin where earlier ones
    // ended, so kills fall into all stages.
    for share in numbers(7).take(60) {
        let mut child = bench.command("killed", &[]).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(share / 6.0) + Duration::from_millis(30));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let reached = latest_stage(&bench.run_folder("killed"));
        stages.extend(reached);
        if kills == 20 {
            break;
        }
    }
    assert!(kills >= 10, "only {kills} kills before the run ended");
    assert!(stages.len() >= 4, "kills fell into {stages:?} alone");
    bench.done("killed", &[]);
    assert_same(&bench.run_folder("whole"), &bench.run_folder("killed"));
    let summary: Value =
        serde_json::from_slice(&fs::read(bench.run_folder("killed").join("summary.json")).unwrap()).unwrap();
    let before: Value =
        serde_json::from_slice(&fs::read(bench.run_folder("whole").join("summary.json")).unwrap()).unwrap();
    for same in ["models", "bounds", "surrogates", "effective_sample_size", "unbounded", "seed", "version"] {
        assert_eq!(summary[same], before[same], "{same}");
    }
    assert_eq!(without_times(&summary), without_times(&before));
}

/// The diagnostics of a summary, without the seconds of methods.
fn without_times(summary: &Value) -> Value {
    let mut diagnostics = summary["diagnostics"].clone();
    for cost in diagnostics["costs"].as_object_mut().unwrap().values_mut() {
        cost["seconds"] = Value::Null;
    }
    diagnostics
}

/// The stage that is begun and not done. Kills a run while a part's samples are being drawn, once some are
/// finished; `None` where it was too fast for that.
fn killed_within_a_part(bench: &Bench, name: &str, settings: &[&str]) -> Option<usize> {
    let mut child =
        bench.command(name, settings).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let unfinished = bench.run_folder(name).join("03-traces/unfinished-00000.jsonl");
    let lines = || fs::read_to_string(&unfinished).map_or(0, |text| text.lines().count());
    while child.try_wait().unwrap().is_none() && lines() < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().unwrap();
    Some(lines()).filter(|&count| count >= 5)
}

#[test]
fn samples_of_an_unfinished_part_are_not_drawn_again() {
    let bench = Bench::new();
    // One sample at a time, all questions in one part.
    let settings = ["skip=[\"rft\"]", "engine.batch=1", "engine.part_questions=100", "traces.n=64"];
    let name = (0..20)
        .map(|attempt| format!("killed-{attempt}"))
        .find(|name| killed_within_a_part(&bench, name, &settings).is_some())
        .unwrap();
    let said = bench.done(&name, &settings);
    assert!(said.contains("samples were already finished"), "{said}");
    assert!(!bench.run_folder(&name).join("03-traces/unfinished-00000.jsonl").exists());
    bench.done("whole", &settings);
    assert_same(&bench.run_folder(&name), &bench.run_folder("whole"));
}

fn latest_stage(run: &Path) -> Option<String> {
    let mut open = vec![run.to_owned()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(&inner).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.ends_with("stage.json") {
                let record: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
                if record["done"] == false {
                    return inner.strip_prefix(run).ok().map(|path| path.display().to_string());
                }
            }
        }
    }
    None
}

/// Bounds over all traced questions, in expectation rising with traces; minus infinity where that many traces of
/// some question have no end, which alone makes it so.
fn check_bounds(bench: &Bench, summary: &Value) {
    assert_eq!(summary["no_bounds"], Value::Null, "{summary}");
    let traces: Vec<TraceRecord> = records(&bench.run_folder("r/03-traces"));
    let mut unended: BTreeMap<String, usize> = BTreeMap::new();
    for trace in &traces {
        *unended.entry(trace.id.clone()).or_default() += usize::from(!trace.closed);
    }
    let bounds = summary["bounds"].as_array().unwrap();
    assert_eq!(bounds.len() * unended.len(), traces.len());
    for (k, bound) in bounds.iter().enumerate() {
        let unbounded = unended.values().filter(|&&unended| unended > k).count();
        assert_eq!(summary["unbounded"][k], unbounded, "{summary}");
        assert_eq!(bound.is_null(), unbounded > 0, "{summary}");
    }
    let finite: Vec<f64> = bounds.iter().filter_map(Value::as_f64).collect();
    assert!(!finite.is_empty() && finite.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12), "{finite:?}");
    let scores: Vec<ScoreRecord> = records(&bench.run_folder("r/04-scores"));
    assert!(scores.iter().all(|score| score.reference_logprobs.is_some()));
}

#[test]
fn tempered_samples_give_surrogates_and_the_reason() {
    let bench = Bench::new();
    let printed = bench.done("r", &["skip=[\"rft\"]", "traces.temperature=0.7", "answers.top_k=5"]);
    // Sentences are broken where the terminal ends.
    let printed = printed.replace('\n', " ");
    let reason = "the traces were tempered (temperature 0.7); the answers were truncated (top_k 5)";
    assert!(printed.contains(&format!("They are not bounds: {reason}.")), "{printed}");
    assert!(printed.contains("Surrogates of log P(correct)") && !printed.contains("Bounds"), "{printed}");
    let summary: Value =
        serde_json::from_slice(&fs::read(bench.run_folder("r/summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["bounds"], &summary["no_bounds"]), (&json!([]), &json!(reason)));
    let scores: Vec<ScoreRecord> = records(&bench.run_folder("r/04-scores"));
    assert!(scores.iter().all(|score| score.reference_logprobs.is_none()), "scored for nothing");
}

#[test]
fn the_summary_has_what_the_contract_says() {
    let bench = Bench::new();
    let printed = bench.done("r", &["--threads", "1"]);
    assert!(printed.contains("The final model") && printed.contains("Bounds on log P(correct)"), "{printed}");
    let summary: Value =
        serde_json::from_slice(&fs::read(bench.run_folder("r/summary.json")).unwrap()).unwrap();
    for model in ["initial", "final", "rft"] {
        let of = &summary["models"][model];
        assert_eq!((of["questions"].as_u64(), of["samples"].as_u64()), (Some(20), Some(40)), "{model}");
        let number = |name: &str| of[name].as_f64().unwrap();
        assert!(number("low") <= number("accuracy") && number("accuracy") <= number("high"), "{of}");
        let questions: u64 = of["by_difficulty"]
            .as_object()
            .unwrap()
            .values()
            .map(|of| of["questions"].as_u64().unwrap())
            .sum();
        assert_eq!(questions, 20);
    }
    assert!(
        summary["seconds"]["03-traces"].is_number() && summary["peak_memory_bytes"].as_u64().unwrap() > 0,
        "{summary}"
    );
    assert!(bench.run_folder("r/recipe.toml").is_file());
    check_bounds(&bench, &summary);
    // Rejection sampling sees no hint: what it drew is, bit for bit, what the reasoner itself gives it.
    let rft = bench.run_folder("r/baselines/rft");
    let (drawn, scored) =
        (records::<TraceRecord>(&rft.join("03-traces")), records::<ScoreRecord>(&rft.join("04-scores")));
    let closed: Vec<&TraceRecord> = drawn.iter().filter(|trace| trace.closed).collect();
    assert!(!closed.is_empty() && closed.len() == scored.len());
    assert!(closed.iter().zip(&scored).all(|(trace, score)| trace.logprobs == score.logprobs));
    // Another number of threads changes nothing.
    bench.done("s", &["--threads", "2"]);
    assert_same(&bench.run_folder("r"), &bench.run_folder("s"));
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The ids of `count` questions by the number that each draws for the evaluation.
fn lowest(ids: impl IntoIterator<Item = String>, count: usize) -> BTreeSet<String> {
    let mut ranked: Vec<(u64, String)> =
        ids.into_iter().map(|id| (stream(0, "evaluation.training", &id, 0), id)).collect();
    ranked.sort();
    ranked.into_iter().take(count).map(|(_, id)| id).collect()
}

/// The share of right responses of an evaluation, by question.
fn right_shares(stage: &Path) -> BTreeMap<String, f64> {
    let mut tallies: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for response in records::<ResponseRecord>(stage) {
        let is_right = response.verdict() == Verdict::Correct;
        let (right, all) = tallies.entry(response.id).or_default();
        (*right, *all) = (*right + f64::from(u8::from(is_right)), *all + 1.0);
    }
    tallies.into_iter().map(|(id, (right, all))| (id, right / all)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[track_caller]
fn check_number(value: &Value, expected: f64) {
    assert!((value.as_f64().unwrap() - expected).abs() < 1e-12, "{value} for {expected}");
}

/// Whether a walk's trace arrives by steps that are all right, and its false starts are right and do not.
fn is_walk(question: &str, trace: &str) -> bool {
    let (from, to) = question.split_once(' ').unwrap();
    let moved = |at: i64, step: &str| match step {
        "+7" => Some(at + 7),
        "-3" => Some(at - 3),
        "*2" => Some(at * 2),
        _ => None,
    };
    let attempt = |text: &str| -> Option<bool> {
        let words: Vec<&str> = text.split(' ').collect();
        let steps = words.len() > 1 && words.len() % 2 == 1 && words[0] == from;
        let mut at: i64 = if steps { from.parse().unwrap() } else { return None };
        for pair in words[1..].chunks(2) {
            at = moved(at, pair[0]).filter(|at| (0..100).contains(at) && pair[1] == at.to_string())?;
        }
        Some(at.to_string() == to)
    };
    let attempts: Vec<Option<bool>> =
        format!("{trace} ").split("x ").map(|text| attempt(text.trim())).collect();
    let (last, before) = attempts.split_last().unwrap();
    *last == Some(true) && before.iter().all(|arrives| *arrives == Some(false))
}

/// Whether each finished trace is valid, by question and number.
fn walks(run: &Path) -> BTreeMap<(String, u64), bool> {
    let tokenizer = Tokenizer::from_bytes(&fs::read(run.join("00-model/tokenizer.json")).unwrap()).unwrap();
    let questions: BTreeMap<String, String> = records::<QuestionRecord>(&run.join("00-questions"))
        .into_iter()
        .map(|question| (question.id, question.question))
        .collect();
    let closed = records::<TraceRecord>(&run.join("03-traces")).into_iter().filter(|trace| trace.closed);
    closed
        .map(|trace| {
            let text = tokenizer.decode_drawn(&trace.token_ids).unwrap();
            let is_valid = is_walk(&questions[&trace.id], text.strip_suffix("</think>").unwrap().trim());
            ((trace.id, trace.sample), is_valid)
        })
        .collect()
}

/// Tokens drawn, tokens trained on, and seconds of some stages.
fn cost(run: &Path, stages: &[&str]) -> (u64, u64, f64) {
    let (mut drawn, mut trained, mut seconds) = (0, 0, 0.0);
    for stage in stages {
        let record = json_of(&run.join(stage).join("stage.json"));
        seconds += record["seconds"].as_f64().unwrap();
        if stage.ends_with("traces") || stage.ends_with("answers") {
            drawn += record["counts"]["tokens"].as_u64().unwrap();
        }
        let metrics = fs::read_to_string(run.join(stage).join("metrics.jsonl")).unwrap_or_default();
        let tokens = |line: &str| serde_json::from_str::<Value>(line).unwrap()["tokens"].as_u64().unwrap();
        trained += metrics.lines().map(tokens).sum::<u64>();
    }
    (drawn, trained, seconds)
}

#[track_caller]
fn check_cost(summary: &Value, method: &str, (drawn, trained, seconds): (u64, u64, f64)) {
    let cost = &summary["diagnostics"]["costs"][method];
    assert_eq!(
        (&cost["tokens_drawn"], &cost["tokens_trained"]),
        (&json!(drawn), &json!(trained)),
        "{method}"
    );
    assert!(drawn > 0 && trained > 0 && (cost["seconds"].as_f64().unwrap() - seconds).abs() < 1e-9, "{cost}");
}

/// The lift is that of right answers after traces of the posterior, unended ones wrong, over right responses.
fn check_lift(run: &Path, lift: &Value) {
    let mut right: BTreeMap<String, f64> = BTreeMap::new();
    for trace in records::<TraceRecord>(&run.join("03-traces")) {
        right.entry(trace.id).or_default();
    }
    for verdict in records::<VerdictRecord>(&run.join("06-verdicts")) {
        *right.get_mut(&verdict.id).unwrap() += f64::from(u8::from(verdict.verdict() == Verdict::Correct));
    }
    let initial = right_shares(&run.join("10-evaluation/initial-sampled"));
    // Four traces with two answers each.
    let posterior_q: Vec<f64> = initial.keys().map(|id| right[id] / 8.0).collect();
    let initial_q: Vec<f64> = initial.values().copied().collect();
    assert_eq!(lift["questions"], 25);
    check_number(&lift["posterior"]["accuracy"], mean(&posterior_q));
    check_number(&lift["initial"]["accuracy"], mean(&initial_q));
    let difference_q: Vec<f64> = posterior_q.iter().zip(&initial_q).map(|(q, pi)| q - pi).collect();
    check_number(&lift["difference"]["mean"], mean(&difference_q));
    let bounds = ["low", "high"].map(|end| lift["difference"][end].as_f64().unwrap());
    assert!(bounds[0] < mean(&difference_q) && mean(&difference_q) < bounds[1], "{lift}");
}

/// The share of finished traces that are valid, and of the training weight on them.
fn check_validity(run: &Path, validity: &Value) {
    let walks = walks(run);
    let valid = walks.values().filter(|is_valid| **is_valid).count();
    assert_eq!((&validity["finished"], &validity["valid"]), (&json!(walks.len()), &json!(valid)));
    assert!(0 < valid && valid < walks.len(), "{valid} of {}", walks.len());
    let (mut mass, mut valid_mass) = (0.0, 0.0);
    for example in records::<ExampleRecord>(&run.join("08-dataset")) {
        if let Ok(sample) = u64::try_from(example.source) {
            mass += example.weight;
            valid_mass += if walks[&(example.id, sample)] { example.weight } else { 0.0 };
        }
    }
    check_number(&validity["training_mass"], valid_mass / mass);
    let verdicts = records::<VerdictRecord>(&run.join("06-verdicts")).into_iter();
    let right: Vec<_> = verdicts.filter(|verdict| verdict.verdict() == Verdict::Correct).collect();
    let forced = right.iter().filter(|verdict| !walks[&(verdict.id.clone(), verdict.sample)]).count();
    check_number(&validity["forced"], forced as f64 / right.len() as f64);
}

/// The mean log-prob of the finished traces under q, which drew them.
fn mean_log_q(run: &Path) -> f64 {
    let traces = records::<TraceRecord>(&run.join("03-traces")).into_iter().filter(|trace| trace.closed);
    mean(&traces.map(|trace| trace.logprobs.into_iter().map(f64::from).sum()).collect::<Vec<f64>>())
}

#[test]
fn the_diagnostics_are_what_the_tables_say() {
    let bench = Bench::new();
    // A posterior that is large enough, and trained for so long, that some traces are valid; a ratio that is often
    // at its bound.
    let settings = [
        "evaluation.training=25",
        "traces.limit=30",
        "questions.sizes.traced=600",
        "model.shape.hidden_size=64",
        "model.shape.intermediate_size=192",
        "model.shape.head_dim=32",
        "initial.max_steps=200",
        "posterior.max_steps=800",
        "posterior.batch_size=16",
        "posterior.learning_rate=3e-3",
        "weights.ratio=clipped",
        "weights.clip=0.05",
    ];
    let planned = bench.done("r", &[&settings[..], &["--dry-run"]].concat());
    for stage in ["10-evaluation/initial-traced", "10-evaluation/initial-sampled"] {
        assert_eq!(planned.matches(stage).count(), 1, "{planned}");
    }
    let printed = bench.done("r", &settings);
    let run = bench.run_folder("r");
    let summary = json_of(&run.join("summary.json"));
    let diagnostics = &summary["diagnostics"];
    // Which questions, and how often right.
    let questions: Vec<QuestionRecord> = records(&run.join("00-questions"));
    let traced = questions.into_iter().filter(|question| question.trace_ids.is_some()).map(|of| of.id);
    let sampled = records::<TraceRecord>(&run.join("03-traces")).into_iter().map(|trace| trace.id);
    let sampled: BTreeSet<String> = sampled.collect();
    assert_eq!(sampled.len(), 30);
    for (name, ids) in [("traced", lowest(traced, 25)), ("sampled", lowest(sampled, 25))] {
        let shares = right_shares(&run.join(format!("10-evaluation/initial-{name}")));
        assert_eq!(shares.keys().cloned().collect::<BTreeSet<_>>(), ids, "{name}");
        let of = &diagnostics[format!("initial_on_{name}")];
        assert_eq!((&of["questions"], &of["samples"]), (&json!(25), &json!(50)));
        check_number(&of["accuracy"], mean(&shares.values().copied().collect::<Vec<f64>>()));
    }
    assert_eq!(diagnostics["initial_on_held_out"]["accuracy"], summary["models"]["initial"]["accuracy"]);
    check_lift(&run, &diagnostics["lift"]);
    check_validity(&run, &diagnostics["validity"]);
    let counts = json_of(&run.join("07-weights/stage.json"))["counts"].clone();
    let number = |name: &str| counts[name].as_f64().unwrap();
    for name in ["distinct_traces", "distinct_effective_sample_size"] {
        check_number(&diagnostics["traces"][name], number(name));
    }
    check_number(&diagnostics["traces"]["mean_log_q"], mean_log_q(&run));
    assert!(number("clipped") > 0.0);
    check_number(&diagnostics["traces"]["clipped"], number("clipped") / number("traces"));
    check_number(
        &diagnostics["traces"]["clipped"],
        number("clipped") / records::<WeightRecord>(&run.join("07-weights")).len() as f64,
    );
    // What methods share counts for each; evaluations count for none.
    let shared = ["00-model", "00-questions", "01-initial"];
    let own = [
        "02-posterior",
        "03-traces",
        "04-scores",
        "05-answers",
        "06-verdicts",
        "07-weights",
        "08-dataset",
        "09-final",
    ];
    check_cost(&summary, "final", cost(&run, &[&shared[..], &own].concat()));
    let of_rft: Vec<String> = ["", "round-2/"]
        .iter()
        .flat_map(|round| own[1..].iter().map(move |stage| format!("baselines/rft/{round}{stage}")))
        .collect();
    let of_rft: Vec<&str> = of_rft.iter().map(String::as_str).collect();
    check_cost(&summary, "rft", cost(&run, &[&shared[..], &of_rft].concat()));
    // A caution for each of the two, where its number says so.
    let is_below = |value: &Value, border: f64| value.as_f64().unwrap() < border;
    let expected = [
        ("does not fit its own traces", is_below(&diagnostics["initial_on_traced"]["accuracy"], 0.6)),
        ("the posterior is no better", is_below(&diagnostics["lift"]["difference"]["low"], 1e-300)),
    ];
    for (caution, is_expected) in expected {
        let cautions = diagnostics["cautions"].as_array().unwrap();
        let is_there = cautions.iter().any(|text| text.as_str().unwrap().contains(caution));
        assert_eq!(is_there, is_expected, "{diagnostics}");
        assert_eq!(printed.contains(caution), is_expected, "{printed}");
    }
    let models: Vec<&String> = summary["models"].as_object().unwrap().keys().collect();
    assert_eq!(models, ["final", "initial", "rft"]);
    let mut compare = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    let compared = compare.current_dir(bench.folder.path()).args(["compare", "r"]).output().unwrap();
    let compared = String::from_utf8(compared.stdout).unwrap();
    assert!(compared.contains("initial") && !compared.contains("initial-"), "{compared}");
}

#[test]
fn a_changed_recipe_redoes_what_depends_on_the_change() {
    let bench = Bench::new();
    let settings = ["skip=[\"rft\"]"];
    bench.done("r", &settings);
    let before = contents(&bench.run_folder("r"));
    let planned = bench.done("r", &["skip=[\"rft\"]", "weights.selection=best", "--dry-run"]);
    let line = |name: &str| planned.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("06-verdicts").ends_with("done"), "{planned}");
    assert!(line("07-weights").contains("selection was \"weighted\", is \"best\""), "{planned}");
    assert!(line("09-final").contains("depends on a stage that will be"), "{planned}");
    assert_eq!(contents(&bench.run_folder("r")), before, "a plan changes nothing");
    let said = bench.done("r", &["skip=[\"rft\"]", "weights.selection=best", "--redo"]);
    assert!(said.contains("07-weights will be redone: selection was"), "{said}");
    bench.done("fresh", &["skip=[\"rft\"]", "weights.selection=best"]);
    assert_same(&bench.run_folder("r"), &bench.run_folder("fresh"));
}

/// w~ of each trace by question: its share of right answers, over that of all the question's traces (9).
fn posterior_weights(round: &Path) -> BTreeMap<(String, u64), f64> {
    let mut right: BTreeMap<(String, u64), f64> = BTreeMap::new();
    for verdict in records::<VerdictRecord>(&round.join("02-posterior-verdicts")) {
        let is_right = f64::from(u8::from(verdict.verdict() == Verdict::Correct));
        *right.entry((verdict.id, verdict.sample)).or_default() += is_right;
    }
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    right.iter().for_each(|((id, _), right)| *sums.entry(id.clone()).or_default() += right);
    right
        .into_iter()
        .filter(|(_, right)| *right > 0.0)
        .map(|(of, right)| (of.clone(), right / sums[&of.0]))
        .collect()
}

#[test]
fn every_round_samples_anew_and_updates_the_posterior_on_samples_of_the_model_to_be_improved() {
    let bench = Bench::new();
    // Trained for longer, on questions of their own too: of some traces, answers are right.
    let settings = [
        "skip=[\"rft\"]",
        "rounds=2",
        "traces.questions=all",
        "posterior.rows=samples",
        "initial.max_steps=300",
        "final.batch_questions=4",
    ];
    bench.done("r", &settings);
    let run = bench.run_folder("r");
    let questions = questions_of(&run);
    let mut seen = BTreeSet::new();
    for round in [run.clone(), run.join("round-2")] {
        let weights = posterior_weights(&round);
        let examples = records::<ExampleRecord>(&round.join("02-posterior-dataset"));
        assert!(!examples.is_empty());
        let traces: BTreeMap<(String, u64), Vec<u32>> =
            records::<TraceRecord>(&round.join("02-posterior-traces"))
                .into_iter()
                .map(|trace| ((trace.id, trace.sample), trace.token_ids))
                .collect();
        assert_eq!(examples.len(), weights.len());
        for example in examples {
            let of = (example.id.clone(), example.source as u64);
            assert!(
                (example.weight - weights[&of]).abs() < 1e-12,
                "{of:?}: {} {}",
                example.weight,
                weights[&of]
            );
            assert_eq!(Some(&example.prompt_ids), questions[&example.id].posterior_prompt_ids.as_ref());
            assert_eq!(example.response_ids, traces[&of]);
        }
        for name in ["02-posterior-traces", "03-traces"] {
            let tokens: Vec<Vec<u32>> =
                records::<TraceRecord>(&round.join(name)).into_iter().map(|trace| trace.token_ids).collect();
            assert!(seen.insert(tokens), "{name} of {} was drawn before", round.display());
        }
        assert!(round.join("02-posterior/model.safetensors").is_file());
    }
    // A kill in the second round loses nothing either.
    let mut child = bench.command("killed", &settings).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none()
        && !bench.run_folder("killed/round-2/02-posterior-traces/part-00001.parquet").exists()
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    child.wait().unwrap();
    bench.done("killed", &settings);
    assert_same(&run, &bench.run_folder("killed"));
}

/// The advantages of a refinement's traces by (34), from its tables: rewards less the mean of the question's others.
fn refined_advantages(refinement: &Path) -> BTreeMap<(String, i64), f64> {
    let logq: BTreeMap<(String, u64), f64> = records::<TraceRecord>(&refinement.join("02-refined-traces"))
        .into_iter()
        .map(|trace| ((trace.id, trace.sample), sum(&trace.logprobs)))
        .collect();
    let mut rewards: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    for score in records::<ScoreRecord>(&refinement.join("02-refined-scores")) {
        let reference = sum(score.reference_logprobs.as_ref().unwrap());
        let reward = sum(&score.logprobs) - logq[&(score.id.clone(), score.sample)] + reference;
        rewards.entry(score.id).or_default().push((score.sample as i64, reward));
    }
    let mut advantages = BTreeMap::new();
    for (id, rewards) in rewards.into_iter().filter(|(_, rewards)| rewards.len() > 1) {
        let (count, total) = (rewards.len() as f64, rewards.iter().map(|(_, reward)| reward).sum::<f64>());
        for (sample, reward) in rewards {
            let advantage = (reward - (total - reward) / (count - 1.0)) / count;
            advantages.insert((id.clone(), sample), advantage);
        }
    }
    advantages
}

fn sum(logprobs: &[f32]) -> f64 {
    logprobs.iter().copied().map(f64::from).sum()
}

#[test]
fn a_posterior_is_refined_by_advantages_that_follow_from_its_tables() {
    let bench = Bench::new();
    let settings = [
        "skip=[\"rft\"]",
        "traces.questions=all",
        "initial.max_steps=300",
        "posterior.start=initial",
        "posterior.refine.rounds=2",
        "posterior.refine.n=4",
        "posterior.refine.max_steps=3",
        "posterior.refine.learning_rate=1e-3",
        "baselines.best.weights.selection=best",
    ];
    bench.done("r", &settings);
    let run = bench.run_folder("r");
    let mut seen = BTreeSet::new();
    for refinement in ["refinement-1", "refinement-2"].map(|name| run.join(name)) {
        let expected = refined_advantages(&refinement);
        let traces: BTreeMap<(String, i64), TraceRecord> =
            records::<TraceRecord>(&refinement.join("02-refined-traces"))
                .into_iter()
                .map(|trace| ((trace.id.clone(), trace.sample as i64), trace))
                .collect();
        let examples = records::<ExampleRecord>(&refinement.join("02-refined-dataset"));
        for example in &examples {
            let of = (example.id.clone(), example.source);
            assert!((example.weight - expected[&of]).abs() < 1e-9, "{of:?}: {}", example.weight);
            assert_eq!(example.old_logprobs.as_ref(), Some(&traces[&of].logprobs));
            assert_eq!(example.response_ids, traces[&of].token_ids);
        }
        // What has no example has no advantage.
        let built: BTreeSet<(String, i64)> =
            examples.iter().map(|example| (example.id.clone(), example.source)).collect();
        let left_out = expected.iter().filter(|(of, _)| !built.contains(of));
        assert!(left_out.map(|(_, advantage)| advantage.abs()).all(|advantage| advantage < 1e-9));
        assert!(examples.len() > 100, "{}", examples.len());
        let counts = &json_of(&refinement.join("02-refined-dataset/stage.json"))["counts"];
        let finished = traces.values().filter(|trace| trace.closed);
        check_number(
            &counts["mean_log_q"],
            mean(&finished.map(|trace| sum(&trace.logprobs)).collect::<Vec<_>>()),
        );
        assert_eq!(counts["built"], examples.len());
        let tokens: Vec<Vec<u32>> = traces.into_values().map(|trace| trace.token_ids).collect();
        assert!(seen.insert(tokens), "{} was drawn before", refinement.display());
    }
    assert!(run.join("refinement-2/02-refined-posterior/model.safetensors").is_file());
    // A baseline that differs in its weights alone has the same q.
    assert!(
        run.join("baselines/best/07-weights").is_dir() && !run.join("baselines/best/refinement-1").exists()
    );
    let status =
        Command::new(assert_cmd::cargo::cargo_bin!("latrace")).arg("status").arg(&run).output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("refinement-2/02-refined-traces"), "{status}");
    // A kill within a refinement loses nothing.
    let mut child = bench.command("killed", &settings).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none()
        && !bench.run_folder("killed/refinement-2/02-refined-traces/part-00001.parquet").exists()
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    child.wait().unwrap();
    bench.done("killed", &settings);
    assert_same(&run, &bench.run_folder("killed"));
}

/// The log-probs of a table of scores.
fn scores_in(folder: &Path) -> BTreeMap<(String, i64), Vec<f32>> {
    let scores = records::<ScoreRecord>(folder).into_iter();
    scores.map(|score| ((score.id, score.sample as i64), score.logprobs)).collect()
}

/// Checks that each example's advantages are the gaps between its log-probs under the posterior's hint and `baseline`,
/// and returns how many there are.
#[track_caller]
fn check_gaps(round: &Path, baseline: impl Fn(&(String, i64), &ExampleRecord) -> Vec<f32>) -> usize {
    let right = scores_in(&round.join("03-scores-posterior"));
    let examples = records::<ExampleRecord>(&round.join("08-dataset"));
    for example in &examples {
        let of = (example.id.clone(), example.source);
        let gap = |(q, baseline): (&f32, f32)| (f64::from(*q) - f64::from(baseline)) as f32;
        let gaps: Vec<f32> = right[&of].iter().zip(baseline(&of, example)).map(gap).collect();
        assert_eq!(example.advantages.as_ref(), Some(&gaps), "{of:?}");
        assert!(gaps.len() == example.response_ids.len() && gaps.iter().any(|gap| *gap != 0.0));
    }
    examples.len()
}

#[test]
fn self_distillation_learns_the_gaps_between_the_model_with_and_without_the_hint() {
    let bench = Bench::new();
    let settings = [
        "skip=[\"rft\"]",
        "method=self-distillation",
        "traces.questions=all",
        "traces.max_new_tokens=12",
        "posterior.train=false",
        "final.max_steps=4",
        "rounds=2",
    ];
    bench.done("r", &settings);
    let run = bench.run_folder("r");
    let questions = questions_of(&run);
    let mut seen = BTreeSet::new();
    for round in [run.clone(), run.join("round-2")] {
        let traces: BTreeMap<(String, i64), TraceRecord> = records::<TraceRecord>(&round.join("03-traces"))
            .into_iter()
            .map(|trace| ((trace.id.clone(), trace.sample as i64), trace))
            .collect();
        let unfinished = traces.values().filter(|trace| !trace.closed).count();
        assert!(0 < unfinished && unfinished < traces.len(), "{unfinished} of {}", traces.len());
        // All traces are learnt, those without an end too, after the prompt without the hint.
        let built = check_gaps(&round, |of, example| {
            assert_eq!(example.response_ids, traces[of].token_ids);
            assert_eq!(example.old_logprobs.as_ref(), Some(&traces[of].logprobs));
            assert_eq!(example.prompt_ids, questions[&of.0].prompt_ids);
            traces[of].logprobs.clone()
        });
        assert_eq!(built, traces.len());
        assert!(!round.join("05-answers").exists() && !round.join("07-weights").exists());
        let tokens: Vec<Vec<u32>> = traces.into_values().map(|trace| trace.token_ids).collect();
        assert!(seen.insert(tokens), "{} has the traces of another round", round.display());
    }
    bench.done("wrong", &[&settings[..6], &["distillation.contrast=wrong-hint"]].concat());
    let run = bench.run_folder("wrong");
    let wrong = scores_in(&run.join("03-scores-wrong-hint"));
    assert!(check_gaps(&run, |of, _| wrong[of].clone()) > 300);
    let hints = |name: &str| {
        let training = records::<QuestionRecord>(&run.join(name)).into_iter();
        training
            .filter(|question| question.split == Split::Train)
            .map(|question| question.hint)
            .collect::<Vec<_>>()
    };
    let (right, wrong) = (hints("00-questions"), hints("00-questions-wrong"));
    assert!(right.len() == 100 && right.iter().zip(&wrong).all(|(right, wrong)| right != wrong));
}

#[test]
fn a_posterior_that_is_not_trained_is_the_model_with_the_hint_in_its_prompt() {
    let bench = Bench::new();
    let settings = ["skip=[\"rft\"]", "posterior.train=false", "traces.limit=7"];
    bench.done("r", &settings);
    let run = bench.run_folder("r");
    assert!(!run.join("02-posterior").exists());
    let traces = records::<TraceRecord>(&run.join("03-traces"));
    let asked: BTreeSet<&String> = traces.iter().map(|trace| &trace.id).collect();
    assert_eq!((asked.len(), traces.len()), (7, 28), "7 questions, 4 traces of each");
    // Sampled with the hint, scored without it: were the prompts the same, so would be the log-probs.
    let scores = records::<ScoreRecord>(&run.join("04-scores"));
    let sampled: BTreeMap<(String, u64), Vec<f32>> =
        traces.iter().map(|trace| ((trace.id.clone(), trace.sample), trace.logprobs.clone())).collect();
    assert!(!scores.is_empty());
    assert!(scores.iter().all(|score| score.logprobs != sampled[&(score.id.clone(), score.sample)]));
}

/// The examples built of sampled traces: their questions, traces and weights.
fn examples(run: &Path) -> BTreeMap<(String, i64, Vec<u32>), f64> {
    let all = records::<ExampleRecord>(&run.join("08-dataset")).into_iter();
    let sampled = all.filter(|example| example.source >= 0);
    sampled.map(|example| ((example.id, example.source, example.response_ids), example.weight)).collect()
}

/// Trained for longer, on questions of their own too, so that of some traces answers are right; no baseline.
const LONGER: [&str; 5] =
    ["skip=[\"rft\"]", "traces.questions=all", "initial.max_steps=300", "evaluation.n=1", "answers.n=4"];

#[test]
fn maxrl_is_a_method_and_the_question_exponent_scales_its_questions() {
    let bench = Bench::new();
    let settings = |more: &[&'static str]| [&LONGER, more].concat();
    let maxrl = ["method=maxrl", "answers.n=1", "final.max_steps=4", "rounds=3", "final.schedule=constant"];
    bench.done("r", &settings(&maxrl));
    for round in ["r", "r/round-2", "r/round-3"] {
        let verdicts = records::<VerdictRecord>(&bench.run_folder(round).join("06-verdicts"));
        let (mut right, mut all): (BTreeMap<String, f64>, BTreeMap<String, f64>) = Default::default();
        for trace in records::<TraceRecord>(&bench.run_folder(round).join("03-traces")) {
            *all.entry(trace.id).or_default() += 1.0;
        }
        for verdict in &verdicts {
            let is_right = f64::from(u8::from(verdict.verdict() == Verdict::Correct));
            *right.entry(verdict.id.clone()).or_default() += is_right;
        }
        assert!(right.values().any(|right| *right > 0.0), "{round}");
        // Identical sequences are one example: sums by question and verdict are compared, up to the common scale.
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        examples(&bench.run_folder(round))
            .into_iter()
            .for_each(|((id, ..), weight)| *sums.entry(id).or_default() += weight);
        let positive = |id: &String| if right.get(id).is_some_and(|right| *right > 0.0) { 1.0 } else { 0.0 };
        // 1/c of each right one and -1/N of all sum to 0, or to -1 where none is right.
        let is_mixed = |id: &String| positive(id) > 0.0;
        assert!(sums.iter().filter(|(id, _)| is_mixed(id)).all(|(_, sum)| sum.abs() < 1e-9), "{sums:?}");
        assert!(sums.iter().filter(|(id, _)| !is_mixed(id)).all(|(_, sum)| *sum < 0.0));
    }
    bench.done("plain", &settings(&[]));
    bench.done("weighted", &settings(&["dataset.question_exponent=0.5"]));
    let (plain, weighted) = (examples(&bench.run_folder("plain")), examples(&bench.run_folder("weighted")));
    // rho summed over a question's traces is 4 p: the ratio of weights is its root, up to the common scale.
    let mut rho: BTreeMap<String, f64> = BTreeMap::new();
    for weight in records::<WeightRecord>(&bench.run_folder("plain").join("07-weights")) {
        let log_rho = weight.log_ratio.zip(weight.log_answer).map(|(ratio, answer)| ratio + answer);
        *rho.entry(weight.id).or_default() += log_rho.map_or(0.0, f64::exp);
    }
    let scaled: Vec<f64> =
        plain.iter().map(|(of, weight)| weighted[of] / weight / (rho[&of.0] / 4.0).min(1.0).sqrt()).collect();
    assert!(scaled.len() > 2, "{scaled:?}");
    assert!(scaled.iter().all(|scale| (scale / scaled[0] - 1.0).abs() < 1e-6), "{scaled:?}");
}

#[test]
fn traces_of_a_mixture_are_weighed_against_both_models() {
    let bench = Bench::new();
    bench.done("r", &[&LONGER[..], &["traces.mixture=0.25", "weights.ratio=full"]].concat());
    let run = bench.run_folder("r");
    let table = |name: &str| -> BTreeMap<(String, u64), TraceRecord> {
        let traces = records::<TraceRecord>(&run.join(name)).into_iter();
        traces.map(|trace| ((trace.id.clone(), trace.sample), trace)).collect()
    };
    let (own, of_posterior) = (table("03-traces-reasoner"), table("03-traces-posterior"));
    let traces = table("03-traces");
    assert_eq!((own.len() * 3, own.len() + of_posterior.len()), (of_posterior.len(), traces.len()));
    for ((id, sample), trace) in &traces {
        match sample.checked_sub(1) {
            None => assert_eq!(trace.token_ids, own[&(id.clone(), 0)].token_ids),
            Some(sample) => assert_eq!(trace.token_ids, of_posterior[&(id.clone(), sample)].token_ids),
        }
    }
    let sum = |logprobs: &[f32]| logprobs.iter().map(|&logp| f64::from(logp)).sum::<f64>();
    let logp: BTreeMap<(String, u64), f64> = records::<ScoreRecord>(&run.join("04-scores"))
        .into_iter()
        .map(|score| ((score.id, score.sample), sum(&score.logprobs)))
        .collect();
    let mut nearest: f64 = 0.0;
    for weight in records::<WeightRecord>(&run.join("07-weights")) {
        let of = (weight.id, weight.sample);
        let (logp, logq) = (logp[&of], sum(&traces[&of].logprobs));
        let expected = -(0.25 + 0.75 * (logq - logp).exp()).ln();
        let got = weight.log_ratio.unwrap();
        assert!((got - expected).abs() < 1e-9 && got <= 4.0_f64.ln() + 1e-12, "{of:?}: {got} {expected}");
        nearest = nearest.max(got);
    }
    assert!(nearest > 0.0, "no trace is better explained by pi");
    let summary: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["bounds"].as_array().unwrap().len(), 4);
}

#[test]
fn kernels_floors_and_other_hints_are_settings_of_a_run() {
    let bench = Bench::new();
    let settings = |more: &[&'static str]| [&LONGER, more].concat();
    bench.done("plain", &settings(&[]));
    let kernel = ["weights.ratio=kernel", "weights.kernel_power=2", "weights.kernel_decay=0.5"];
    bench.done("kernel", &settings(&kernel));
    bench.done("floor", &settings(&["weights.min_log_ratio=-0.05"]));
    bench.done("wrong", &settings(&["questions.hint=wrong"]));
    let weights = |name: &str| -> BTreeMap<(String, u64), WeightRecord> {
        let all = records::<WeightRecord>(&bench.run_folder(name).join("07-weights"));
        all.into_iter().map(|weight| ((weight.id.clone(), weight.sample), weight)).collect()
    };
    let (plain, kernel, floor) = (weights("plain"), weights("kernel"), weights("floor"));
    let mut dropped = 0;
    for (of, weight) in &plain {
        let log_w = weight.log_ratio.unwrap();
        assert!((kernel[of].log_ratio.unwrap() - (2.0 * log_w - 0.5 * log_w.exp_m1())).abs() < 1e-12);
        let expected = Some(log_w).filter(|log_w| *log_w >= -0.05);
        dropped += usize::from(expected.is_none());
        assert_eq!(floor[of].log_ratio, expected);
    }
    assert!(dropped > 0 && dropped < plain.len(), "{dropped} of {}", plain.len());
    let hints = |name: &str| -> Vec<Option<String>> {
        let all = records::<QuestionRecord>(&bench.run_folder(name).join("00-questions"));
        all.into_iter()
            .filter(|question| question.split == Split::Train)
            .map(|question| question.hint)
            .collect()
    };
    let (own, wrong) = (hints("plain"), hints("wrong"));
    assert!(own.iter().zip(&wrong).all(|(own, wrong)| own != wrong && wrong.is_some()));
}

#[test]
fn automatic_arithmetic_is_settled_when_the_run_begins() {
    let bench = Bench::new();
    let settings = ["skip=[\"rft\"]", "engine.compute=auto"];
    bench.done("r", &settings);
    let run = bench.run_folder("r");
    let here = CpuEngine { compute: ComputeType::Auto.here(), ..CpuEngine::default() };
    let (compute, arithmetic) = if unit().is_some() {
        ("bf16", here.identity(EngineRole::Train).compute)
    } else {
        ("f32", "f32".to_owned())
    };
    let recipe = fs::read_to_string(run.join("recipe.toml")).unwrap();
    assert!(recipe.contains(&format!("compute = \"{compute}\"\n")), "{recipe}");
    let metrics = fs::read_to_string(run.join("09-final/metrics.jsonl")).unwrap();
    assert!(metrics.lines().count() > 0);
    let mut lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(lines.all(|line| line["compute"] == arithmetic), "{metrics}");
    let stages = ["01-initial", "03-traces", "04-scores", "09-final", "10-evaluation/final"];
    for stage in stages {
        let record: Value =
            serde_json::from_slice(&fs::read(run.join(stage).join("stage.json")).unwrap()).unwrap();
        assert_eq!(record["key"]["engine"]["compute"], arithmetic, "{stage}");
    }
    // Asked for again, the run keeps what it began with: nothing is done twice.
    let before = contents(&run);
    bench.done("r", &settings);
    assert_eq!(before, contents(&run));
}

#[test]
fn what_cannot_be_run_is_refused() {
    let bench = Bench::new();
    bench.refused("r", &["weights.selction=best"], 2, "selction");
    bench.refused("r", &["traces.n=0"], 2, "traces.n: expected at least 1, got 0");
    bench.refused("r", &["prompts.markers=thing"], 2, "think, stratos, plain");
    bench.refused("r", &["prompts.reasoner=nowhere.jinja"], 2, "neither a built-in template nor a file");
    bench.refused("r", &["questions.task=wlak"], 2, "walk, countdown, arithmetic");
    bench.refused("r", &["skip=[\"nothing\"]"], 2, "no baseline \"nothing\"");
    bench.refused("r", &["questions.sizes.test=100000"], 2, "00-questions");
    let lock = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(bench.run_folder("r").join("lock"))
        .unwrap();
    lock.lock().unwrap();
    bench.refused("r", &[], 1, "another process is working in r");
    drop(lock);
    bench.done("r", &["skip=[\"rft\"]"]);
    // A part that is damaged afterwards is noticed, not trained on.
    let part = bench.run_folder("r/03-traces/part-00008.parquet");
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() - 7]).unwrap();
    bench.refused("r", &["skip=[\"rft\"]"], 1, "part-00008.parquet has changed since the stage finished");
}

/// A repository in the hub's cache, as its own tools leave it.
fn put_in_cache(cache: &Path, repository: &str, files: &[(&str, Vec<u8>)]) {
    let (folder, commit) = (cache.join(repository), "0123456789012345678901234567890123456789");
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), commit).unwrap();
    for (name, bytes) in files {
        let path = folder.join("snapshots").join(commit).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Questions of the walk as rows of a published data set.
fn walk_rows(bench: &Bench, part: &str, count: &str) -> Vec<u8> {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    let output = command
        .args([
            "questions",
            "--task",
            "walk",
            "--markers",
            "plain",
            "--traced",
            "40",
            "--test",
            count,
            "--only",
            part,
        ])
        .current_dir(bench.folder.path());
    let rows = String::from_utf8(output.output().unwrap().stdout).unwrap();
    let kept = ["id", "question", "trace", "answer", "kind"];
    let row = |line: &str| {
        let row: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        Value::Object(row.into_iter().filter(|(name, _)| kept.contains(&name.as_str())).collect()).to_string()
            + "\n"
    };
    rows.lines().map(row).collect::<String>().into_bytes()
}

#[test]
fn a_recipe_takes_model_and_questions_from_the_hub() {
    let bench = Bench::new();
    let cache = bench.folder.path().join("cache");
    bench.done("r", &["skip=[\"rft\"]", "initial.max_steps=1", "posterior.max_steps=1", "final.max_steps=1"]);
    let model = |name: &str| fs::read(bench.run_folder("r/00-model").join(name)).unwrap();
    let files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
        .map(|name| (name, model(name)));
    put_in_cache(&cache, "models--lab--tiny", &files);
    let rows = [
        ("data/train-0.jsonl", walk_rows(&bench, "train", "20")),
        ("data/test-0.jsonl", walk_rows(&bench, "test", "20")),
    ];
    put_in_cache(&cache, "datasets--lab--walks", &rows);
    let recipe = RECIPE.replace(
        "task = \"walk\"\n",
        "train = \"lab/walks:data/train-*.jsonl\"\ntest = \"lab/walks:data/test-*.jsonl\"\n",
    );
    let recipe = recipe.replace("sizes = { traced = 60, untraced = 40, validation = 10, test = 20 }\n", "");
    let shape = recipe.lines().find(|line| line.starts_with("shape")).unwrap();
    fs::write(bench.folder.path().join("tiny.toml"), recipe.replace(shape, "folder = \"lab/tiny\"")).unwrap();
    let settings = ["skip=[\"rft\"]", "traces.questions=\"all\""];
    let run = |name: &str, more: &[&str]| {
        let settings = [&settings[..], more].concat();
        bench
            .command(name, &settings)
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HUB_CACHE", &cache)
            .output()
            .unwrap()
    };
    let output = run("of-hub", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = records::<QuestionRecord>(&bench.run_folder("of-hub/00-questions"));
    assert_eq!(counts.len(), 60);
    // What is neither here nor in the cache is named, with what to do.
    for (setting, expected) in [
        ("model.folder=lab/other", "lab/other"),
        ("questions.train=lab/nothing", "lab/nothing"),
        ("questions.test=lab/walks", "*test*.parquet"),
    ] {
        let output = run("absent", &[setting]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(expected) && said.contains("HF_HUB_OFFLINE"),
            "{setting}: {said}"
        );
    }
}
