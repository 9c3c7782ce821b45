//! Token ids as the tokenizers of the goldens have them, and tokenizers there and back.

use std::fs;
use std::path::{Path, PathBuf};

use latrace_core::Tokenizer;
use latrace_lm::checkpoint::gguf::GgufEntry;
use tempfile::TempDir;

use super::*;

/// Vocabularies, each by its pre-tokenizer, and SentencePiece's.
const NAMES: [&str; 6] = ["gpt-2", "smollm", "llama-bpe", "qwen2", "default", "llama"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf").join(name)
}

/// A model of the decoder's goldens, with a tokenizer of its own.
fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../latrace-lm/tests/golden/gguf").join(name)
}

fn definition(name: &str) -> Value {
    let file = GgufFile::open(&golden(&format!("{name}.gguf"))).unwrap();
    tokenizer_files(&file).unwrap().remove(0).1
}

fn settings_of(name: &str) -> Value {
    let file = GgufFile::open(&golden(&format!("{name}.gguf"))).unwrap();
    tokenizer_files(&file).unwrap().remove(1).1
}

/// `oracle/gguf_goldens.py`: ids by the tokenizers package, and by SentencePiece.
#[test]
fn texts_get_the_ids_of_the_original_tokenizers() {
    let cases: Value = serde_json::from_slice(&fs::read(golden("ids.json")).unwrap()).unwrap();
    for name in NAMES {
        let tokenizer = Tokenizer::from_bytes(definition(name).to_string().as_bytes()).unwrap();
        let (texts, ids) = (cases[name]["texts"].as_array().unwrap(), cases[name]["ids"].as_array().unwrap());
        assert!(texts.len() > 15 && texts.len() == ids.len());
        for (text, expected) in texts.iter().map(|text| text.as_str().unwrap()).zip(ids) {
            let got = tokenizer.encode(text).unwrap();
            assert_eq!(&json!(got), expected, "{name}: {text:?}");
            // Normal form C is no matter of decoding, and SentencePiece's prefix no part of the text.
            if !["qwen2", "llama"].contains(&name) {
                assert_eq!(tokenizer.decode(&got).unwrap(), text, "{name}");
            }
        }
    }
}

#[test]
fn pre_tokenizers_differ_where_they_should() {
    let ids = |name: &str, text: &str| {
        Tokenizer::from_bytes(definition(name).to_string().as_bytes()).unwrap().encode(text).unwrap()
    };
    // Each of them splits one of these texts as no other does.
    let texts = ["12345 100000", "DON'T we'Re", "$5 <tag> a^b", "a\n \n b"];
    let all: Vec<Vec<Vec<u32>>> =
        NAMES[..5].iter().map(|name| texts.iter().map(|text| ids(name, text)).collect()).collect();
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| other != one), "{}", NAMES[i]);
    }
}

#[test]
fn texts_begin_as_the_metadata_say() {
    let begin = |name: &str| {
        let tokenizer = Tokenizer::from_bytes(definition(name).to_string().as_bytes()).unwrap();
        tokenizer.begin().to_vec()
    };
    assert_eq!(begin("llama"), [1]);
    assert_eq!(begin("llama-bpe"), [0]);
    assert_eq!(begin("qwen2"), Vec::<u32>::new());
    assert_eq!(settings_of("llama-bpe")["add_bos_token"], true);
    let settings = settings_of("smollm");
    assert_eq!((&settings["add_bos_token"], &settings["eos_token"]), (&json!(false), &json!("<|end|>")));
    assert!(settings["chat_template"].as_str().unwrap().starts_with("{% for m in messages %}"));
    assert_eq!(settings.get("pad_token"), None);
}

/// A folder with a model of `rows` rows, and the tokenizer of a golden vocabulary.
fn folder_with(name: &str, rows: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "vocab_size": rows, "eos_token_id": [7, 0, 9], "bos_token_id": 3,
    });
    write_json(&folder.path().join("config.json"), &config).unwrap();
    write_json(&folder.path().join("tokenizer.json"), &definition(name)).unwrap();
    write_json(&folder.path().join("tokenizer_config.json"), &settings_of(name)).unwrap();
    folder
}

fn entry<'a>(metadata: &'a [(String, GgufEntry)], key: &str) -> Option<&'a GgufEntry> {
    metadata.iter().find(|(name, _)| name == key).map(|(_, entry)| entry)
}

