//! No bytes make the reader of Parquet panic or give rows without end.
#![no_main]

mod rows;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| rows::read(bytes, ".parquet"));
