//! Checkpoints: what is written is read back, and every kind of damage is one clear error.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use latrace_lm::checkpoint::{SaveDtype, initialise, load, save, save_sharded};
use latrace_lm::config::Config;
use latrace_lm::error::Error;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const NORM: &str = "model.norm.weight";

/// dtype, shape, bytes; kept in a file's order by name.
type Tensors = BTreeMap<String, (&'static str, Vec<usize>, Vec<u8>)>;

fn source(tied: bool) -> (TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    let json = json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 12, "vocab_size": 10,
        "tie_word_embeddings": tied, "torch_dtype": "float16", "some_other_field": [1, 2],
    });
    std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    let config = Config::read(dir.path()).unwrap();
    (dir, config)
}

fn tensors(config: &Config, values: &[Vec<f32>]) -> Tensors {
    let bytes = |values: &Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let entry = |(p, v): (latrace_lm::config::Parameter, &Vec<f32>)| (p.name, ("F32", p.shape, bytes(v)));
    config.parameters().into_iter().zip(values).map(entry).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
        data.extend_from_slice(bytes);
    }
    write_raw(path, &Value::Object(header).to_string(), &data);
}

fn write_raw(path: &Path, header: &str, data: &[u8]) {
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length[..], header.as_bytes(), data].concat()).unwrap();
}

/// Loads a single file with the tensors after `change`.
fn load_changed(tied: bool, change: impl FnOnce(&mut Tensors)) -> Result<Vec<Vec<f32>>, Error> {
    let (dir, config) = source(tied);
    let mut tensors = tensors(&config, &initialise(&config, 1));
    change(&mut tensors);
    write(&dir.path().join("model.safetensors"), &tensors);
    load(dir.path(), &config)
}

fn load_bytes(bytes: &[u8]) -> Result<Vec<Vec<f32>>, Error> {
    let (dir, config) = source(true);
    std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    load(dir.path(), &config)
}

fn check_message<T>(result: Result<T, Error>, parts: &[&str]) {
    let message = result.err().expect("an error").to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in {message:?}");
    }
}

#[test]
fn f32_comes_back_bit_for_bit() {
    let (source, config) = source(false);
    let mut weights = initialise(&config, 7);
    weights[0][..4].copy_from_slice(&[f32::MIN_POSITIVE / 2.0, -0.0, f32::MAX, 1.0 + f32::EPSILON]);
    let out = tempfile::tempdir().unwrap();
    save(out.path(), &config, &weights, SaveDtype::F32, source.path()).unwrap();
    let read = load(out.path(), &Config::read(out.path()).unwrap()).unwrap();
    let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&read), bits(&weights));
}

#[test]
fn bf16_rounds_to_nearest_even() {
    let (source, config) = source(true);
    let mut weights = initialise(&config, 7);
    // bf16 has 7 bits after the point: 2^-8 is half a step above 1.
    weights[0][..4].copy_from_slice(&[
        1.0 + 2_f32.powi(-8),
        1.0 + 3.0 * 2_f32.powi(-8),
        1.0 + 2_f32.powi(-7),
        -0.0,
    ]);
    let out = tempfile::tempdir().unwrap();
    save(out.path(), &config, &weights, SaveDtype::Bf16, source.path()).unwrap();
    let read = load(out.path(), &config).unwrap();
    assert_eq!(read[0][..4], [1.0, 1.0 + 2_f32.powi(-6), 1.0 + 2_f32.powi(-7), -0.0]);
    for (read, weight) in read.iter().flatten().zip(weights.iter().flatten()) {
        assert!((read - weight).abs() <= weight.abs() * 2_f32.powi(-8), "expected {weight}, got {read}");
    }
}

#[test]
fn f16_and_mixed_types_are_read() {
    let read = load_changed(true, |tensors| {
        let ones = 0x3C00_u16.to_le_bytes().repeat(8);
        let halves = 0x3F00_u16.to_le_bytes().repeat(8);
        tensors.insert(NORM.to_owned(), ("F16", vec![8], ones));
        tensors.insert("model.layers.0.input_layernorm.weight".to_owned(), ("BF16", vec![8], halves));
    });
    let read = read.unwrap();
    assert_eq!(read.last().unwrap(), &[1.0; 8]);
    assert_eq!(read[1], [0.5; 8]);
}

