//! GGUF, the model files of llama.cpp: metadata and (quantised) tensors in one file.
//!
//! Format: `docs/gguf.md` of the ggml project, versions 2 and 3, little-endian. A file is checked before it is
//! used: every count, length and offset is compared with the bytes that are there before anything is allocated.
//! Tensors are converted one at a time, in both directions.
//!
//! Differs in: alignment may be any power of two; arrays of arrays, which no model has, are refused.

mod blocks;
mod cursor;
mod export;
mod file;
mod import;
mod k_quants;
mod names;
mod rope;
mod types;
mod value;
mod writer;

pub use export::{GgufExportType, export};
pub use file::GgufFile;
pub use import::GgufModel;
pub use types::GgufType;
pub use writer::GgufEntry;

/// The first bytes of a file.
const MAGIC: [u8; 4] = *b"GGUF";

/// The version that is written.
const VERSION: u32 = 3;

/// Where tensors begin is a multiple of this, unless the file says otherwise.
const ALIGNMENT: u64 = 32;

/// The key with a file's own alignment.
const ALIGNMENT_KEY: &str = "general.alignment";

/// The key with the decoder's family.
const ARCHITECTURE_KEY: &str = "general.architecture";

/// What Llama 3's scaling divides the frequencies by, one value for each pair of a head.
const ROPE_FACTORS: &str = "rope_freqs.weight";

const INCOMPLETE: &str = "the file may be an incomplete download; fetch it again";
