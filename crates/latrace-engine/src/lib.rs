//! Who generates, scores and fits, behind one border: token ids and numbers cross it, never a recipe, a
//! prompt's text or a stage's name.

pub mod row_tokens;
pub mod sampling;
pub mod text;
pub mod thought;
pub mod train_rows;
pub mod training;

pub use latrace_lm as lm;

/// The hint of an error of the built-in engine.
pub fn hint_of(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    cause.downcast_ref::<latrace_lm::Error>().and_then(latrace_lm::Error::hint)
}
