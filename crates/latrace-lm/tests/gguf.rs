//! GGUF: values of the `gguf` package to the bit, models there and back, and damage of every kind.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

mod common;

use std::fs;
use std::path::Path;

use common::{CASES, folder as golden};
use half::{bf16, f16};
use latrace_lm::checkpoint::gguf::{GgufEntry, GgufExportType, GgufFile, GgufModel, GgufType, export};
use latrace_lm::checkpoint::{SaveDtype, load};
use latrace_lm::config::Config;
use latrace_lm::error::{Error, Result};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const FAMILIES: [&str; 3] = ["llama", "qwen2", "qwen3"];

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A file as a model folder, and its weights.
fn import(path: &Path) -> Result<(TempDir, Config, Vec<Vec<f32>>)> {
    let file = GgufFile::open(path)?;
    let dir = tempfile::tempdir().unwrap();
    GgufModel::read(&file)?.save(dir.path(), SaveDtype::F32, dir.path())?;
    let config = Config::read(dir.path())?;
    let weights = load(dir.path(), &config)?;
    Ok((dir, config, weights))
}

/// A folder as a file's bytes.
fn exported(folder: &Path, kind: GgufExportType) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let metadata = vec![("general.name".to_owned(), GgufEntry::Text("tiny".to_owned()))];
    export(folder, (Path::new("out.gguf"), &mut bytes), kind, metadata)?;
    Ok(bytes)
}

fn import_bytes(bytes: &[u8]) -> Result<(TempDir, Config, Vec<Vec<f32>>)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    import(&path)
}

#[test]
fn blocks_have_the_values_of_the_gguf_package() {
    let bytes = fs::read(golden("gguf/blocks.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for kind in GgufType::ALL.into_iter().filter(|&kind| kind != GgufType::F32) {
        let tensor = |part: &str| file.tensor(&format!("{}.{part}", kind.name())).unwrap();
        let expected = floats(tensor("values").data());
        let mut got = vec![f32::NAN; expected.len()];
        kind.dequantise(tensor("bytes").data(), &mut got);
        assert_eq!(bits(&got), bits(&expected), "{kind:?}");
        assert!(expected.iter().any(|&value| value != 0.0), "{kind:?}");
    }
}

#[test]
fn models_of_the_gguf_package_are_read() {
    for family in FAMILIES {
        let (_, config, weights) = import(&golden(&format!("gguf/{family}.gguf"))).unwrap();
        let text = fs::read_to_string(golden(&format!("gguf/{family}.json"))).unwrap();
        let expected: Map<String, Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(config.parameters().len(), expected.len(), "{family}");
        for (parameter, values) in config.parameters().iter().zip(&weights) {
            let expected = &expected[&parameter.name];
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            assert_eq!(expected["shape"], json!(parameter.shape), "{family}: {}", parameter.name);
            assert_eq!(
                expected["first"],
                json!(values[..4].iter().map(|&x| f64::from(x)).collect::<Vec<_>>())
            );
            assert_eq!(expected["crc32c"], crc32c::crc32c(&bytes), "{family}: {}", parameter.name);
        }
    }
}

#[test]
fn configurations_follow_from_the_metadata() {
    let raw = |family: &str| import(&golden(&format!("gguf/{family}.gguf"))).unwrap().1.raw;
    let llama = raw("llama");
    let sizes =
        ["hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"];
    assert_eq!(sizes.map(|size| llama[size].as_u64().unwrap()), [64, 256, 4, 2, 16]);
    assert_eq!(llama["rms_norm_eps"], 1e-5);
    assert_eq!(llama["rope_theta"], 500_000.0);
    assert_eq!(llama["tie_word_embeddings"], true);
    assert_eq!((&llama["bos_token_id"], &llama["eos_token_id"]), (&Value::Null, &json!(39)));
    let scaling = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    assert_eq!(llama["rope_scaling"], scaling);
    let scaling = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768});
    assert_eq!(raw("qwen3")["rope_scaling"], scaling);
    assert_eq!(raw("qwen2")["tie_word_embeddings"], false);
}

/// The configuration without what a file does not have: how it was written, and how fresh weights are drawn.
fn essence(config: Config) -> Config {
    Config {
        raw: Map::new(),
        initializer_range: 0.0,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
        ..config
    }
}

#[test]
fn a_model_survives_the_way_there_and_back() {
    for name in CASES {
        let config = Config::read(&golden(name)).unwrap();
        let weights = load(&golden(name), &config).unwrap();
        let (_, got, values) = import_bytes(&exported(&golden(name), GgufExportType::F32).unwrap()).unwrap();
        assert_eq!(essence(got), essence(config), "{name}");
        assert_eq!(values, weights, "{name}");
    }
}

