//! What can go wrong with a model, its files and its rows. Every variant carries its operands: what was being
//! done, with which file or tensor, what was expected and what was found.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the language-model crate.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The verb: "read", "write", "map", …
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("{} is not valid JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why parsing stopped.
        source: serde_json::Error,
    },
    /// A field of a JSON file has an invalid or unsupported value.
    #[error("{}: field `{field}`: expected {expected}, got {got}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, with dots between levels.
        field: String,
        /// What would be valid.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The model's architecture is not one of the supported ones.
    #[error(
        "{}: unknown architecture: expected one of Qwen2ForCausalLM, Qwen3ForCausalLM, LlamaForCausalLM, \
         got {got}",
        path.display()
    )]
    UnknownArchitecture {
        /// The configuration file.
        path: PathBuf,
        /// The architecture it names.
        got: String,
    },
    /// The folder has a configuration but no weights.
    #[error("{}: no weights: expected model.safetensors or model.safetensors.index.json", path.display())]
    NoWeights {
        /// The model folder.
        path: PathBuf,
    },
    /// A tensor of the configuration is missing from the weights.
    #[error("{}: missing tensor `{name}`", path.display())]
    MissingTensor {
        /// The weight file that should hold it.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// There are tensors that do not follow from the configuration.
    #[error(
        "{}: {} tensors that config.json does not ask for: {}",
        path.display(), names.len(), listing(names)
    )]
    ExtraTensors {
        /// The weight file.
        path: PathBuf,
        /// The tensors, sorted.
        names: Vec<String>,
    },
    /// A tensor has another shape than the configuration says.
    #[error("{}: tensor `{tensor}`: expected shape {expected:?}, got {got:?}", path.display())]
    Shape {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape by the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor is stored in a type that we do not read.
    #[error("{}: tensor `{tensor}`: expected dtype F32, BF16 or F16, got {got}", path.display())]
    Dtype {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The stored type.
        got: String,
    },
    /// A weight file is damaged.
    #[error("{} is not a valid safetensors file: {detail}", path.display())]
    BadSafetensors {
        /// The weight file.
        path: PathBuf,
        /// What is wrong, with numbers.
        detail: String,
    },
    /// A GGUF file is damaged, or needs what is not supported.
    #[error("{}: {part}: expected {expected}, got {got}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The part of the file: the header, a key, a tensor.
        part: String,
        /// What would be valid.
        expected: String,
        /// What is there.
        got: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A file of training rows is damaged, or of another version.
    #[error("{} is not a valid file of training rows: {detail}", path.display())]
    BadRowFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with expected and got.
        detail: String,
    },
    /// The index names a shard that is not there, or not in the model's folder.
    #[error("{}: tensor `{tensor}` is said to be in {file:?}, {detail}", path.display())]
    Shard {
        /// The index file.
        path: PathBuf,
        /// A tensor for which the index names that shard.
        tensor: String,
        /// The shard as the index spells it.
        file: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A tensor is in another shard than the index says.
    #[error(
        "{}: tensor `{tensor}` is in the wrong shard: expected in {expected}, got in {got}",
        path.display()
    )]
    WrongShard {
        /// The index file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shard the index names.
        expected: String,
        /// The shard that holds it.
        got: String,
    },
    /// `tie_word_embeddings` is set, but the file has an output head that is not the embedding.
    #[error(
        "{}: tensor `lm_head.weight`: expected the values of `model.embed_tokens.weight`, since config.json ties \
         them, got other values",
        path.display()
    )]
    TiedHeadDiffers {
        /// The weight file with the head.
        path: PathBuf,
    },
    /// The tokenizer produces ids for which the model has no embedding.
    #[error(
        "{}: vocabulary smaller than the tokenizer's: expected vocab_size of at least {tokenizer}, got {model}",
        path.display()
    )]
    VocabularySmaller {
        /// The configuration file.
        path: PathBuf,
        /// The model's vocabulary.
        model: usize,
        /// The tokenizer's vocabulary, with added tokens.
        tokenizer: usize,
    },
    /// A row of data cannot be used.
    #[error("row {id:?}: {detail}")]
    Row {
        /// The row's id.
        id: String,
        /// What is wrong, with expected and got.
        detail: String,
    },
    /// A loss or gradient is not a finite number; the update was not made.
    #[error("step {step}: {what} is not finite; stopped before the update; rows {}", listing(ids))]
    NonFinite {
        /// The optimiser step, from 1.
        step: u64,
        /// Which number.
        what: String,
        /// The rows of that step.
        ids: Vec<String>,
    },
    /// An error of the core: a sampling parameter out of its range.
    #[error(transparent)]
    Core(#[from] latrace_core::Error),
    /// An invalid argument.
    #[error("{0}")]
    Invalid(String),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the user can do about it, if anything.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.advice().map(str::to_owned)
    }

    // Kept apart from the messages, which say what is wrong: a hint may not fit every cause.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } => io_advice(source),
            Self::Field { field, .. } => field_advice(field),
            Self::UnknownArchitecture { .. } => {
                Some("convert the model, or take one of the supported families")
            }
            Self::Gguf { hint, .. } => Some(hint),
            Self::BadRowFile { .. } => Some("delete the file and write it again"),
            Self::VocabularySmaller { .. } => {
                Some("the tokenizer is another model's, or the embedding needs resizing")
            }
            Self::NonFinite { .. } => Some("lower the learning rate, or look at the named rows"),
            other => other.weights_advice(),
        }
    }

    /// Advice on files of weights.
    fn weights_advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoWeights { .. } => {
                "pickled weights (pytorch_model.bin) are not read; save the model again with safetensors, or \
                 initialise new weights with `latrace init`"
            }
            Self::MissingTensor { name, .. } if name == "lm_head.weight" => {
                "if the output head shares the embedding, set tie_word_embeddings to true in config.json"
            }
            Self::MissingTensor { .. } | Self::ExtraTensors { .. } | Self::Shape { .. } => {
                "config.json and the weights do not belong together"
            }
            Self::Dtype { .. } => "quantised weights are not read; save the model in f32, bf16 or f16",
            Self::BadSafetensors { .. } => {
                "the file may be an incomplete download or a Git LFS pointer; fetch it again"
            }
            Self::Shard { .. } | Self::WrongShard { .. } => {
                "fetch the index and all of its shards again, together"
            }
            Self::TiedHeadDiffers { .. } => {
                "set tie_word_embeddings to false in config.json to use the separate head"
            }
            _ => return None,
        })
    }

    /// Wraps the system's error, for `map_err`.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    /// Wraps a parser's error, for `map_err`.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Json { path, source }
    }

    pub(crate) fn gguf(
        path: &Path,
        part: &str,
        expected: impl ToString,
        got: impl ToString,
        hint: &'static str,
    ) -> Self {
        let (expected, got) = (expected.to_string(), got.to_string());
        Self::Gguf { path: path.to_owned(), part: part.to_owned(), expected, got, hint }
    }

    pub(crate) fn row(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Row { id: id.into(), detail: detail.into() }
    }
}

fn io_advice(source: &io::Error) -> Option<&'static str> {
    (source.kind() == io::ErrorKind::StorageFull).then_some("free some disk space")
}

fn field_advice(field: &str) -> Option<&'static str> {
    // By name, since a field's error does not say why the value cannot be used.
    if field.contains("sliding") || field == "layer_types" {
        return Some(SLIDING_WINDOW);
    }
    if field == "base_model_name_or_path" {
        return Some("write there the folder of the adapter's base model, or its id on the hub");
    }
    field.starts_with("rope_").then_some("supported rope types are default, linear, llama3 and yarn")
}

const SLIDING_WINDOW: &str =
    "sliding-window attention is not supported; set use_sliding_window to false if rows fit in the window";

/// The first few names: a list of a thousand tensors would hide the message.
fn listing(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len().saturating_sub(SHOWN) {
        0 => quoted(names),
        more => format!("{} and {more} more", quoted(&names[..SHOWN])),
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
