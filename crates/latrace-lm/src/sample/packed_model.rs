//! A model whose projections are packed for sampling.

use crate::forward::Projections;
use crate::model::{Model, Projection};
use latrace_kernels::{Device, PackedWeights, Weight};

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
    is_narrow: bool,
}

/// Gives each projection its place; also returns the packed values in all.
fn place_projections<D: Device>(model: &Model<D>) -> (Vec<Option<Place>>, usize) {
    let parameters = model.config.parameters();
    let (mut places, mut length) = (vec![None; parameters.len()], 0);
    // In the order of their use: the prefetch beyond the end of one fetches the beginning of the next.
    for i in model.layout.projections() {
        let (inputs, outputs) = (parameters[i].shape[1], parameters[i].shape[0]);
        let is_narrow = matches!(model.weight_at(i), Weight::Narrow(_));
        places[i] = Some(Place { at: length, inputs, outputs, is_narrow });
        length += model.device.packed_length(inputs, outputs, is_narrow);
    }
    (places, length)
}

/// Packs parameter `i`, and frees what it was packed from.
fn move_weights<D: Device>(model: &mut Model<D>, packed: &mut D::Buffer, i: usize, place: Place) {
    model.device.pack(packed, place.at, model.weight_at(i), place.inputs);
    // The embedding is also a table of rows, which packing does not preserve: it stays, even as a tied head.
    if i != model.layout.embedding {
        model.free(i);
    }
}

impl<D: Device> PackedModel<D> {
    pub fn new(mut model: Model<D>) -> Self {
        let (places, length) = place_projections(&model);
        let mut packed = model.device.zeros(length);
        // Parameters are freed one by one, so that two copies of all weights are never held at once.
        for (i, place) in places.iter().enumerate() {
            place.iter().for_each(|&place| move_weights(&mut model, &mut packed, i, place));
        }
        Self { model, packed, places }
    }

    /// The logits of the first `rows` rows of `hidden`.
    pub fn logits(&self, logits: &mut D::Buffer, hidden: &D::Buffer, rows: usize) {
        self.model.device.packed_linear(logits, hidden, self.weights(self.model.layout.head), None, rows);
    }

    fn weights(&self, parameter: usize) -> PackedWeights<'_, D::Buffer> {
        // `new` packs all projections of the layout.
        let Some(Place { at, inputs, outputs, is_narrow }) = self.places[parameter] else {
            unreachable!("parameter {parameter} is packed")
        };
        PackedWeights { buffer: &self.packed, at, inputs, outputs, is_narrow }
    }
}

impl<D: Device> Projections<D> for PackedModel<D> {
    fn linear(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, _: usize) {
        self.model.device.packed_linear(y, x, self.weights(p.weight), self.model.bias(p), rows);
    }

    fn linear_add(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, _: usize) {
        self.model.device.packed_linear_add(y, x, self.weights(p.weight), self.model.bias(p), rows);
    }

    fn model(&self) -> &Model<D> {
        &self.model
    }
}
