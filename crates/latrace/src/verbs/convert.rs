//! `latrace convert`: converts a model from or to GGUF, merges an adapter, or changes the type of weights.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use latrace_engine::adapters::save_whole;
use latrace_engine::gguf::{GgufExportType, export_gguf, import_gguf};
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use tracing::info;

use super::init::Dtype;
use super::output::check_unused;

/// Arguments of `latrace convert`.
#[derive(Args, Debug)]
#[command(after_help = "\
A GGUF file becomes a Hugging Face folder, and a folder a GGUF file that llama.cpp loads: weights, configuration,
tokenizer and chat template. Models of the families Llama, Qwen2 and Qwen3; files in F32, F16, BF16, Q8_0, Q4_0, Q4_1,
Q5_0, Q5_1, Q4_K, Q5_K and Q6_K. A folder becomes another one with weights of another type; an adapter (LoRA, in
PEFT's layout) is merged with its base.

Examples:
  latrace convert SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2 --dtype bf16
  latrace convert runs/gsm8k/09-final final.gguf --type q8_0
  latrace convert runs/lora/09-final models/merged --dtype bf16
  latrace convert old.gguf models/old --tokenizer models/base")]
pub struct ConvertArguments {
    /// Model to convert: a GGUF file, a folder or a hub id, org/name[@revision]
    #[arg(value_name = "MODEL")]
    model: String,
    /// Folder for the converted model, which must be empty or absent; or the file, ending in .gguf
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Data type of the weights in a folder OUT: float32, or bfloat16 rounded to nearest; default: f32
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// Type of the matrices in a GGUF file; default: f16
    #[arg(long = "type", value_enum, conflicts_with = "dtype")]
    kind: Option<FileType>,
    /// Folder to take the tokenizer and chat template from; default: MODEL
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileType {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<FileType> for GgufExportType {
    fn from(kind: FileType) -> GgufExportType {
        match kind {
            FileType::F32 => GgufExportType::F32,
            FileType::F16 => GgufExportType::F16,
            FileType::Bf16 => GgufExportType::Bf16,
            FileType::Q8_0 => GgufExportType::Q8_0,
        }
    }
}

/// Runs `latrace convert`.
pub fn run(arguments: &ConvertArguments) -> Result<()> {
    let ConvertArguments { model, out, dtype, kind, tokenizer } = arguments;
    match (is_gguf(Path::new(model)), is_gguf(out)) {
        (true, false) if kind.is_none() => {
            check_unused(out, "choose another folder")?;
            import_gguf(Path::new(model), out, dtype.unwrap_or(Dtype::F32).into(), tokenizer.as_deref())?;
        }
        (false, true) if dtype.is_none() => {
            let kind = kind.unwrap_or(FileType::F16).into();
            export_gguf(&model_folder(model)?, out, kind, tokenizer.as_deref())?;
        }
        (false, false) if kind.is_none() && tokenizer.is_none() => {
            check_unused(out, "choose another folder")?;
            save_whole(&model_folder(model)?, out, dtype.unwrap_or(Dtype::F32).into())?;
        }
        (from_file, to_file) => return Err(misused(from_file, to_file).into()),
    }
    info!("the model is in {}", out.display());
    Ok(())
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

fn misused(from_file: bool, to_file: bool) -> Failure {
    Failure::usage(match (from_file, to_file) {
        (true, false) => "--type is of GGUF files, and OUT is a folder: expected --dtype",
        (false, true) => "--dtype is of folders, and OUT is a GGUF file: expected --type",
        (false, false) => "--type and --tokenizer are of GGUF files, and both MODEL and OUT are folders",
        (true, true) => "expected a folder for one of MODEL and OUT, got two names ending in .gguf",
    })
}
