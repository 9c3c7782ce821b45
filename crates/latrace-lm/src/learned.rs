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

/// What the gradient of an input is added to.
pub(crate) enum Onto<'a, B> {
    /// The buffer is overwritten.
    Nothing(&'a mut B),
    /// What the buffer holds.
    Itself(&'a mut B),
}

/// The gradient of a projection's input, and those of what it learns; `dy` and `x` are the gradient of its output and its
/// input.
pub(crate) fn projection_backward<D: Device>(
    model: &Model<D>,
    learned: &mut Learned<D>,
    low: &mut LowRankMemory<D>,
    dx: Onto<'_, D::Buffer>,
    [dy, x]: [&D::Buffer; 2],
    projection: Projection,
    shape: [usize; 2],
    dropout: &Dropout,
) {
    let (device, weight, [rows, inputs]) = (&model.device, model.weight(projection), shape);
    let dx = match dx {
        Onto::Nothing(dx) => {
            device.linear_input_gradient(dx, dy, weight, rows, inputs);
            dx
        }
        Onto::Itself(dx) => {
            device.linear_input_gradient_add(dx, dy, weight, rows, inputs);
            dx
        }
    };
    learned.add_projection(device, projection, [dy, x], shape);
    low.backward(model, &mut learned.gradients, dx, [dy, x], projection, shape, dropout);
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
    let shape = [rows, model.config.hidden_size];
    // Their gradients add up in `dx`; the first one overwrites it. In this order always, since a sum of floats depends on
    // it.
    for (part, &(projection, dy)) in parts.iter().enumerate() {
        let dx = if part == 0 { Onto::Nothing(&mut *dx) } else { Onto::Itself(&mut *dx) };
        projection_backward(model, learned, low, dx, [dy, x], projection, shape, dropout);
    }
}
