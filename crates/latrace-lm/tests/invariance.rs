//! What the gradient must not depend on, and what it must.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

mod common;

use common::{Golden, Tested, Training, assert_close, golden_config, gradients, on_each_device};
use latrace_kernels::Cpu;
use latrace_lm::train_config::{Loss, Normaliser, TrainConfig};
use latrace_lm::{Error, Policy, TrainRow, Weights};

on_each_device!(
    micro_batches_order_and_recomputation_do_not_matter,
    weight_counts_even_alone_in_a_micro_batch,
    weight_zero_equals_leaving_the_row_out,
    token_weights_are_weights_of_tokens,
    policy_gradient_at_ratio_one_is_the_weighted_likelihood_gradient
);

const CASES: [&str; 3] = ["qwen2", "qwen3", "llama-bias"];

fn threads<R: Send>(count: usize, run: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(run)
}

fn micro_batches_order_and_recomputation_do_not_matter<D: Tested>() {
    for case in CASES {
        let rows = Golden::read(case).rows();
        let whole = gradients::<D>(case, golden_config(), rows.clone());
        for budget in [1, 45, 70] {
            let config = TrainConfig { tokens_per_micro_batch: budget, ..golden_config() };
            assert_close("micro-batch", &gradients::<D>(case, config, rows.clone()), &whole, 1e-5);
        }
        let reversed: Vec<TrainRow> = rows.iter().rev().cloned().collect();
        assert_close("order", &gradients::<D>(case, golden_config(), reversed), &whole, 1e-5);
        let config = TrainConfig { recompute: true, ..golden_config() };
        assert_eq!(gradients::<D>(case, config, rows), whole, "recomputation gives the same bits");
    }
}

#[test]
fn threads_change_no_bit() {
    for case in CASES {
        let run = |count| {
            let rows = Golden::read(case).rows();
            threads(count, || {
                let mut trainer = Training::<Cpu>::new(case, golden_config(), rows);
                for _ in 0..3 {
                    trainer.update().unwrap();
                }
                trainer.parameters()
            })
        };
        let one = run(1);
        assert_eq!(run(2), one);
        assert_eq!(run(5), one);
    }
}

fn weight_counts_even_alone_in_a_micro_batch<D: Tested>() {
    for normaliser in [Normaliser::Constant, Normaliser::TokenMean] {
        let config = TrainConfig { tokens_per_micro_batch: 1, batch_size: 1, normaliser, ..golden_config() };
        let row = Golden::read("qwen3").rows().remove(0);
        let once = gradients::<D>("qwen3", config.clone(), vec![row.clone()]);
        let doubled = TrainRow { weights: Weights::Row(row.weights.at(0) * 2.0), ..row };
        let twice = gradients::<D>("qwen3", config, vec![doubled]);
        let expected: Vec<Vec<f32>> = once.iter().map(|g| g.iter().map(|x| x * 2.0).collect()).collect();
        assert_close("doubled weight", &twice, &expected, 1e-6);
    }
}

fn weight_zero_equals_leaving_the_row_out<D: Tested>() {
    let mut rows = Golden::read("qwen3").rows();
    // Rows of one response length, so that the data set's mean is the same with and without one.
    for row in &mut rows {
        row.truncate(row.prompt_len + 1);
    }
    let without = gradients::<D>("qwen3", golden_config(), rows[..3].to_vec());
    rows[3].weights = Weights::Row(0.0);
    assert_close("weight 0", &gradients::<D>("qwen3", golden_config(), rows), &without, 1e-6);
}

fn token_weights_are_weights_of_tokens<D: Tested>() {
    let mut row = Golden::read("qwen3").rows().remove(0);
    let config = TrainConfig { batch_size: 1, ..golden_config() };
    let weights: Vec<f32> = (0..row.response_len()).map(|i| (i % 3) as f32).collect();
    row.weights = Weights::PerToken(weights.clone());
    let all = gradients::<D>("qwen3", config.clone(), vec![row.clone()]);
    let mut sum: Vec<Vec<f32>> = all.iter().map(|g| vec![0.0; g.len()]).collect();
    for part in 1..3 {
        let weights = weights.iter().map(|&w| if w == part as f32 { w } else { 0.0 }).collect();
        let part = TrainRow { weights: Weights::PerToken(weights), ..row.clone() };
        let own = gradients::<D>("qwen3", config.clone(), vec![part]);
        sum.iter_mut().zip(own).for_each(|(s, o)| s.iter_mut().zip(o).for_each(|(s, o)| *s += o));
    }
    assert_close("token weights", &all, &sum, 1e-5);
}

fn policy_gradient_at_ratio_one_is_the_weighted_likelihood_gradient<D: Tested>() {
    let rows = Golden::read("qwen3").rows();
    let model = latrace_lm::Model::load_on(D::DEVICE, &common::folder("qwen3")).unwrap();
    let expected = gradients::<D>("qwen3", golden_config(), rows.clone());
    let with_policy = |row: TrainRow| {
        let pair = latrace_lm::ScoreRow {
            prompt: row.tokens[..row.prompt_len].to_vec(),
            response: row.tokens[row.prompt_len..].to_vec(),
        };
        let mut old_logp = Vec::new();
        latrace_lm::score(&model, &[pair], 1000, &mut |_, mut rows| {
            old_logp = rows.remove(0);
            Ok(())
        })
        .unwrap();
        let policy = Policy { advantages: row.weights.clone(), given: 0..0, old_logp };
        TrainRow { weights: Weights::Row(1.0), policy: Some(policy), ..row }
    };
    let config = TrainConfig { loss: Loss::ClippedPolicyGradient, ..golden_config() };
    let rows = rows.into_iter().map(with_policy).collect();
    assert_close("policy gradient", &gradients::<D>("qwen3", config, rows), &expected, 1e-5);
}

#[test]
fn a_non_finite_loss_stops_before_the_update() {
    let golden = Golden::read("qwen3");
    let mut config = golden_config();
    config.learning_rate = 1e30;
    let mut trainer = Training::<Cpu>::new("qwen3", config, golden.rows());
    trainer.update().unwrap();
    let before = trainer.parameters();
    let error = trainer.update().unwrap_err();
    assert!(matches!(&error, Error::NonFinite { step: 2, ids, .. } if ids.len() == 4), "{error}");
    assert_eq!(before, trainer.parameters());
}

#[test]
fn norms_and_biases_are_left_out_of_the_decay_on_request() {
    for decay_norms_and_biases in [true, false] {
        let mut rows = Golden::read("llama-bias").rows();
        // Without a gradient, decay alone moves a weight.
        rows.iter_mut().for_each(|row| row.weights = Weights::Row(0.0));
        let config = TrainConfig { weight_decay: 0.5, decay_norms_and_biases, ..golden_config() };
        let mut training = Training::<Cpu>::new("llama-bias", config, rows);
        let before = training.parameters();
        let exempt: Vec<bool> =
            training.trainer.model().config.parameters().iter().map(|p| p.decay_exempt).collect();
        training.update().unwrap();
        for ((before, after), exempt) in before.iter().zip(training.parameters()).zip(exempt) {
            let kept = if exempt && !decay_norms_and_biases { 1.0 } else { 1.0 - 1e-2 * 0.5 };
            let expected: Vec<f32> = before.iter().map(|w| w * kept).collect();
            assert_eq!(after, expected);
        }
    }
}
