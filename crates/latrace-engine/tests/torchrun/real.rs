//! Real ranks on the CPU (gloo), against the built-in trainer and scorer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Result;
use latrace_engine::boundary::{FitJob, ScoreRow};
use latrace_engine::conformance::{self, Subject};
use latrace_engine::cpu::{SaveDtype, save_random};
use latrace_engine::scoring::score_all;
use latrace_engine::torchrun::{TorchAttention, TorchDtype, TorchrunConfig};
use latrace_engine::train_config::{Init, Loss, Normaliser, OverLength, StoreAs};
use latrace_engine::{CpuEngine, Engine, RowFile, RowFileWriter, RowSource, TrainConfig, Weights};
use latrace_lm::{Error, Event, TrainRow};
use tempfile::TempDir;

use crate::shared::{
    Run, assert_same, engine, golden, in_full, policy_rows, relative, rows, settings, train_cpu, train_torch,
};

pub const TESTS: &[(&str, fn())] = &[
    (
        "losses are the built in trainers for every family and number of ranks",
        losses_are_the_built_in_trainers_for_every_family_and_number_of_ranks,
    ),
    (
        "the policy gradient and the token mean are the built in trainers",
        the_policy_gradient_and_the_token_mean_are_the_built_in_trainers,
    ),
    ("settings of memory and speed change nothing", settings_of_memory_and_speed_change_nothing),
    (
        "a row counts by its weight alone whatever rank it is on",
        a_row_counts_by_its_weight_alone_whatever_rank_it_is_on,
    ),
    ("long rows are cut or left out as planned", long_rows_are_cut_or_left_out_as_planned),
    ("scores are the built in scorers", scores_are_the_built_in_scorers),
    ("a scorer scores more than once", a_scorer_scores_more_than_once),
    ("a scorer does what every engine must", a_scorer_does_what_every_engine_must),
    (
        "the final model is a folder that the built in engine loads",
        the_final_model_is_a_folder_that_the_built_in_engine_loads,
    ),
    (
        "a run resumes with the same bytes at equal ranks and closely at others",
        a_run_resumes_with_the_same_bytes_at_equal_ranks_and_closely_at_others,
    ),
    (
        "a loss that is not finite stops before the update and names its row",
        a_loss_that_is_not_finite_stops_before_the_update_and_names_its_row,
    ),
    (
        "a damaged file of rows is noticed by the ranks too",
        a_damaged_file_of_rows_is_noticed_by_the_ranks_too,
    ),
    (
        "a full disk while saving is said and the checkpoint is kept",
        a_full_disk_while_saving_is_said_and_the_checkpoint_is_kept,
    ),
    (
        "memory that runs out is said with the rows and what helps",
        memory_that_runs_out_is_said_with_the_rows_and_what_helps,
    ),
    (
        "a python without torch is said with what to install",
        a_python_without_torch_is_said_with_what_to_install,
    ),
    ("versions that are too old are said with the ones needed", old_versions_are_said_with_those_needed),
    (
        "an attention that takes no window is not used and that is said",
        an_attention_that_takes_no_window_is_not_used_and_that_is_said,
    ),
    (
        "a model that the ranks do not support is refused by name",
        a_model_that_the_ranks_do_not_support_is_refused_by_name,
    ),
    (
        "killed ranks and a killed torchrun leave nothing running and lose no checkpoint",
        killed_ranks_and_a_killed_torchrun_leave_nothing_running_and_lose_no_checkpoint,
    ),
];

/// The Python to test with.
pub fn python() -> Option<String> {
    std::env::var("LATRACE_PYTHON").ok()
}

/// A process with PyTorch loaded, which forks ranks.
struct ForkServer {
    python: String,
    socket: String,
    _folder: TempDir,
    // Its standard input is open as long as the tests run.
    _process: Child,
}

fn fork_server() -> &'static ForkServer {
    static SERVER: OnceLock<ForkServer> = OnceLock::new();
    SERVER.get_or_init(|| ForkServer::start(python().unwrap()))
}

