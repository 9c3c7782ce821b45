//! No text makes the reader of tests panic: JSON in its forms, and base64 of zlib of a pickle.
#![no_main]

use latrace_verify::code::{Json, Tests};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let text = Json::Text(text.to_owned());
    let _ = Tests::read(&text);
    let _ = Tests::read(&Json::Object(vec![("private_test_cases".to_owned(), text)]));
});