/// Matrices as a type rounds them once; norms and biases as they are.
fn check_rounding(kind: GgufExportType, name: &str, round: impl Fn(&[f32], usize) -> Vec<f32>) {
    let config = Config::read(&golden(name)).unwrap();
    let weights = load(&golden(name), &config).unwrap();
    let bytes = exported(&golden(name), kind).unwrap();
    let (folder, _, values) = import_bytes(&bytes).unwrap();
    for ((parameter, expected), got) in config.parameters().iter().zip(&weights).zip(&values) {
        match parameter.shape[..] {
            [_] => assert_eq!(got, expected, "{}", parameter.name),
            [.., row] => assert_eq!(got, &round(expected, row), "{kind:?}: {}", parameter.name),
            [] => unreachable!("every tensor has an axis"),
        }
    }
    // What was rounded once is not rounded again.
    assert_eq!(import_bytes(&exported(folder.path(), kind).unwrap()).unwrap().2, values, "{kind:?}");
}

/// The definition: the nearest of 255 multiples of the block's largest magnitude over 127, halves away from zero.
fn q8_0_reference(values: &[f32]) -> Vec<f32> {
    let block = |block: &[f32]| {
        let scale = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) / 127.0;
        let stored = f16::from_f32(scale).to_f32();
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        block.iter().map(|value| (value * inverse).round() * stored).collect::<Vec<_>>()
    };
    values.chunks(32).flat_map(block).collect()
}

#[test]
fn other_types_round_once() {
    let half = |value: &f32| f16::from_f32(*value).to_f32();
    for name in ["llama", "qwen2", "qwen3"] {
        check_rounding(GgufExportType::F16, name, |values, _| values.iter().map(half).collect());
        let brain = |value: &f32| bf16::from_f32(*value).to_f32();
        check_rounding(GgufExportType::Bf16, name, |values, _| values.iter().map(brain).collect());
        // Rows that are not whole blocks are f16.
        check_rounding(GgufExportType::Q8_0, name, |values, row| {
            if row % 32 == 0 { q8_0_reference(values) } else { values.iter().map(half).collect() }
        });
    }
}

#[test]
fn values_beyond_the_range_of_a_type_are_refused() {
    let check = |value: f32, kind, expected: Option<&str>| {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::read(&golden("llama")).unwrap();
        let mut weights = load(&golden("llama"), &config).unwrap();
        weights[0][3] = value;
        latrace_lm::checkpoint::save(dir.path(), &config, &weights, SaveDtype::F32, dir.path()).unwrap();
        match (exported(dir.path(), kind), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expected) => panic!("{value} as {kind:?}: expected {expected:?}, got {:?}", got.map(drop)),
        }
    };
    let refused = Some("tensor `model.embed_tokens.weight`: expected magnitudes below 65520 for F16");
    check(65_519.0, GgufExportType::F16, None);
    check(-65_520.0, GgufExportType::F16, refused);
    check(f32::NAN, GgufExportType::F16, refused);
    check(65_520.0, GgufExportType::Q8_0, None);
    check(1e8, GgufExportType::Q8_0, Some("for Q8_0"));
    check(1e8, GgufExportType::Bf16, None);
}

