//! Writing and reading one part of traces under several encodings: `cargo bench -p latrace-io --bench parts --
//! [TRACES TOKENS]`.
//!
//! Prints bytes and seconds of each, beside those of the same numbers as plain bytes. Nothing is asserted: the
//! figures tell which encoding `table/part.rs` should have on a machine.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use latrace_io::record;
use latrace_io::table::{GroupWriter, Record, Table, View};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};

/// Times that each is done; the fastest counts, the others being disturbed.
const TIMES: usize = 5;

struct Trace {
    id: String,
    sample: u64,
    token_ids: Vec<u32>,
    logprobs: Vec<f32>,
    closed: bool,
}

record!(Trace, "trace", { id, sample, token_ids, logprobs, closed });

/// How the lists of a part are encoded.
struct Setting {
    name: &'static str,
    compression: Compression,
    /// Of token ids.
    dictionary: bool,
    /// Of log-probs: byte k of each together.
    split_bytes: bool,
}

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (traces, tokens) = if let [traces, tokens] = numbers[..] { (traces, tokens) } else { (64 * 8, 5000) };
    let records: Vec<Trace> = (0..traces).map(|number| trace(number as u64, tokens)).collect();
    let folder = tempfile::tempdir()?;
    plain_bytes(&folder.path().join("bytes"), &records)?;
    let table = Table::<Trace>::create(folder.path(), "key");
    let path = folder.path().join("part-00000.parquet");
    let read = || table.read(0).map(|read| assert_eq!(read.len(), records.len()));
    for setting in settings()? {
        let properties = Arc::new(properties(&setting));
        let write = fastest(|| write(&path, &records, properties.clone()))?;
        print(setting.name, &path, write, fastest(read)?)?;
    }
    let write = fastest(|| table.write(0, &records))?;
    print("a table, synced", &path, write, fastest(read)?)
}

fn settings() -> Result<Vec<Setting>> {
    let zstd = |level| Ok::<_, anyhow::Error>(Compression::ZSTD(ZstdLevel::try_new(level)?));
    let compressions = [
        ("none", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("zstd 1", zstd(1)?),
        ("zstd 3", zstd(3)?),
    ];
    let of = |(name, compression)| Setting { name, compression, dictionary: false, split_bytes: false };
    let mut settings: Vec<Setting> = compressions.into_iter().map(of).collect();
    settings.push(Setting { dictionary: true, ..of(("zstd 1, dictionary", zstd(1)?)) });
    settings.push(Setting { split_bytes: true, ..of(("zstd 1, bytes split", zstd(1)?)) });
    settings.push(Setting { split_bytes: true, ..of(("none, bytes split", Compression::UNCOMPRESSED)) });
    Ok(settings)
}

fn properties(setting: &Setting) -> WriterProperties {
    let items = |name: &str| ColumnPath::new(vec![name.to_owned(), "list".to_owned(), "element".to_owned()]);
    let (token_ids, logprobs) = (items("token_ids"), items("logprobs"));
    let encoding = if setting.split_bytes { Encoding::BYTE_STREAM_SPLIT } else { Encoding::PLAIN };
    let metadata = [("latrace.schema", "2"), ("latrace.record", Trace::NAME)];
    let metadata = metadata.map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    WriterProperties::builder()
        .set_compression(setting.compression)
        .set_key_value_metadata(Some(metadata.to_vec()))
        .set_column_dictionary_enabled(token_ids.clone(), setting.dictionary)
        .set_column_dictionary_enabled(logprobs.clone(), false)
        .set_column_encoding(logprobs.clone(), encoding)
        .set_column_statistics_enabled(token_ids, EnabledStatistics::None)
        .set_column_statistics_enabled(logprobs, EnabledStatistics::None)
        .build()
}

/// A part that a table reads, under other properties than its own.
fn write(path: &Path, records: &[Trace], properties: Arc<WriterProperties>) -> Result<()> {
    let schema = Type::group_type_builder("schema").with_fields(Trace::fields()).build()?;
    let mut writer = SerializedFileWriter::new(File::create(path)?, Arc::new(schema), properties)?;
    let mut group = GroupWriter::new(writer.next_row_group()?);
    Trace::write(records, &mut group)?;
    group.close()?;
    writer.close()?;
    Ok(())
}

/// The same numbers without any format.
fn plain_bytes(path: &Path, records: &[Trace]) -> Result<()> {
    let mut bytes = Vec::new();
    for record in records {
        record.token_ids.iter().for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
        record.logprobs.iter().for_each(|logprob| bytes.extend_from_slice(&logprob.to_le_bytes()));
    }
    let write = fastest(|| Ok(File::create(path)?.write_all(&bytes)?))?;
    let mut read = Vec::with_capacity(bytes.len());
    let read = fastest(|| {
        read.clear();
        File::open(path)?.read_to_end(&mut read)?;
        Ok(())
    })?;
    print("plain bytes", path, write, read)
}

fn fastest(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..TIMES {
        let start = Instant::now();
        work()?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    Ok(fastest)
}

fn print(name: &str, path: &Path, write: f64, read: f64) -> Result<()> {
    let megabytes = std::fs::metadata(path)?.len() as f64 / 1e6;
    println!("{name:<20} {megabytes:7.2} MB  write {:6.1} ms  read {:6.1} ms", write * 1e3, read * 1e3);
    Ok(())
}

/// A trace as models draw them: few tokens often and many seldom, most log-probs near 0.
fn trace(number: u64, tokens: usize) -> Trace {
    let mut state = number + 1;
    let mut uniform = move || {
        // An xorshift generator: its numbers need only not compress.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let vocabulary = 151_936_f64;
    let token_ids = (0..tokens).map(|_| vocabulary.powf(uniform()) as u32).collect();
    let logprobs = (0..tokens).map(|_| -(uniform().ln().powi(2) * uniform().powi(6)) as f32).collect();
    Trace { id: format!("q{}", number / 8), sample: number % 8, token_ids, logprobs, closed: true }
}
