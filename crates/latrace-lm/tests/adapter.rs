//! Training of low-rank adapters, and of models of which a part is frozen.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

mod common;

use common::{
    Golden, Tested, Training, assert_close, folder, golden_config, gradients, on_each_device, score_row,
};
use latrace_kernels::Cpu;
use latrace_lm::train_config::{Init, TrainConfig};
use latrace_lm::{Error, Event, Lora, Model, SaveDtype, ScoreRow, TrainJob, score, train};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

on_each_device!(
    dropout_does_not_depend_on_micro_batches_or_recomputation,
    frozen_parameters_have_no_gradient_and_the_others_have_theirs
);

fn lora() -> Lora {
    Lora { rank: 4, alpha: 8.0, ..Lora::default() }
}

fn config(lora: Lora) -> TrainConfig {
    TrainConfig {
        batch_size: 3,
        max_steps: Some(7),
        checkpoint_every: 2,
        shuffle: true,
        lora: Some(lora),
        ..golden_config()
    }
}

/// Trains from the model in `start`, stopping as a kill would right after `stop` updates; returns the losses.
fn run(start: &Path, out: &Path, config: &TrainConfig, stop: Option<u64>) -> Result<Vec<f64>, Error> {
    let rows = Golden::read("qwen3").rows();
    let job = TrainJob { model_dir: start, out, rows: &rows, config: config.clone(), resume: true };
    let mut losses = Vec::new();
    train(job, &mut |event| {
        let Event::Step(metrics) = event else { return Ok(()) };
        losses.push(metrics.loss);
        if Some(metrics.step) == stop { Err(Error::Invalid("killed".into())) } else { Ok(()) }
    })?;
    Ok(losses)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn log_probs(model: &Model) -> Vec<f32> {
    let rows: Vec<ScoreRow> = Golden::read("qwen3").rows().iter().map(score_row).collect();
    let mut all = Vec::new();
    score(model, &rows, 80, &mut |_, rows| {
        all.extend(rows.concat());
        Ok(())
    })
    .unwrap();
    all
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_new_adapter_begins_as_its_base_and_learns() {
    let [full, adapted] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let of_weights = TrainConfig { lora: None, ..config(lora()) };
    let expected = run(&folder("qwen3"), full.path(), &of_weights, None).unwrap();
    let losses = run(&folder("qwen3"), adapted.path(), &config(lora()), None).unwrap();
    assert_eq!(losses[0], expected[0]);
    assert!(losses[6] < 0.8 * losses[0], "{losses:?}");
    let files = ["adapter_config.json", "adapter_model.safetensors", "training.json"];
    assert_eq!(names(adapted.path()), files);
    // What was trained is what is read back.
    let model = Model::load(adapted.path()).unwrap();
    assert_eq!(model.adapter().unwrap().parts.len(), 2 * 7);
    assert!(worst(&log_probs(&model), &log_probs(&Model::load(&folder("qwen3")).unwrap())) > 0.1);
}

#[test]
fn an_interrupted_training_of_an_adapter_ends_in_the_same_bits() {
    let settings = config(Lora { dropout: 0.2, ..lora() });
    let weights = |out: &Path| fs::read(out.join("adapter_model.safetensors")).unwrap();
    let whole = tempfile::tempdir().unwrap();
    run(&folder("qwen3"), whole.path(), &settings, None).unwrap();
    for stop in [1, 3, 6] {
        let out = tempfile::tempdir().unwrap();
        run(&folder("qwen3"), out.path(), &settings, Some(stop)).unwrap_err();
        run(&folder("qwen3"), out.path(), &settings, None).unwrap();
        assert_eq!(weights(out.path()), weights(whole.path()), "stopped after {stop}");
    }
}

/// Both round to f32, at different places.
#[test]
fn a_merged_model_computes_the_same() {
    for case in common::ADAPTERS {
        let load = || Model::load(&folder(case)).unwrap();
        let merged = load().merged();
        assert!(merged.adapter().is_none());
        let out = tempfile::tempdir().unwrap();
        merged.save(out.path(), SaveDtype::F32, &folder(case)).unwrap();
        assert_eq!(names(out.path()), ["config.json", "model.safetensors"]);
        let worst = worst(&log_probs(&load()), &log_probs(&Model::load(out.path()).unwrap()));
        assert!(worst > 0.0 && worst < 2e-5, "{case}: {worst} nats");
    }
}

#[test]
fn training_goes_on_from_an_adapter_or_from_what_it_amounts_to() {
    let [first, second, other, whole] = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let before = run(&folder("qwen3"), first.path(), &config(lora()), None).unwrap();
    let after = run(first.path(), second.path(), &config(lora()), None).unwrap();
    assert!(after[0] < 0.8 * before[0], "{after:?}");
    // The base stays the first one's, not the adapter it came from.
    let base = |out: &Path| latrace_lm::adapter::base_of(out).unwrap().unwrap();
    assert_eq!(base(second.path()), base(first.path()));
    let error = run(first.path(), other.path(), &config(Lora { rank: 8, ..lora() }), None).unwrap_err();
    assert!(error.to_string().contains("14 projections, the first of rank 4 and scale 2"), "{error}");
    let merged =
        run(first.path(), whole.path(), &TrainConfig { lora: None, ..config(lora()) }, None).unwrap();
    // One of them adds the adapter to products, the other to weights.
    assert!((merged[0] / after[0] - 1.0).abs() < 1e-5, "{} {}", merged[0], after[0]);
    assert_eq!(names(whole.path()), ["config.json", "model.safetensors", "training.json"]);
}

fn dropout_does_not_depend_on_micro_batches_or_recomputation<D: Tested>() {
    let settings = |dropout: f64| TrainConfig { lora: Some(Lora { dropout, ..lora() }), ..golden_config() };
    let rows = || Golden::read("adapter-qwen3").rows();
    let of = |config: TrainConfig| gradients::<D>("adapter-qwen3", config, rows());
    let whole = of(settings(0.3));
    for budget in [1, 45, 70] {
        let config = TrainConfig { tokens_per_micro_batch: budget, ..settings(0.3) };
        assert_close("micro-batch", &of(config), &whole, 1e-5);
    }
    assert_eq!(of(TrainConfig { recompute: true, ..settings(0.3) }), whole);
    assert_ne!(of(settings(0.0)), whole);
    assert_ne!(of(TrainConfig { seed: 1, ..settings(0.3) }), whole);
}

fn frozen_parameters_have_no_gradient_and_the_others_have_theirs<D: Tested>() {
    let rows = Golden::read("llama-bias").rows();
    let all = gradients::<D>("llama-bias", golden_config(), rows.clone());
    // Of a projection, the weight alone and the bias alone.
    let parts = ["model.layers.0.self_attn.q_proj.bias", "model.layers.0.mlp.down_proj.weight"];
    let frozen = [&["model.layers.1", "model.norm.weight", "lm_head"], &parts[..]].concat();
    let frozen: Vec<String> = frozen.into_iter().map(str::to_owned).collect();
    let mut training =
        Training::<D>::new("llama-bias", TrainConfig { frozen: frozen.clone(), ..golden_config() }, rows);
    let model = training.trainer.model();
    let is_frozen: Vec<bool> = model
        .described()
        .iter()
        .map(|p| frozen.iter().any(|name| p.name.starts_with(name.as_str())))
        .collect();
    let host = |training: &Training<D>| -> Vec<Vec<f32>> {
        training.trainer.model().parameters().iter().map(|p| D::DEVICE.host(p).into_owned()).collect()
    };
    let before = host(&training);
    training.update().unwrap();
    let expected: Vec<Vec<f32>> = all
        .into_iter()
        .zip(&is_frozen)
        .filter(|(_, frozen)| !**frozen)
        .map(|(gradient, _)| gradient)
        .collect();
    assert_eq!(training.gradients(), expected);
    for ((before, after), frozen) in before.iter().zip(host(&training)).zip(is_frozen) {
        assert_eq!(*before == after, frozen);
    }
}

#[test]
fn a_training_with_frozen_parts_resumes() {
    let settings =
        TrainConfig { lora: None, frozen: vec!["model.embed_tokens".to_owned()], ..config(lora()) };
    let weights = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    let [whole, out] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    run(&folder("qwen3"), whole.path(), &settings, None).unwrap();
    run(&folder("qwen3"), out.path(), &settings, Some(3)).unwrap_err();
    run(&folder("qwen3"), out.path(), &settings, None).unwrap();
    assert_eq!(weights(out.path()), weights(whole.path()));
}

#[track_caller]
fn check_refused(config: TrainConfig, message: &str) {
    let out = tempfile::tempdir().unwrap();
    let error = run(&folder("qwen3"), out.path(), &config, None).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn settings_that_adapt_or_train_nothing_are_refused() {
    let targets = |name: &str| Lora { targets: vec!["q_proj".to_owned(), name.to_owned()], ..lora() };
    check_refused(config(targets("c_attn")), "lora.targets: expected names among q_proj, k_proj");
    // A part of a name is no name.
    check_refused(config(targets("proj")), "got proj");
    check_refused(config(Lora { rank: 0, ..lora() }), "lora.rank: expected from 1 to 4096, got 0");
    check_refused(
        config(Lora { alpha: 0.0, ..lora() }),
        "lora.alpha: expected a finite number above 0, got 0",
    );
    check_refused(
        config(Lora { dropout: 1.0, ..lora() }),
        "lora.dropout: expected at least 0 and below 1, got 1",
    );
    check_refused(
        config(Lora { targets: vec![], ..lora() }),
        "lora.targets: expected at least one projection",
    );
    check_refused(TrainConfig { init: Init::Random, ..config(lora()) }, "lora: expected a model to adapt");
    let frozen = |names: &[&str]| TrainConfig {
        lora: None,
        frozen: names.iter().map(|name| (*name).to_owned()).collect(),
        ..config(lora())
    };
    check_refused(frozen(&["model.layers.2"]), "frozen: expected the name of a parameter");
    check_refused(frozen(&["model"]), "frozen: expected parameters that are left to train");
}

/// A copy of a golden adapter whose `adapter_config.json` is changed.
fn changed(case: &str, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    fs::copy(folder(case).join("adapter_model.safetensors"), out.path().join("adapter_model.safetensors"))
        .unwrap();
    let mut fields: Value =
        serde_json::from_slice(&fs::read(folder(case).join("adapter_config.json")).unwrap()).unwrap();
    let base = folder(case).join(fields["base_model_name_or_path"].as_str().unwrap());
    fields["base_model_name_or_path"] = json!(base);
    change(&mut fields);
    fs::write(out.path().join("adapter_config.json"), fields.to_string()).unwrap();
    out
}

#[track_caller]
fn check_field(field: &str, value: Value, message: &str) {
    let out = changed("adapter-qwen3", |fields| fields[field] = value);
    let error = Model::load(out.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&format!("adapter_config.json: field `{field}`: {message}")), "{error}");
}

#[test]
fn adapters_of_other_kinds_are_refused_by_the_field_that_says_so() {
    Model::load(changed("adapter-qwen3", |_| ()).path()).unwrap();
    let nothing_else = "expected none, since nothing else is supported, got";
    check_field("use_dora", json!(true), nothing_else);
    check_field("bias", json!("all"), nothing_else);
    check_field("modules_to_save", json!(["lm_head"]), nothing_else);
    check_field("fan_in_fan_out", json!(true), nothing_else);
    check_field("peft_type", json!("LOHA"), "expected \"LORA\", got");
    check_field("alpha_pattern", json!({"^q_proj": 3}), "expected numbers by the names of projections, got");
    check_field(
        "base_model_name_or_path",
        json!("no/such"),
        "expected the folder of the base model, got \"no/such\"",
    );
    let another = folder("adapter-bf16");
    check_field(
        "base_model_name_or_path",
        json!(another),
        "expected the folder of a whole model, got an adapter",
    );
    check_field("lora_alpha", json!("8"), "expected a finite number, got");
}

#[test]
fn tensors_that_do_not_fit_the_base_are_named() {
    // The adapter of another model: its projections are named alike, and have other shapes.
    let base = folder("qwen3-odd");
    let out = changed("adapter-qwen3", |fields| fields["base_model_name_or_path"] = json!(base));
    let error = Model::load(out.path()).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("layers.0.self_attn.q_proj.lora_A.weight`: expected shape [4, 40], got [4, 32]"),
        "{error}"
    );
    // A model with fewer layers.
    let base = folder("bf16");
    let out = changed("adapter-qwen3", |fields| fields["base_model_name_or_path"] = json!(base));
    let error = Model::load(out.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("layers.1.mlp.down_proj.lora_A.weight"), "{error}");
}

#[test]
fn threads_change_no_bit_of_an_adapter() {
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let lora = Some(Lora { dropout: 0.1, ..lora() });
            let rows = Golden::read("adapter-qwen3").rows();
            let mut training =
                Training::<Cpu>::new("adapter-qwen3", TrainConfig { lora, ..golden_config() }, rows);
            for _ in 0..3 {
                training.update().unwrap();
            }
            training.parameters()
        })
    };
    assert_eq!(run(3), run(1));
}