const SERVER_SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torchrun/fork_server.py");

impl ForkServer {
    fn start(python: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket").to_str().unwrap().to_owned();
        let mut process = Command::new(&python)
            .args([SERVER_SOURCE, "serve", &socket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { python, socket, _folder: folder, _process: process }
    }

    /// The command that starts ranks.
    fn launch(&self, ranks: usize) -> Vec<String> {
        [&self.python, "-S", "-E", SERVER_SOURCE, "run", &self.socket, &ranks.to_string()]
            .map(str::to_owned)
            .to_vec()
    }

    fn config(&self, ranks: usize) -> TorchrunConfig {
        TorchrunConfig { launch: self.launch(ranks), dtype: TorchDtype::F32, ..TorchrunConfig::default() }
    }

    /// As `config`, with a shell script that runs before the ranks start; `$2` is the job.
    fn config_after(&self, ranks: usize, script: &str) -> TorchrunConfig {
        let mut launch = ["sh", "-c", "eval \"$0\"; exec \"$@\""].map(str::to_owned).to_vec();
        launch.push(script.to_owned());
        launch.extend(self.launch(ranks));
        TorchrunConfig { launch, ..self.config(ranks) }
    }
}

/// The error of a run that fails.
fn failing(torchrun: TorchrunConfig, rows: &dyn RowSource, config: &TrainConfig) -> anyhow::Error {
    let out = tempfile::tempdir().unwrap();
    let job = FitJob { model: &golden("qwen2"), rows, config, out: out.path(), resume: false };
    engine(torchrun).trainer().unwrap().fit(job, &mut |_| Ok(())).unwrap_err()
}

fn losses_are_the_built_in_trainers_for_every_family_and_number_of_ranks() {
    let server = fork_server();
    let tied_llama = tied_llama();
    let cases = [
        ("qwen2, tied", golden("qwen2")),
        ("qwen2", golden("qwen2-untied")),
        ("qwen3, tied", golden("qwen3")),
        ("qwen3", golden("qwen3-odd")),
        ("llama, tied", tied_llama.path().to_owned()),
        ("llama", golden("llama")),
    ];
    for (name, model) in cases {
        let (expected, _out) = train_cpu(&model, &rows(), &settings());
        for ranks in [1, 2, 3] {
            let (got, _out) = train_torch(server.config(ranks), &model, &rows(), &settings());
            assert_same(&format!("{name}, {ranks} ranks"), &got, &expected);
        }
    }
}

/// A model with the shape of a golden one, whose head is the embedding.
fn tied_llama() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(golden("llama").join("config.json")).unwrap();
    let tied = config.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    assert_ne!(tied, config);
    fs::write(folder.path().join("config.json"), tied).unwrap();
    save_random(folder.path(), 5, SaveDtype::F32, folder.path()).unwrap();
    folder
}

fn the_policy_gradient_and_the_token_mean_are_the_built_in_trainers() {
    let server = fork_server();
    let policy = TrainConfig { loss: Loss::ClippedPolicyGradient, clip_high: 0.28, ..settings() };
    let mean = TrainConfig { normaliser: Normaliser::TokenMean, decay_norms_and_biases: true, ..settings() };
    for (name, rows, config) in [("policy", policy_rows(), policy), ("token mean", rows(), mean)] {
        let (expected, _out) = train_cpu(&golden("qwen3"), &rows, &config);
        let (got, _out) = train_torch(server.config(2), &golden("qwen3"), &rows, &config);
        assert_same(name, &got, &expected);
    }
}

fn settings_of_memory_and_speed_change_nothing() {
    let server = fork_server();
    let (model, rows, config) = (golden("qwen2"), rows(), settings());
    let (expected, _out) = train_cpu(&model, &rows, &config);
    let plain = server.config(2);
    let packed =
        TorchrunConfig { attention: TorchAttention::Packed, tokens_per_micro_batch: 40, ..plain.clone() };
    let cases = [
        ("packed", packed),
        ("without recomputing", TorchrunConfig { activation_checkpointing: false, ..plain.clone() }),
        ("offloaded", TorchrunConfig { cpu_offload: true, ..plain.clone() }),
        ("without a launcher", server.config(0)),
        ("eager", TorchrunConfig { attention: TorchAttention::Eager, ..plain.clone() }),
    ];
    for (name, torchrun) in cases {
        let (got, _out) = train_torch(torchrun, &model, &rows, &config);
        assert_same(name, &got, &expected);
    }
    let (got, _out) =
        train_torch(TorchrunConfig { dtype: TorchDtype::Bf16, ..plain }, &model, &rows, &config);
    let worst = got.steps.iter().zip(&expected.steps).map(|(g, e)| relative(g.loss, e.loss));
    let worst = worst.fold(0.0, f64::max);
    assert!(worst > 1e-6 && worst < 2e-2, "bf16 differs, but not by much: {worst}");
}

/// With more ranks than rows in an update, and rows of weight 0 alone, ranks have passes that count for nothing.
fn a_row_counts_by_its_weight_alone_whatever_rank_it_is_on() {
    let server = fork_server();
    let mut rows = rows()[..5].to_vec();
    rows[2].weights = Weights::Row(0.0);
    let config = TrainConfig { batch_size: 2, epochs: 1, shuffle: false, ..settings() };
    let run = |rows: &Vec<TrainRow>| {
        let (expected, _out) = train_cpu(&golden("qwen2-untied"), rows, &config);
        let (got, _out) = train_torch(server.config(3), &golden("qwen2-untied"), rows, &config);
        assert_same("few rows", &got, &expected);
        got.steps[0].grad_norm
    };
    let before = run(&rows);
    rows[0].weights = match &rows[0].weights {
        Weights::Row(weight) => Weights::Row(2.0 * weight),
        Weights::PerToken(_) => panic!("the first row has one weight"),
    };
    let doubled = run(&rows);
    assert!(relative(doubled, before) > 0.05, "{before} and {doubled}");
}

fn long_rows_are_cut_or_left_out_as_planned() {
    let server = fork_server();
    for over_length in [OverLength::Drop, OverLength::Truncate] {
        let config = TrainConfig { cutoff_length: 16, over_length, ..settings() };
        let (expected, _out) = train_cpu(&golden("qwen2"), &rows(), &config);
        assert!(expected.steps[0].dropped_rows + expected.steps[0].truncated_rows > 0);
        let (got, _out) = train_torch(server.config(2), &golden("qwen2"), &rows(), &config);
        assert_same("cut", &got, &expected);
    }
}

/// Rows to score: prompts and responses of training rows.
fn score_rows() -> Vec<ScoreRow> {
    let row = |row: TrainRow| {
        let (prompt, response) = row.tokens.split_at(row.prompt_len);
        ScoreRow { prompt: prompt.to_vec(), response: response.to_vec() }
    };
    rows().into_iter().map(row).collect()
}

/// The largest difference between the two engines' log-probs with a model.
fn score_difference(torchrun: TorchrunConfig, model: &Path) -> f32 {
    let scores = |engine: &dyn Engine| score_all(&mut *engine.scorer(model).unwrap(), score_rows()).unwrap();
    let (got, expected) = (scores(&engine(torchrun)), scores(&CpuEngine::default()));
    let pairs = got.iter().flatten().zip(expected.iter().flatten());
    assert_eq!(
        got.iter().map(Vec::len).collect::<Vec<_>>(),
        expected.iter().map(Vec::len).collect::<Vec<_>>()
    );
    pairs.map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max)
}

