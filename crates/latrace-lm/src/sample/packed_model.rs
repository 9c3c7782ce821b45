//! A model whose projections are packed for sampling.

use crate::forward::Projections;
use crate::model::{Model, Projection};
use latrace_kernels::{Device, PackedWeights};

/// A model with packed projections. The weights they were packed from are freed, except for the embedding.
pub(crate) struct PackedModel<D: Device> {
    pub model: Model<D>,
    packed: D::Buffer,
    /// By parameter, if it is a projection.
    places: Vec<Option<Place>>,
}

/// Where a projection is among the packed ones, and its shape.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    inputs: usize,
    outputs: usize,
}

impl<D: Device> PackedModel<D> {
    pub fn new(mut model: Model<D>) -> Self {
        let (embedding, parameters) = (model.layout.embedding, model.config.parameters());
        let (mut places, mut length) = (vec![None; parameters.len()], 0);
        // In the order of their use: the prefetch beyond the end of one fetches the beginning of the next.
        for i in model.layout.projections() {
            let (inputs, outputs) = (parameters[i].shape[1], parameters[i].shape[0]);
            places[i] = Some(Place { at: length, inputs, outputs });
            length += model.device.packed_length(inputs, outputs);
        }
        let mut packed = model.device.resident(length);
        for (i, place) in places.iter().enumerate().filter_map(|(i, place)| Some((i, (*place)?))) {
            model.device.pack(&mut packed, place.at, &model.parameters[i], place.inputs);
            if i != embedding {
                model.parameters[i] = model.device.zeros(0);
            }
        }
        Self { model, packed, places }
    }

    /// The logits of the first `rows` rows of `hidden`.
    pub fn logits(&self, logits: &mut D::Buffer, hidden: &D::Buffer, rows: usize) {
        self.model.device.packed_linear(logits, hidden, self.weights(self.model.layout.head), None, rows);
    }

    fn weights(&self, parameter: usize) -> PackedWeights<'_, D::Buffer> {
        // `new` packs all projections of the layout.
        let Some(Place { at, inputs, outputs }) = self.places[parameter] else {
            unreachable!("parameter {parameter} is packed")
        };
        PackedWeights { buffer: &self.packed, at, inputs, outputs }
    }
}

impl<D: Device> Projections<D> for PackedModel<D> {
    fn linear(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, _: usize) {
        self.model.device.packed_linear(
            y,
            x,
            self.weights(p.weight),
            p.bias.map(|b| &self.model.parameters[b]),
            rows,
        );
    }

    fn linear_add(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, _: usize) {
        self.model.device.packed_linear_add(
            y,
            x,
            self.weights(p.weight),
            p.bias.map(|b| &self.model.parameters[b]),
            rows,
        );
    }
}
