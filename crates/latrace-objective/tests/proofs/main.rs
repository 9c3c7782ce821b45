//! Every identity of the paper that this crate relies on, on a world small enough to enumerate.

mod bounds;
mod gradients;
mod world;