fn scores_are_the_built_in_scorers() {
    let server = fork_server();
    let packed =
        TorchrunConfig { attention: TorchAttention::Packed, tokens_per_micro_batch: 50, ..server.config(2) };
    for (config, model) in [(server.config(1), "qwen3"), (server.config(3), "llama"), (packed, "qwen2")] {
        let difference = score_difference(config, &golden(model));
        assert!(difference <= 2e-5, "{model}: {difference}");
    }
}

fn a_scorer_scores_more_than_once() {
    let server = fork_server();
    let mut scorer = engine(server.config(2)).scorer(&golden("qwen2")).unwrap();
    let once = score_all(&mut *scorer, score_rows()).unwrap();
    let again = score_all(&mut *scorer, score_rows()[3..5].to_vec()).unwrap();
    assert_eq!(again, once[3..5]);
    assert!(score_all(&mut *scorer, Vec::new()).unwrap().is_empty());
}

fn a_scorer_does_what_every_engine_must() {
    let server = fork_server();
    let (engine, model) = (engine(server.config(2)), golden("qwen3"));
    // Sums of a row do not depend on the others, but are not the built-in engine's.
    conformance::scoring(&Subject { engine: &engine, model: &model, tolerance: 2e-5 });
}

/// The files of a model that training has changed, with their contents.
fn model_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let named =
        files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()));
    named.collect()
}

