//! Weights on disk: safetensors, in one file or in shards with an index, and fresh weights.
//!
//! A folder is read whole or not at all: every name, shape and type is checked against the configuration
//! before the first value is converted. Writing goes tensor by tensor, so saving needs no second copy of the
//! model. [`gguf`] converts from and to the files of llama.cpp.

mod fresh;
pub mod gguf;
mod load;
mod save;

pub use fresh::initialise;
pub(crate) use fresh::uniform;
pub use load::load;
pub(crate) use load::{Held, load_file, load_held, load_parameters};
pub use save::{SaveDtype, copy_companions, save, save_config, save_sharded};
pub(crate) use save::{Tensor, Values, named, save_file, save_values, sync_folder, write_json};

// Names as in transformers, which must find what is written here.
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const HEAD: &str = "lm_head.weight";

/// Values converted as one task, and written at once: 256 KiB of f32, which the caches hold.
const CHUNK: usize = 1 << 16;