#[test]
fn a_saved_folder_is_complete() {
    let (source, config) = source(false);
    std::fs::write(source.path().join("tokenizer.json"), "{}").unwrap();
    std::fs::write(source.path().join("chat_template.jinja"), "{{ x }}").unwrap();
    std::fs::write(source.path().join("pytorch_model.bin"), "no").unwrap();
    let out = tempfile::tempdir().unwrap();
    save(out.path(), &config, &initialise(&config, 1), SaveDtype::Bf16, source.path()).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]);
    let json: Value =
        serde_json::from_slice(&std::fs::read(out.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(json["torch_dtype"], "bfloat16");
    assert_eq!(json["architectures"], json!(["Qwen2ForCausalLM"]));
    assert_eq!(json["some_other_field"], json!([1, 2]));
    let bytes = std::fs::read(out.path().join("model.safetensors")).unwrap();
    let (length, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(length % 8, 0);
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

fn sharded() -> (TempDir, Config, Vec<Vec<f32>>) {
    let (dir, config) = source(false);
    let weights = initialise(&config, 3);
    save_sharded(dir.path(), &config, &weights, SaveDtype::F32, dir.path(), 1000).unwrap();
    (dir, config, weights)
}

fn index(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("model.safetensors.index.json")).unwrap()).unwrap()
}

fn load_reindexed(change: impl FnOnce(&mut Value)) -> Result<Vec<Vec<f32>>, Error> {
    let (dir, config, _) = sharded();
    let mut index = index(dir.path());
    change(&mut index);
    std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    load(dir.path(), &config)
}

#[test]
fn shards_hold_the_model_within_the_limit() {
    let (dir, config, weights) = sharded();
    let index = index(dir.path());
    let total: usize = weights.iter().map(Vec::len).sum();
    assert_eq!(index["metadata"]["total_size"], 4 * total);
    let places = index["weight_map"].as_object().unwrap().values();
    let files: BTreeSet<_> = places.filter_map(Value::as_str).collect();
    assert!(files.len() > 2);
    for file in files {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert!(metadata.data_len() <= 1000 && file.contains("-of-0000"));
    }
    assert_eq!(load(dir.path(), &config).unwrap(), weights);
}

#[test]
fn bad_indices_are_named() {
    let elsewhere = |file: &'static str| load_reindexed(move |index| index["weight_map"][NORM] = json!(file));
    let name = "model.safetensors.index.json";
    check_message(elsewhere("gone.safetensors"), &[name, NORM, "gone.safetensors", "does not exist"]);
    check_message(elsewhere("../x.safetensors"), &[name, NORM, "../x.safetensors", "plain file name"]);
    check_message(elsewhere("/etc/passwd"), &[name, "/etc/passwd", "plain file name"]);
    check_message(elsewhere(".."), &["plain file name"]);
    check_message(elsewhere(""), &["plain file name"]);
    let wrong = load_reindexed(|index| index["weight_map"][NORM] = index["weight_map"][EMBEDDING].clone());
    check_message(wrong, &[name, NORM, "wrong shard: expected in", "model-00001-of-"]);
    check_message(
        load_reindexed(|index| index["weight_map"] = json!(5)),
        &[name, "weight_map", "an object, got 5"],
    );
    check_message(
        load_reindexed(|index| index["weight_map"][NORM] = json!(5)),
        &[name, "weight_map", "got 5"],
    );
    let unlisted =
        load_reindexed(|index| drop(index["weight_map"].as_object_mut().unwrap().remove(EMBEDDING)));
    check_message(unlisted, &[EMBEDDING]);
    let invented = load_reindexed(|index| index["weight_map"]["extra"] = index["weight_map"][NORM].clone());
    check_message(invented, &["missing tensor `extra`", "model-000"]);
    let (dir, config, _) = sharded();
    std::fs::write(dir.path().join(name), "{").unwrap();
    check_message(load(dir.path(), &config), &[name, "JSON"]);
}

#[test]
fn wrong_tensors_are_named() {
    let file = "model.safetensors";
    check_message(
        load_changed(true, |t| drop(t.remove(NORM))),
        &[file, "missing tensor `model.norm.weight`"],
    );
    let missing_head = load_changed(false, |t| drop(t.remove(HEAD))).unwrap_err();
    assert!(missing_head.hint().unwrap().contains("tie_word_embeddings"));
    let extra = load_changed(true, |t| drop(t.insert("other".to_owned(), ("F32", vec![1], vec![0; 4]))));
    check_message(extra, &[file, "1 tensors", "`other`"]);
    let shape = load_changed(true, |t| drop(t.insert(NORM.to_owned(), ("F32", vec![2, 4], vec![0; 32]))));
    check_message(shape, &[file, NORM, "expected shape [8]", "got [2, 4]"]);
    let dtype = load_changed(true, |t| drop(t.insert(NORM.to_owned(), ("I32", vec![8], vec![0; 32]))));
    check_message(dtype, &[file, NORM, "expected dtype F32", "got I32"]);
}

#[test]
fn harmless_extras_are_ignored() {
    let inv_freq = "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned();
    load_changed(true, |t| drop(t.insert(inv_freq, ("I64", vec![1], vec![0; 8])))).unwrap();
    load_changed(true, |t| drop(t.insert(HEAD.to_owned(), t[EMBEDDING].clone()))).unwrap();
}

#[test]
fn a_tied_head_of_its_own_is_refused() {
    let differs = load_changed(true, |t| {
        let mut head = t[EMBEDDING].clone();
        head.2[3] ^= 1;
        t.insert(HEAD.to_owned(), head);
    });
    check_message(differs, &["model.safetensors", HEAD, EMBEDDING]);
    let shape = load_changed(true, |t| drop(t.insert(HEAD.to_owned(), ("F32", vec![1], vec![0; 4]))));
    check_message(shape, &[HEAD, "expected shape [10, 8]", "got [1]"]);
}

#[test]
fn damaged_files_are_named() {
    let file = "model.safetensors is not a valid safetensors file";
    check_message(load_bytes(b""), &[file, "0 bytes"]);
    check_message(load_bytes(b"short"), &[file, "5 bytes"]);
    check_message(load_bytes(b"version https://git-lfs.github.com/spec/v1"), &[file, "got 34 bytes"]);
    let (dir, config) = source(true);
    let path = dir.path().join("model.safetensors");
    write(&path, &tensors(&config, &initialise(&config, 1)));
    let whole = std::fs::read(&path).unwrap();
    load_bytes(&whole).unwrap();
    check_message(load_bytes(&whole[..whole.len() - 1]), &[file, "ends at byte"]);
    check_message(load_bytes(&whole[..100]), &[file, "got 92 bytes"]);
    check_message(load_bytes(&[&whole[..], b"more"].concat()), &[file]);
    for length in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 32, whole.len() as u64] {
        let bytes = [&length.to_le_bytes()[..], &whole[8..]].concat();
        check_message(load_bytes(&bytes), &[file, &length.to_string()]);
    }
}

