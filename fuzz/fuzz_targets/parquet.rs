//! No bytes make the reader of Parquet panic or give rows without end.
#![no_main]

mod rows;

use libfuzzer_sys::fuzz_target;

// Panics of the `parquet` crate become errors; the fuzzer's own hook would end it before that. Others still end it.
fuzz_target!(init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))), |bytes: &[u8]| rows::read(bytes, ".parquet"));