fn the_final_model_is_a_folder_that_the_built_in_engine_loads() {
    let server = fork_server();
    let source = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden("qwen3").join(name), source.path().join(name)).unwrap();
    }
    fs::write(source.path().join("tokenizer.json"), "the tokenizer").unwrap();
    let config = TrainConfig { max_steps: Some(2), ..settings() };
    let (_, built_in) = train_cpu(source.path(), &rows(), &config);
    let (_, whole) = train_torch(server.config(2), source.path(), &rows(), &config);
    let names = |folder: &TempDir| model_files(folder.path()).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&built_in));
    assert_eq!(names(&whole), ["config.json", "model.safetensors", "tokenizer.json", "training.json"]);
    let same = |name: &str| assert_eq!(model_files(whole.path())[name], model_files(built_in.path())[name]);
    ["config.json", "tokenizer.json"].into_iter().for_each(same);
    assert!(score_difference(server.config(1), whole.path()) <= 2e-5, "the ranks load it too");
    // In small shards, the same weights.
    let small = "sed -i 's/\"shard_bytes\": [0-9]*/\"shard_bytes\": 20000/' \"${9}\"";
    let (_, sharded) = train_torch(server.config_after(2, small), source.path(), &rows(), &config);
    assert!(sharded.path().join("model.safetensors.index.json").exists(), "{:?}", names(&sharded));
    let scores = |model: &TempDir| {
        score_all(&mut *CpuEngine::default().scorer(model.path()).unwrap(), score_rows()).unwrap()
    };
    assert_eq!(scores(&sharded), scores(&whole));
    let close = scores(&whole)
        .iter()
        .flatten()
        .zip(scores(&built_in).iter().flatten())
        .all(|(g, e)| (g - e).abs() < 1e-4);
    assert!(close, "trained alike");
    // A finished run is not repeated, and keeps no checkpoints.
    let mut events = Vec::new();
    let job =
        FitJob { model: source.path(), rows: &rows(), config: &config, out: whole.path(), resume: true };
    engine(server.config(2))
        .trainer()
        .unwrap()
        .fit(job, &mut |event| {
            events.push(event);
            Ok(())
        })
        .unwrap();
    assert!(matches!(events[..], [Event::NothingToDo]), "{events:?}");
    // bf16, as the built-in trainer stores it: half the bytes, and config.json says so.
    let config = TrainConfig { save_dtype: StoreAs::Bf16, init: Init::Random, ..config };
    let (torch, half) = train_torch(server.config(1), source.path(), &rows(), &config);
    let (built_in, expected) = train_cpu(source.path(), &rows(), &config);
    assert_same("random weights", &torch, &built_in);
    let (got, expected) = (model_files(half.path()), model_files(expected.path()));
    assert_eq!(got["config.json"], expected["config.json"]);
    let lengths = [&got, &expected].map(|files| files["model.safetensors"].len());
    assert!(lengths[0].abs_diff(lengths[1]) < 500, "{lengths:?}");
}