#[test]
fn offsets_that_overflow_are_named() {
    // Each tensor is consistent by itself; their ends add up to 2^64 and round again.
    let step = (1_u64 << 61) - 1;
    let mut header = serde_json::Map::new();
    for i in 0..8 {
        let offsets = [i * step, (i + 1) * step];
        header.insert(format!("t{i}"), json!({"dtype": "U8", "shape": [step], "data_offsets": offsets}));
    }
    let header = Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    check_message(load_bytes(&bytes), &["model.safetensors", "`t0` ends at byte 2305843009213693951"]);
}

#[test]
fn a_folder_without_weights_says_what_it_looked_for() {
    let (dir, config) = source(true);
    check_message(load(dir.path(), &config), &["model.safetensors.index.json"]);
}

#[test]
fn saving_other_tensors_is_refused() {
    let (dir, config) = source(true);
    let mut weights = initialise(&config, 1);
    weights[1].pop();
    let out = tempfile::tempdir().unwrap();
    let result = save(out.path(), &config, &weights, SaveDtype::F32, dir.path());
    check_message(result, &["model.layers.0.input_layernorm.weight", "[8]", "7 values"]);
    check_message(
        save(out.path(), &config, &weights[1..], SaveDtype::F32, dir.path()),
        &["expected 26", "got 25"],
    );
}

#[test]
fn fresh_weights_are_normal_and_depend_on_the_seed_alone() {
    let dir = tempfile::tempdir().unwrap();
    let json = json!({
        "model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 64, "vocab_size": 4001, "initializer_range": 0.5,
    });
    std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    let config = Config::read(dir.path()).unwrap();
    let weights = initialise(&config, 5);
    let n = weights[0].len() as f64;
    let moment = |power| weights[0].iter().map(|&x| f64::from(x / 0.5).powi(power)).sum::<f64>() / n;
    // Five standard errors of each moment.
    assert!(moment(1).abs() < 5.0 / n.sqrt(), "mean {}", moment(1));
    assert!((moment(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "variance {}", moment(2));
    assert!((moment(4) - 3.0).abs() < 5.0 * (96.0 / n).sqrt(), "fourth moment {}", moment(4));
    for (parameter, values) in config.parameters().iter().zip(&weights) {
        if parameter.decay_exempt {
            let expected = if parameter.name.ends_with("bias") { 0.0 } else { 1.0 };
            assert!(values.iter().all(|&value| value == expected), "{}", parameter.name);
        }
    }
    assert_ne!(weights, initialise(&config, 6));
    assert_ne!(weights[0][..64], weights.last().unwrap()[..64]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(weights, pool.install(|| initialise(&config, 5)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bad = matches!(load_bytes(&bytes), Err(Error::BadSafetensors { .. }));
        prop_assert!(bad);
    }

    #[test]
    fn random_headers_never_panic(
        shape in prop::collection::vec(any::<u64>(), 0..3),
        start in any::<u64>(),
        end in any::<u64>(),
        dtype in prop::sample::select(vec!["F32", "BF16", "F4", "X"]),
        length in 0..64_u64,
    ) {
        let (dir, config) = source(true);
        for offsets in [[start, end], [0, length], [start % 64, length]] {
            let header = json!({NORM: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).to_string();
            write_raw(&dir.path().join("model.safetensors"), &header, &vec![0; length as usize]);
            prop_assert!(load(dir.path(), &config).is_err());
        }
    }
}
