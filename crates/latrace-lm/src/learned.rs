//! Gradients of parameters: what a backward pass adds to them, projection by projection and norm by norm.

use crate::low_rank::{Dropout, LowRankMemory};
use crate::model::{Model, Projection};
use latrace_kernels::Device;

/// Gradients by parameter, in the order of `Model::parameters`; those of frozen parameters are empty.
pub(crate) struct Learned<D: Device> {
    pub gradients: Vec<D::Buffer>,
    pub trained: Vec<bool>,
}

impl<D: Device> Learned<D> {
    /// The gradient of a parameter, unless that is frozen.
    pub fn of(&mut self, parameter: usize) -> Option<&mut D::Buffer> {
        self.trained[parameter].then(|| &mut self.gradients[parameter])
    }

    /// Adds to the gradients of a projection's weight and bias.
    pub fn add_projection(
        &mut self,
        device: &D,
        projection: Projection,
        [dy, x]: [&D::Buffer; 2],
        [rows, inputs]: [usize; 2],
    ) {
        // Weight and bias are two buffers of one slice: the bias is taken out, since both are written at once.
        let bias = projection.bias.filter(|&bias| self.trained[bias]);
        let mut bias = bias.map(|b| (b, std::mem::replace(&mut self.gradients[b], device.zeros(0))));
        let db = bias.as_mut().map(|(_, db)| db);
        device.linear_parameter_gradient(self.of(projection.weight), db, dy, x, rows, inputs);
        if let Some((at, db)) = bias {
            self.gradients[at] = db;
        }
    }

    /// Adds to `dx` and to the gradient of the norm's weight; `forward` is the norm's input and what the forward
    /// pass kept of it.
    pub fn add_norm(
        &mut self,
        model: &Model<D>,
        weight: usize,
        dx: &mut D::Buffer,
        dy: &D::Buffer,
        [x, inverse_rms]: [&D::Buffer; 2],
        rows: usize,
    ) {
        let w = &model.parameters[weight];
        model.device.rms_norm_backward(dx, self.of(weight), dy, x, w, inverse_rms, rows);
    }
}

/// The gradient of `x`, the input that all of `parts` read, and those of what they learn; each part is a projection and
/// the gradient of its output.
pub(crate) fn input_backward<D: Device>(
    model: &Model<D>,
    learned: &mut Learned<D>,
    low: &mut LowRankMemory<D>,
    dx: &mut D::Buffer,
    x: &D::Buffer,
    parts: &[(Projection, &D::Buffer)],
    rows: usize,
    dropout: &Dropout,
) {
    let (device, inputs) = (&model.device, model.config.hidden_size);
    // Their gradients add up in `dx`; the first one overwrites it. In this order always, since a sum of floats depends on
    // it.
    for (part, &(projection, dy)) in parts.iter().enumerate() {
        let weight = model.weight(projection);
        if part == 0 {
            device.linear_input_gradient(dx, dy, weight, rows, inputs);
        } else {
            device.linear_input_gradient_add(dx, dy, weight, rows, inputs);
        }
        learned.add_projection(device, projection, [dy, x], [rows, inputs]);
        low.backward(model, &mut learned.gradients, dx, [dy, x], projection, [rows, inputs], dropout);
    }
}
