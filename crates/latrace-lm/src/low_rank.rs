//! The low-rank part of projections, y += s·(x·Aᵀ)·Bᵀ, forward and backward.

use crate::batch::Batch;
use crate::model::{LowRank, Model, Projection};
use latrace_core::random::mix;
use latrace_kernels::Device;

impl<D: Device> Model<D> {
    /// y += s·(x·Aᵀ)·Bᵀ, if the projection is adapted; `hidden` is room for rows×rank.
    pub(crate) fn add_low_rank(
        &self,
        y: &mut D::Buffer,
        x: &D::Buffer,
        projection: Projection,
        rows: usize,
        inputs: usize,
        hidden: &mut D::Buffer,
    ) {
        let Some(part) = projection.low_rank else { return };
        self.low_rank_hidden(hidden, x, part, rows, inputs);
        self.device.linear_add(y, hidden, self.weight_at(part.b), None, rows, part.rank);
    }

    /// s·x·Aᵀ.
    fn low_rank_hidden(
        &self,
        hidden: &mut D::Buffer,
        x: &D::Buffer,
        part: LowRank,
        rows: usize,
        inputs: usize,
    ) {
        self.device.linear(hidden, x, self.weight_at(part.a), None, rows, inputs);
        self.device.scale(hidden, part.scale, rows * part.rank);
    }
}

/// Which of A's inputs are left out in training.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dropout {
    /// The share of them.
    rate: f32,
    /// By row of the operands; empty without dropout.
    keys: Vec<u64>,
}

impl Dropout {
    /// For operands of all of a batch's tokens, whose keys these are, and for those of its rows with a target.
    pub fn of_batch(rate: f32, batch: &Batch, keys: &[u64]) -> [Self; 2] {
        if rate == 0.0 {
            return Default::default();
        }
        let kept = batch.rows.iter().map(|&row| keys[row as usize]).collect();
        [keys.to_vec(), kept].map(|keys| Self { rate, keys })
    }

    /// Other inputs are left out of each adapter.
    fn keys_of(&self, part: LowRank) -> Vec<u64> {
        self.keys.iter().map(|key| mix(key ^ part.a as u64)).collect()
    }
}

/// What training keeps of one projection's low-rank part at a time.
pub(crate) struct LowRankMemory<D: Device> {
    /// s·x·Aᵀ, T×r.
    hidden: D::Buffer,
    /// Its gradient.
    dhidden: D::Buffer,
    /// A's inputs after dropout, or their gradient; empty without dropout.
    dropped: D::Buffer,
}

impl<D: Device> LowRankMemory<D> {
    /// For `tokens` rows of a model whose widest projection has `widest` inputs.
    pub fn planned(model: &Model<D>, tokens: usize, widest: usize, rate: f32) -> Self {
        let rank = model.most_rank();
        let zeros = |width: usize| model.device.zeros(tokens * width);
        let dropped = if rank > 0 && rate > 0.0 { widest } else { 0 };
        Self { hidden: zeros(rank), dhidden: zeros(rank), dropped: zeros(dropped) }
    }

    /// y += s·(dropout(x)·Aᵀ)·Bᵀ.
    pub fn forward(
        &mut self,
        model: &Model<D>,
        y: &mut D::Buffer,
        x: &D::Buffer,
        projection: Projection,
        [rows, inputs]: [usize; 2],
        dropout: &Dropout,
    ) {
        let Some(part) = projection.low_rank else { return };
        let Self { hidden, dropped, .. } = self;
        let x = kept(model, dropped, x, part, inputs, dropout);
        model.add_low_rank(y, x, projection, rows, inputs, hidden);
    }

    /// Adds to the gradients of A, B and x.
    pub fn backward(
        &mut self,
        model: &Model<D>,
        gradients: &mut [D::Buffer],
        dx: &mut D::Buffer,
        [dy, x]: [&D::Buffer; 2],
        projection: Projection,
        [rows, inputs]: [usize; 2],
        dropout: &Dropout,
    ) {
        let Some(part) = projection.low_rank else { return };
        let (device, Self { hidden, dhidden, dropped }) = (&model.device, self);
        let [a, b] = [part.a, part.b].map(|at| model.weight_at(at));
        // Computed again: it costs little beside the frozen product, and would have to be kept for every projection.
        let x = kept(model, dropped, x, part, inputs, dropout);
        model.low_rank_hidden(hidden, x, part, rows, inputs);
        device.linear_parameter_gradient(Some(&mut gradients[part.b]), None, dy, hidden, rows, part.rank);
        device.linear_input_gradient(dhidden, dy, b, rows, part.rank);
        device.scale(dhidden, part.scale, rows * part.rank);
        device.linear_parameter_gradient(Some(&mut gradients[part.a]), None, dhidden, x, rows, inputs);
        if dropout.keys.is_empty() {
            device.linear_input_gradient_add(dx, dhidden, a, rows, inputs);
        } else {
            device.linear_input_gradient(dropped, dhidden, a, rows, inputs);
            device.dropout_backward(dx, dropped, &dropout.keys_of(part), dropout.rate, inputs);
        }
    }
}

/// A's inputs after dropout.
fn kept<'a, D: Device>(
    model: &Model<D>,
    dropped: &'a mut D::Buffer,
    x: &'a D::Buffer,
    part: LowRank,
    inputs: usize,
    dropout: &Dropout,
) -> &'a D::Buffer {
    if dropout.keys.is_empty() {
        return x;
    }
    model.device.dropout(dropped, x, &dropout.keys_of(part), dropout.rate, inputs);
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::Gradients;
    use latrace_kernels::{Reference, TokenLoss};
    use std::path::Path;

    /// Σ −logp over the batch's targets, and the gradients of all parameters.
    fn loss(model: &Model<Reference>, batch: &Batch, keys: &[u64]) -> (f64, Vec<Vec<f64>>) {
        let trained = (0..model.parameters.len()).map(|at| model.is_of_adapter(at)).collect();
        let mut gradients = Gradients::new(model, trained, false, 0.4);
        let weights = vec![1.0; batch.targets.len()];
        let logp =
            gradients.accumulate(model, batch, keys, TokenLoss::NegativeLogLikelihood { weights: &weights });
        (logp.iter().map(|&logp| -f64::from(logp)).sum(), gradients.buffers().to_vec())
    }

    #[test]
    fn gradients_under_dropout_are_derivatives() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/adapter-qwen3");
        let mut model = Model::load_on(Reference, &folder).unwrap();
        let mut batch = Batch::new();
        batch.push([5, 6, 7, 8, 9].into_iter(), 2, |t| t != 3);
        batch.push([3, 1, 4].into_iter(), 1, |_| true);
        let keys: Vec<u64> = (0..8).collect();
        let (_, gradients) = loss(&model, &batch, &keys);
        let adapted = model.config.parameters().len()..model.parameters.len();
        for parameter in adapted {
            for at in [0, 7] {
                let before = model.parameters[parameter][at];
                let step = 1e-2;
                let [below, above] = [-step, step].map(|step| {
                    model.parameters[parameter][at] = before + step;
                    loss(&model, &batch, &keys).0
                });
                model.parameters[parameter][at] = before;
                let (quotient, gradient) = ((above - below) / (2.0 * step), gradients[parameter][at]);
                // Log-probs of some nats in f32 are exact to 1e-6, and a step of 1e-2 leaves third derivatives of some
                // tens times 1e-4 out.
                assert!(
                    (quotient - gradient).abs() < 5e-3 * (1.0 + gradient.abs()),
                    "{parameter} {quotient} {gradient}"
                );
            }
        }
    }
}
