//! No text makes the reader of tests panic: JSON in its forms, and base64 of zlib of a pickle.
#![no_main]

use latrace_verify::code::Tests;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let _ = Tests::read(&Value::String(text.to_owned()));
    let _ = Tests::read(&json!({"private_test_cases": text}));
});
