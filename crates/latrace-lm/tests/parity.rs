//! Against transformers, and PEFT for adapters, in float64: log-probs, every gradient by name, ten optimiser steps, in
//! every family and option. `oracle/decoder_goldens.py` and `oracle/adapter_goldens.py` made the files; `golden.json` beside each says with which
//! versions, and how far PyTorch's own float32 run is from them (log-probs up to 5e-6, gradients up to 1e-6,
//! weights after ten steps up to 1.3e-4 of single elements).

#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

mod common;

use common::{
    ADAPTERS, CASES, Golden, Tested, Training, folder, golden_config, on_each_device, relative, score_row,
};
use latrace_lm::{Model, ScoreRow, score};

on_each_device!(
    log_probs_are_those_of_transformers,
    gradients_are_those_of_transformers,
    ten_optimiser_steps_are_those_of_torch
);

fn log_probs_are_those_of_transformers<D: Tested>() {
    for case in CASES.into_iter().chain(ADAPTERS) {
        let golden = Golden::read(case);
        let model = Model::load_on(D::DEVICE, &folder(case)).unwrap();
        let rows: Vec<ScoreRow> = golden.rows().iter().map(score_row).collect();
        let mut logp = Vec::new();
        score(&model, &rows, 80, &mut |_, rows| {
            logp.extend(rows.concat());
            Ok(())
        })
        .unwrap();
        let expected = golden.get("logprobs");
        assert_eq!(logp.len(), expected.len());
        let errors = logp.iter().zip(expected).map(|(got, expected)| (f64::from(*got) - expected).abs());
        let worst = errors.fold(0.0, f64::max);
        assert!(worst < D::LOGP, "{case}: {worst} nats");
    }
}

fn gradients_are_those_of_transformers<D: Tested>() {
    for case in CASES.into_iter().chain(ADAPTERS) {
        let golden = Golden::read(case);
        for recompute in [false, true] {
            let mut config = golden_config();
            config.recompute = recompute;
            let mut training = Training::<D>::new(case, config, golden.rows());
            training.update().unwrap();
            for (parameter, gradient) in training.trainer.trained().iter().zip(training.gradients()) {
                let name = &parameter.name;
                let error = relative(&gradient, golden.get(&format!("grad.{name}")));
                let at = format!("{case}, recompute {recompute}: {name}");
                assert!(error < D::GRADIENT, "{at}: relative error {error}");
            }
        }
    }
}

fn ten_optimiser_steps_are_those_of_torch<D: Tested>() {
    for case in CASES.into_iter().chain(ADAPTERS) {
        let golden = Golden::read(case);
        let json = std::fs::read(folder(case).join("golden.json")).unwrap();
        let said: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let mut training = Training::<D>::new(case, golden_config(), golden.rows());
        for step in 0..10 {
            let outcome = training.update().unwrap();
            let checks = [
                ("loss", outcome.loss, "losses", D::STEPS[0]),
                ("gradient norm", outcome.grad_norm, "grad_norms", D::STEPS[1]),
            ];
            for (what, got, field, tolerance) in checks {
                let expected = said[field][step].as_f64().unwrap();
                let error = (got / expected - 1.0).abs();
                assert!(error < tolerance, "{case}: step {step}: {what} {got}, expected {expected}: {error}");
            }
        }
        for (parameter, weights) in training.trainer.trained().iter().zip(training.parameters()) {
            let name = &parameter.name;
            let error = relative(&weights, golden.get(&format!("adamw.{name}")));
            let tolerance = D::STEPS[if name.ends_with("k_proj.bias") { 3 } else { 2 }];
            assert!(error < tolerance, "{case}: {name}: relative error {error}");
        }
    }
}