/// A small file, piece by piece.
#[derive(Clone)]
struct Pieces {
    magic: Vec<u8>,
    entries: Vec<(String, Vec<u8>)>,
    tensors: Vec<Vec<u8>>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn text_value(value: &str) -> Vec<u8> {
    [&8_u32.to_le_bytes()[..], &text(value)].concat()
}

fn u32_value(value: u32) -> Vec<u8> {
    [4_u32, value].map(u32::to_le_bytes).concat()
}

fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let shape_bytes = shape.iter().flat_map(|size| size.to_le_bytes()).collect::<Vec<_>>();
    let axes = (shape.len() as u32).to_le_bytes();
    [&text(name)[..], &axes, &shape_bytes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

impl Pieces {
    fn new() -> Self {
        Self { magic: b"GGUF\x03\0\0\0".to_vec(), entries: Vec::new(), tensors: Vec::new() }
    }

    fn entry(mut self, key: &str, value: Vec<u8>) -> Self {
        self.entries.push((key.to_owned(), value));
        self
    }

    fn tensor(mut self, tensor: Vec<u8>) -> Self {
        self.tensors.push(tensor);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let counts = [self.tensors.len() as u64, self.entries.len() as u64].map(u64::to_le_bytes).concat();
        let entries = self.entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
        let mut bytes = [self.magic.clone(), counts, entries.collect(), self.tensors.concat()].concat();
        bytes.resize(bytes.len().next_multiple_of(32) + 64, 0);
        bytes
    }
}

#[track_caller]
fn check_refused(bytes: &[u8], part: &str, detail: &str) {
    let error = import_bytes(bytes).map(drop).unwrap_err();
    let message = error.to_string();
    for expected in ["model.gguf: ", part, detail] {
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    }
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{message}");
}

#[test]
fn damage_is_named() {
    let plain = Pieces::new();
    check_refused(b"GGML\x03\0\0\0", "header", "expected the letters GGUF, got \"GGML\"");
    check_refused(b"GG", "header", "expected 4 bytes from byte 0 on, got 2, the end of the file");
    check_refused(b"GGUF\x01\0\0\0", "header", "expected version 2 or 3, little-endian, got 1");
    check_refused(b"GGUF\0\0\0\x03", "header", "got 50331648");
    let many = [b"GGUF\x03\0\0\0".to_vec(), u64::MAX.to_le_bytes().to_vec(), vec![0; 32]].concat();
    check_refused(
        &many,
        "header",
        "expected at most 1 tensors, by the length of the file, got 18446744073709551615",
    );
    let long =
        plain.clone().entry("a", [8_u32.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat());
    check_refused(&long.bytes(), "key `a`", "expected 18446744073709551615 bytes");
    let list = [9_u32.to_le_bytes(), 4_u32.to_le_bytes()].concat();
    let list = plain.clone().entry("a", [list, (1_u64 << 62).to_le_bytes().to_vec()].concat());
    check_refused(&list.bytes(), "key `a`", "expected at most");
    check_refused(
        &plain.clone().entry("a", vec![13, 0, 0, 0]).bytes(),
        "key `a`",
        "expected a type from 0 to 12, got 13",
    );
    let nested = plain.clone().entry("a", [9_u32, 9, 0, 0].map(u32::to_le_bytes).concat());
    check_refused(&nested.bytes(), "key `a`", "expected a list of numbers, flags or texts");
    let twice = plain.clone().entry("a", u32_value(1)).entry("a", u32_value(1));
    check_refused(&twice.bytes(), "key `a`", "expected one value, got two");
    let alignment = plain.clone().entry("general.alignment", u32_value(24));
    check_refused(&alignment.bytes(), "key `general.alignment`", "expected a power of two, got 24");
    let bad_text = [&8_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &[255]].concat();
    check_refused(&plain.entry("a", bad_text).bytes(), "key `a`", "expected a text in UTF-8");
}

#[test]
fn descriptions_of_tensors_are_checked() {
    let check = |described: Vec<u8>, detail: &str| {
        check_refused(&Pieces::new().tensor(described).bytes(), "tensor `t`", detail);
    };
    check(tensor("t", &[], 0, 0), "expected 1 to 4 axes, got 0");
    check(tensor("t", &[1; 5], 0, 0), "expected 1 to 4 axes, got 5");
    check(tensor("t", &[4, 0], 0, 0), "expected an axis of 1 or more");
    check(
        tensor("t", &[32], 20, 0),
        "expected one of the types F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, got IQ4_NL",
    );
    check(tensor("t", &[32], 77, 0), "got type 77, which is unknown");
    check(tensor("t", &[33], 8, 0), "expected rows of a multiple of 32 values in Q8_0, got 33");
    check(tensor("t", &[1 << 40, 1 << 40], 0, 0), "expected a size below 2^64 bytes");
    check(tensor("t", &[4], 0, 8), "expected an offset that is a multiple of 32, got 8");
    check(tensor("t", &[17], 0, 0), "expected 68 bytes at offset 0 of the data, got a file of 128 bytes");
    check(tensor("t", &[4], 0, u64::MAX - 31), "bytes at offset 18446744073709551584 of the data");
    let twice = Pieces::new().tensor(tensor("t", &[4], 0, 0)).tensor(tensor("t", &[4], 0, 0));
    check_refused(&twice.bytes(), "tensor `t`", "expected one tensor of this name, got two");
}

/// A file of a golden folder with other entries: a key is replaced, or added.
fn with_entry(key: &str, entry: GgufEntry) -> Vec<u8> {
    let mut bytes = Vec::new();
    export(
        &golden("llama"),
        (Path::new("out"), &mut bytes),
        GgufExportType::F32,
        vec![(key.to_owned(), entry)],
    )
    .unwrap();
    bytes
}

#[test]
fn unsupported_models_are_named() {
    let architecture = Pieces::new().entry("general.architecture", text_value("gemma3"));
    let expected = "expected one of qwen2, qwen3, llama, got gemma3";
    check_refused(&architecture.bytes(), "key `general.architecture`", expected);
    check_refused(&Pieces::new().bytes(), "key `general.architecture`", "got nothing");
    let llama = Pieces::new().entry("general.architecture", text_value("llama"));
    check_refused(&llama.bytes(), "key `llama.embedding_length`", "expected a whole number, got nothing");
    let wrong = llama.entry("llama.embedding_length", text_value("wide"));
    check_refused(
        &wrong.bytes(),
        "key `llama.embedding_length`",
        "expected a whole number, 0 or more, got \"wide\"",
    );
    let experts = with_entry("llama.expert_count", GgufEntry::U32(8));
    check_refused(&experts, "key `llama.expert_count`", "experts are not supported, got 8");
    let split = with_entry("split.count", GgufEntry::U32(3));
    check_refused(&split, "key `split.count`", "expected a whole model, got one of 3 parts");
    let scaling = with_entry("llama.rope.scaling.type", GgufEntry::Text("longrope".to_owned()));
    check_refused(&scaling, "key `llama.rope.scaling.type`", "got longrope");
}

/// A file in which a text, with its length before it, is another one.
fn renamed(folder: &str, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = exported(&golden(folder), GgufExportType::F32).unwrap();
    let (from, to) = (text(from), text(to));
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + from.len()].copy_from_slice(&to);
    bytes
}

#[test]
fn tensors_and_metadata_must_fit() {
    let missing = renamed("llama", "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight");
    check_refused(&missing, "tensor `blk.1.ffn_up.weight`", "expected one of this name, got none");
    let extra = renamed("llama", "output.weight", "outpux.weight");
    check_refused(&extra, "tensor `outpux.weight`", "expected no tensor that the metadata do not call for");
    let sizes = renamed("llama", "llama.block_count", "llama.block_xxxxx");
    check_refused(&sizes, "key `llama.block_count`", "got nothing");
    // The divisors of another scaling.
    let mut divisors = exported(&golden("rope-llama3"), GgufExportType::F32).unwrap();
    let stretched = 8.0_f32.to_le_bytes();
    let at = divisors.windows(4).rposition(|window| window == stretched).unwrap();
    divisors[at..at + 4].copy_from_slice(&7.0_f32.to_le_bytes());
    check_refused(&divisors, "tensor `rope_freqs.weight`", "expected those of Llama 3");
}

/// A golden folder with another `config.json`.
fn check_not_written(name: &str, change: impl FnOnce(&mut Map<String, Value>), detail: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden(name).join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let text = fs::read_to_string(golden(name).join("config.json")).unwrap();
    let mut config = serde_json::from_str(&text).unwrap();
    change(&mut config);
    fs::write(dir.path().join("config.json"), Value::Object(config).to_string()).unwrap();
    let message = exported(dir.path(), GgufExportType::F32).unwrap_err().to_string();
    assert!(message.contains(detail), "expected {detail:?} in {message:?}");
}

#[test]
fn what_llama_cpp_cannot_load_is_not_written() {
    let further = |config: &mut Map<String, Value>| config["rope_scaling"]["beta_fast"] = json!(16);
    check_not_written("rope-yarn", further, "llama.cpp reads linear and YaRN without further settings");
    let family = |config: &mut Map<String, Value>| {
        config.insert("architectures".to_owned(), json!(["Qwen3ForCausalLM"]));
        config.insert("model_type".to_owned(), json!("qwen3"));
    };
    check_not_written("rope-llama3", family, "and Llama 3's in Llama models");
    let biases =
        |config: &mut Map<String, Value>| drop(config.insert("attention_bias".to_owned(), json!(true)));
    check_not_written("qwen3", biases, "cannot write a Qwen3 model with attention_bias");
}

/// Opens, checks and converts, whatever the bytes are.
fn read_all(bytes: &[u8]) {
    match import_bytes(bytes) {
        Ok(_) | Err(Error::Gguf { .. } | Error::Field { .. }) => {}
        Err(other) => panic!("expected an error about the file, got {other:?}"),
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for family in FAMILIES {
        let bytes = fs::read(golden(&format!("gguf/{family}.gguf"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        // Every place of the header, and some of the data.
        let places = (0..3000).chain((3000..bytes.len()).step_by(97)).chain([bytes.len() - 33]);
        for length in places.filter(|&length| length < bytes.len() - 32) {
            fs::write(&path, &bytes[..length]).unwrap();
            let error = GgufFile::open(&path).map(drop).unwrap_err();
            assert!(matches!(error, Error::Gguf { .. } | Error::Io { .. }), "{length}: {error:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Mostly in the header, where a changed byte means something.
    #[test]
    fn changed_bytes_never_panic(
        family in 0..FAMILIES.len(),
        changes in prop::collection::vec((0..2500_usize, prop_oneof![any::<u8>(), Just(0), Just(255)]), 1..4),
    ) {
        let mut bytes = fs::read(golden(&format!("gguf/{}.gguf", FAMILIES[family]))).unwrap();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        read_all(&bytes);
    }
}