/// Trains on, in a folder, for ten updates with a checkpoint after every third; `on_checkpoint` may end it.
fn train_on(
    torchrun: TorchrunConfig,
    out: &Path,
    on_checkpoint: &mut dyn FnMut() -> Result<()>,
) -> (Result<()>, Run) {
    train_for(10, torchrun, out, on_checkpoint)
}

fn train_for(
    updates: u64,
    torchrun: TorchrunConfig,
    out: &Path,
    on_checkpoint: &mut dyn FnMut() -> Result<()>,
) -> (Result<()>, Run) {
    let (mut run, rows, model) = (Run::default(), rows(), golden("llama"));
    let config = TrainConfig { checkpoint_every: 3, max_steps: Some(updates), ..settings() };
    let job = FitJob { model: &model, rows: &rows, config: &config, out, resume: true };
    let outcome = engine(torchrun).trainer().unwrap().fit(job, &mut |event| {
        let is_checkpoint = matches!(event, Event::Checkpoint { .. });
        run.observe(event)?;
        if is_checkpoint { on_checkpoint() } else { Ok(()) }
    });
    (outcome, run)
}

fn a_run_resumes_with_the_same_bytes_at_equal_ranks_and_closely_at_others() {
    let server = fork_server();
    let whole = tempfile::tempdir().unwrap();
    let (outcome, expected) = train_on(server.config(2), whole.path(), &mut || Ok(()));
    outcome.unwrap();
    assert_eq!((expected.resumed_from, &expected.checkpoints[..]), (None, &[3, 6, 9, 10][..]));
    for ranks in [2, 3] {
        let out = tempfile::tempdir().unwrap();
        let (outcome, _) = train_on(server.config(2), out.path(), &mut || anyhow::bail!("stop here"));
        assert_eq!(outcome.unwrap_err().to_string(), "stop here", "the observer's own error");
        let (outcome, run) = train_on(server.config(ranks), out.path(), &mut || Ok(()));
        outcome.unwrap();
        assert_eq!(run.resumed_from, Some(3));
        assert_eq!(run.steps.iter().map(|step| step.step).collect::<Vec<_>>(), (4..=10).collect::<Vec<_>>());
        let [got, expected_files] = [&out, &whole].map(|folder| model_files(folder.path()));
        if ranks == 2 {
            assert!(got == expected_files, "the same bytes");
        }
        for (got, expected) in run.steps.iter().zip(&expected.steps[3..]) {
            assert!(relative(got.loss, expected.loss) < 1e-5);
        }
        let left = fs::read_dir(out.path().join("torchrun")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.to_str().unwrap().starts_with("checkpoint")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    // Another engine's checkpoint, or other settings, are another run.
    let bf16 = TorchrunConfig { dtype: TorchDtype::Bf16, ..server.config(2) };
    let error = train_on(bf16, whole.path(), &mut || Ok(())).0.unwrap_err().to_string();
    assert!(error.contains("those the run was started with"), "{error}");
}

fn a_loss_that_is_not_finite_stops_before_the_update_and_names_its_row() {
    let server = fork_server();
    let config = TrainConfig { loss: Loss::ClippedPolicyGradient, shuffle: false, ..settings() };
    let mut rows = policy_rows();
    // A ratio of e^1000, and nothing that clips it.
    let policy = rows[5].policy.as_mut().unwrap();
    (policy.old_logp, policy.advantages) = (vec![-1000.0; policy.old_logp.len()], Weights::Row(-1.0));
    let error = failing(server.config(2), &rows, &config);
    let Some(Error::NonFinite { step, ids, .. }) = error.downcast_ref() else { panic!("{error:?}") };
    assert_eq!((*step, &ids[..]), (2, &["row 5".to_owned()][..]));
}

fn a_damaged_file_of_rows_is_noticed_by_the_ranks_too() {
    let server = fork_server();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let mut writer = RowFileWriter::create(&path).unwrap();
    rows().iter().for_each(|row| writer.push(row).unwrap());
    let file: RowFile = writer.finish().unwrap();
    // After this process has read and checked all rows.
    let damage = format!("printf X | dd of={} bs=1 seek=60 conv=notrunc 2>/dev/null", path.display());
    let error = failing(server.config_after(2, &damage), &file, &settings());
    assert!(
        matches!(error.downcast_ref(), Some(Error::BadRowFile { path: of, .. }) if *of == path.canonicalize().unwrap()),
        "{error:?}"
    );
    assert!(error.to_string().contains("row 0: expected checksum"), "{error}");
}

fn a_full_disk_while_saving_is_said_and_the_checkpoint_is_kept() {
    let server = fork_server();
    let out = tempfile::tempdir().unwrap();
    // Of the system's own refusal, there is a device.
    let full = edit_worker(
        "            save_file(",
        "            open(\"/dev/full\", \"w\").write(\"x\" * 100000), save_file(",
    );
    let (outcome, _) = train_on(server.config_after(2, &full), out.path(), &mut || Ok(()));
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("update 10, rank 0: OSError: [Errno 28] No space left"), "{error}");
    assert!(in_full(&error).contains("free some disk space"), "{error:?}");
    assert!(out.path().join("torchrun/checkpoint-10/.metadata").exists());
    let (outcome, run) = train_on(server.config(2), out.path(), &mut || Ok(()));
    outcome.unwrap();
    assert_eq!((run.resumed_from, run.steps.len()), (Some(10), 0));
}

/// A script that replaces a piece of the ranks' source.
fn edit_worker(old: &str, new: &str) -> String {
    let (old, new) = (old.replace('(', "\\("), new.replace('/', "\\/"));
    format!("sed -i -E 's/{old}/{new}/' \"${{8}}\"")
}

fn memory_that_runs_out_is_said_with_the_rows_and_what_helps() {
    let server = fork_server();
    let out_of_memory =
        edit_worker("    batch = batch_of(rows, divisor", "    raise torch.OutOfMemoryError(rows[0].id");
    let config = TrainConfig { shuffle: false, ..settings() };
    let error = failing(server.config_after(1, &out_of_memory), &rows(), &config);
    assert!(error.to_string().contains("update 1, rows row 0, rank 0: "), "{error}");
    assert!(in_full(&error).contains("torchrun.cpu_offload = true"), "{error:?}");
}

fn a_python_without_torch_is_said_with_what_to_install() {
    let python = python().unwrap();
    // Without the folder of installed packages.
    let launch = [&python, "-S", "-E"].map(str::to_owned).to_vec();
    let error = failing(TorchrunConfig { launch, ..TorchrunConfig::default() }, &rows(), &settings());
    assert!(error.to_string().contains("No module named 'torch'"), "{error}");
    assert!(in_full(&error).contains("uv pip install torch transformers"), "{error:?}");
}

fn old_versions_are_said_with_those_needed() {
    let packages = tempfile::tempdir().unwrap();
    let package = |name: &str, version: &str| {
        fs::write(packages.path().join(format!("{name}.py")), format!("__version__ = \"{version}\"\n"))
            .unwrap();
    };
    let error = || {
        let path = format!("PYTHONPATH={}", packages.path().display());
        let launch = ["env".to_owned(), path, python().unwrap()].into();
        let torchrun = TorchrunConfig { launch, ..TorchrunConfig::default() };
        in_full(&failing(torchrun, &rows(), &settings()))
    };
    package("torch", "2.5.1+cu124");
    package("transformers", "5.0.0");
    let old = error();
    assert!(old.contains("found torch 2.5.1+cu124, needed 2.6 or later"), "{old}");
    assert!(old.contains("uv pip install torch transformers"), "{old}");
    package("torch", "2.10.0");
    package("transformers", "4.55.4");
    let old = error();
    assert!(old.contains("found transformers 4.55.4, needed 4.56 or later"), "{old}");
}

fn an_attention_that_takes_no_window_is_not_used_and_that_is_said() {
    // In place of an older PyTorch and a GPU, of which neither is here.
    let script = format!(
        r#"
import importlib.util, torch, torch.nn.attention.varlen as varlen
def load():
    spec = importlib.util.spec_from_file_location("worker", "{}/src/torchrun/worker.py")
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    return worker
def remarks():
    return [load().remark_on(attention, torch.device("cuda")) for attention in ("latrace_packed", "sdpa")]
def with_window(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa): ...
def without(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, scale=None): ...
varlen.varlen_attn = with_window
print(remarks())
varlen.varlen_attn = without
print(remarks())
"#,
        env!("CARGO_MANIFEST_DIR")
    );
    let output = Command::new(python().unwrap()).args(["-c", &script]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines[0], "[None, None]");
    assert!(lines[1].contains("its varlen_attn takes no enable_gqa, window_size"), "{stdout}");
    assert!(lines[1].ends_with(", None]"), "{stdout}");
}

fn a_model_that_the_ranks_do_not_support_is_refused_by_name() {
    let server = fork_server();
    let model = tempfile::tempdir().unwrap();
    fs::copy(golden("llama").join("model.safetensors"), model.path().join("model.safetensors")).unwrap();
    let config = fs::read_to_string(golden("llama").join("config.json")).unwrap();
    let check = |config: String, expected: &str| {
        fs::write(model.path().join("config.json"), config).unwrap();
        let out = tempfile::tempdir().unwrap();
        let job = FitJob {
            model: model.path(),
            rows: &rows(),
            config: &settings(),
            out: out.path(),
            resume: false,
        };
        let error = engine(server.config(2)).trainer().unwrap().fit(job, &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(config.replacen('{', "{\"logits_scaling\": 8.0,", 1), "logits_scaling is not supported");
    check(config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"), "model.layers.1.");
}

/// Processes of a job: those whose command line names its folder.
fn processes_of(out: &Path) -> Vec<u32> {
    let out = out.canonicalize().unwrap().to_str().unwrap().to_owned();
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    numbers.filter(|pid: &u32| command_line(*pid).contains(&out)).collect()
}

fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// So many that a run is not over before a process of it is killed.
const UPDATES: u64 = 60;

/// With torchrun itself, from its own command: a rank is killed, then torchrun, and the third start ends it.
fn killed_ranks_and_a_killed_torchrun_leave_nothing_running_and_lose_no_checkpoint() {
    let server = fork_server();
    let out = tempfile::tempdir().unwrap();
    let torchrun = Path::new(&server.python).with_file_name("torchrun").to_str().unwrap().to_owned();
    let launch = [&torchrun, "--standalone", "--nproc-per-node", "2"].map(str::to_owned).to_vec();
    let config = TorchrunConfig { launch, ..server.config(2) };
    let is_rank = |pid: &u32| !command_line(*pid).contains("--standalone");
    let victims: [&dyn Fn() -> u32; 2] =
        [&|| processes_of(out.path()).into_iter().find(is_rank).unwrap(), &|| {
            processes_of(out.path()).into_iter().find(|pid| !is_rank(pid)).unwrap()
        }];
    for (place, victim) in victims.into_iter().enumerate() {
        let mut killed = false;
        let (outcome, run) = train_for(UPDATES, config.clone(), out.path(), &mut || {
            if !std::mem::replace(&mut killed, true) {
                kill(victim());
            }
            Ok(())
        });
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("signal 9") || error.contains("Signal 9"), "{error}");
        assert_eq!(run.resumed_from.is_some(), place == 1);
        let start = Instant::now();
        while !processes_of(out.path()).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", processes_of(out.path()));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let (outcome, run) = train_for(UPDATES, server.config(2), out.path(), &mut || Ok(()));
    outcome.unwrap();
    assert!(run.resumed_from >= Some(6), "{:?}", run.resumed_from);
    let whole = tempfile::tempdir().unwrap();
    train_for(UPDATES, server.config(2), whole.path(), &mut || Ok(())).0.unwrap();
    assert!(model_files(out.path()) == model_files(whole.path()), "the same bytes");
}
