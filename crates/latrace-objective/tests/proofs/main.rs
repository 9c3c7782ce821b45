//! Every identity of the paper that this crate relies on, on a world small enough to enumerate.

#![allow(clippy::unwrap_used, reason = "a helper's failed unwrap is a failed test")]

mod borders;
mod bounds;
mod gradients;
mod mixture;
mod monte_carlo;
mod parity;
mod properties;
mod tables;
mod truth;
mod world;
