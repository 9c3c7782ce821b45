//! A model whose projections are packed for sampling.

use crate::forward::Projections;
use crate::model::{Model, Projection};
use latrace_kernels::Device;

/// A model with packed projections. The weights they were packed from are let go, but for the embedding.
pub(crate) struct PackedModel<D: Device> {
    pub model: Model<D>,
    /// By parameter: packed weights and their number of outputs.
    packed: Vec<Option<(D::Buffer, usize)>>,
}

impl<D: Device> PackedModel<D> {
    pub fn new(mut model: Model<D>) -> Self {
        let shapes: Vec<Vec<usize>> = model.config.parameters().into_iter().map(|p| p.shape).collect();
        let (embedding, head) = (model.layout.embedding, model.layout.head);
        let pack = |(i, shape): (usize, &Vec<usize>)| {
            let is_projection = shape.len() == 2 && (i != embedding || i == head);
            is_projection.then(|| {
                let packed = model.device.pack(&model.parameters[i], shape[1]);
                if i != embedding {
                    model.parameters[i] = model.device.zeros(0);
                }
                (packed, shape[0])
            })
        };
        let packed = shapes.iter().enumerate().map(pack).collect();
        Self { model, packed }
    }

    /// The logits of the first `rows` rows of `hidden`.
    pub fn logits(&self, logits: &mut D::Buffer, hidden: &D::Buffer, rows: usize) {
        let (packed, outputs) = self.weights(self.model.layout.head);
        self.model.device.packed_linear(logits, hidden, packed, None, rows, self.model.config.hidden_size, outputs);
    }

    fn weights(&self, parameter: usize) -> (&D::Buffer, usize) {
        match &self.packed[parameter] {
            Some((packed, outputs)) => (packed, *outputs),
            // `Layout` names matrices alone as projections, and `new` packs all of them.
            None => unreachable!("parameter {parameter} is packed"),
        }
    }
}

impl<D: Device> Projections<D> for PackedModel<D> {
    fn linear(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, inputs: usize) {
        let (packed, outputs) = self.weights(p.weight);
        self.model.device.packed_linear(y, x, packed, p.bias.map(|b| &self.model.parameters[b]), rows, inputs, outputs);
    }

    fn linear_add(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, inputs: usize) {
        let (packed, outputs) = self.weights(p.weight);
        self.model.device.packed_linear_add(y, x, packed, p.bias.map(|b| &self.model.parameters[b]), rows, inputs, outputs);
    }
}