#[test]
fn a_tokenizer_survives_the_way_there_and_back() {
    for name in NAMES {
        let file = GgufFile::open(&golden(&format!("{name}.gguf"))).unwrap();
        let tokens = file.texts("tokenizer.ggml.tokens").unwrap().unwrap();
        let kinds = file.integers("tokenizer.ggml.token_type").unwrap().unwrap();
        let folder = folder_with(name, tokens.len());
        let metadata = export::metadata(folder.path(), folder.path()).unwrap();
        let get = |key: &str| entry(&metadata, &format!("tokenizer.{key}"));
        let texts: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
        assert_eq!(get("ggml.tokens"), Some(&GgufEntry::Texts(texts)), "{name}");
        let kinds = kinds.into_iter().map(|kind| kind as i32).collect();
        assert_eq!(get("ggml.token_type"), Some(&GgufEntry::Integers(kinds)), "{name}");
        let merges = file.texts("tokenizer.ggml.merges").unwrap();
        let merges = merges.map(|merges| GgufEntry::Texts(merges.into_iter().map(str::to_owned).collect()));
        assert_eq!(get("ggml.merges"), merges.as_ref(), "{name}");
        let pre = if name == "llama" { "default" } else { name };
        assert_eq!(get("ggml.pre"), Some(&GgufEntry::Text(pre.to_owned())), "{name}");
        let template = file.text("tokenizer.chat_template").unwrap().map(str::to_owned).map(GgufEntry::Text);
        assert_eq!(get("chat_template"), template.as_ref(), "{name}");
        let end = file.token_id("eos").unwrap().unwrap() as u32;
        assert_eq!(get("ggml.eos_token_id"), Some(&GgufEntry::U32(end)), "{name}");
        assert_eq!(get("ggml.eot_token_id"), Some(&GgufEntry::U32(7)), "{name}");
        let begins = ["llama", "llama-bpe"].contains(&name);
        assert_eq!(get("ggml.add_bos_token"), Some(&GgufEntry::Flag(begins)), "{name}");
    }
}

/// Scores need not be those of the training: they must order the merges alike.
#[test]
fn scores_lead_to_the_same_merges() {
    let folder = folder_with("llama", 420);
    let metadata = export::metadata(folder.path(), folder.path()).unwrap();
    let mut bytes = Vec::new();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../latrace-lm/tests/golden/llama");
    gguf::export(&config, (Path::new("out"), &mut bytes), GgufExportType::F32, metadata).unwrap();
    let path = folder.path().join("again.gguf");
    fs::write(&path, bytes).unwrap();
    let again = tokenizer_files(&GgufFile::open(&path).unwrap()).unwrap().remove(0).1;
    assert_eq!(again["model"]["merges"], definition("llama")["model"]["merges"]);
    assert_eq!(again, definition("llama"));
}

#[test]
fn rows_without_a_token_are_filled_and_left_out_again() {
    let folder = folder_with("gpt-2", 530);
    let metadata = export::metadata(folder.path(), folder.path()).unwrap();
    let Some(GgufEntry::Texts(tokens)) = entry(&metadata, "tokenizer.ggml.tokens") else {
        panic!("no tokens")
    };
    let used = definition("gpt-2")["model"]["vocab"].as_object().unwrap().len();
    assert_eq!(
        (tokens.len(), tokens[529].as_str(), tokens[used].clone()),
        (530, "[PAD529]", format!("[PAD{used}]"))
    );
    let Some(GgufEntry::Integers(kinds)) = entry(&metadata, "tokenizer.ggml.token_type") else {
        panic!("no kinds")
    };
    assert!(kinds[used..].iter().all(|&kind| kind == 5) && kinds[..used].iter().all(|&kind| kind != 5));
}

#[track_caller]
fn check_not_written(name: &str, change: impl FnOnce(&mut Value), expected: &str) {
    let folder = folder_with(name, 530);
    let mut definition = definition(name);
    change(&mut definition);
    write_json(&folder.path().join("tokenizer.json"), &definition).unwrap();
    let message = format!("{:#}", export::metadata(folder.path(), folder.path()).unwrap_err());
    assert!(message.contains(expected), "expected {expected:?} in {message:?}");
}

#[test]
fn tokenizers_that_gguf_cannot_express_are_refused() {
    let splits = |definition: &mut Value| definition["pre_tokenizer"] = json!({"type": "WhitespaceSplit"});
    check_not_written("gpt-2", splits, "its pre-tokenizer cannot be written to GGUF");
    let whole = |definition: &mut Value| definition["model"]["ignore_merges"] = json!(true);
    check_not_written("qwen2", whole, "its pre-tokenizer cannot be written to GGUF");
    let lower = |definition: &mut Value| definition["normalizer"] = json!({"type": "Lowercase"});
    check_not_written("gpt-2", lower, "its normalizer cannot be written to GGUF");
    check_not_written("llama", lower, "its normalizer cannot be written to GGUF");
    let words = json!({"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0}});
    check_not_written(
        "gpt-2",
        |definition| definition["model"] = words,
        "its model cannot be written to GGUF",
    );
}

/// A golden vocabulary with other bytes.
#[track_caller]
fn check_refused(name: &str, from: &[u8], to: &[u8], part: &str, detail: &str) {
    let mut bytes = fs::read(golden(&format!("{name}.gguf"))).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    fs::write(&path, bytes).unwrap();
    let error = tokenizer_files(&GgufFile::open(&path).unwrap()).map(drop).unwrap_err();
    let message = error.to_string();
    for expected in ["changed.gguf: ", part, detail] {
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    }
    assert_eq!(crate::hint_of(error.root_cause()).as_deref(), Some(vocabulary::GIVE_TOKENIZER));
}

#[test]
fn unusable_vocabularies_are_named() {
    let unknown = "expected one of default, gpt-2, smollm, starcoder, llama-bpe, llama3, llama-v3, qwen2, \
                   deepseek-r1-qwen, got qwenx";
    check_refused(
        "qwen2",
        b"\x05\0\0\0\0\0\0\0qwen2",
        b"\x05\0\0\0\0\0\0\0qwenx",
        "key `tokenizer.ggml.pre`",
        unknown,
    );
    check_refused(
        "gpt-2",
        b"gpt2",
        b"bert",
        "key `tokenizer.ggml.model`",
        "expected gpt2 or llama, got bert",
    );
    check_refused("gpt-2", b"ggml.tokens", b"ggml.tokenx", "key `tokenizer.ggml.tokens`", "got nothing");
    check_refused("gpt-2", b"ggml.merges", b"ggml.mergex", "key `tokenizer.ggml.merges`", "got nothing");
    check_refused("llama", b"ggml.scores", b"ggml.scorex", "key `tokenizer.ggml.scores`", "got nothing");
    let (once, twice) = (b"\x02\0\0\0\0\0\0\0he", b"\x02\0\0\0\0\0\0\0in");
    check_refused(
        "gpt-2",
        once,
        twice,
        "key `tokenizer.ggml.tokens`",
        "expected each token once, got \"in\" twice",
    );
}

#[test]
fn a_model_is_converted_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    import_gguf(&model("qwen2.gguf"), &path("model"), SaveDtype::F32, None).unwrap();
    export_gguf(&path("model"), &path("out.gguf"), GgufExportType::F32, None).unwrap();
    import_gguf(&path("out.gguf"), &path("again"), SaveDtype::F32, None).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "generation_config.json", "tokenizer_config.json"] {
        assert!(
            fs::read(path("model").join(name)).unwrap() == fs::read(path("again").join(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_tokenizer_can_come_from_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    import_gguf(&model("qwen2.gguf"), &path("model"), SaveDtype::F32, None).unwrap();
    let other = folder_with("gpt-2", 530);
    // That of the golden models has forty tokens, and this one more than five hundred.
    let error =
        import_gguf(&model("llama.gguf"), &path("large"), SaveDtype::F32, Some(other.path())).unwrap_err();
    assert!(format!("{error:#}").contains("expected vocab_size of at least 507, got 40"), "{error:#}");
    assert!(!path("large").exists());
    import_gguf(&model("llama.gguf"), &path("small"), SaveDtype::Bf16, Some(&path("model"))).unwrap();
    assert_eq!(
        fs::read_to_string(path("small").join("tokenizer.json")).unwrap(),
        fs::read_to_string(path("model").join("tokenizer.json")).unwrap()
    );
    let empty = tempfile::tempdir().unwrap();
    let error =
        import_gguf(&model("llama.gguf"), &path("none"), SaveDtype::F32, Some(empty.path())).unwrap_err();
    assert!(error.to_string().contains("has no tokenizer.json"), "{error:#}");
}
