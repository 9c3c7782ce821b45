//! Weights, bounds and selection from Parquet parts: `cargo bench -p latrace --bench weigh -- [QUESTIONS
//! TRACES TOKENS ANSWERS]`.
//!
//! Makes traces and scores of random log-probs in a temporary folder (twice QUESTIONS × TRACES × TOKENS × 4
//! bytes), and prints seconds and peak memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use latrace_objective::Rng;
use latrace_run::weigh::{WeighConfig, WeighInputs, weigh};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;

/// Questions in one part.
const PART: usize = 500;

fn main() -> anyhow::Result<()> {
    let mut numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if numbers.len() != 4 {
        numbers = vec![17_000, 8, 5_000, 8];
    }
    let [questions, traces, tokens, answers] = [numbers[0], numbers[1], numbers[2], numbers[3]];
    let folder = tempfile::tempdir()?;
    for (name, seed) in [("traces", 1), ("scores", 2)] {
        std::fs::create_dir(folder.path().join(name))?;
        let part = |part: usize| {
            let path = folder.path().join(name).join(format!("part-{part:05}.parquet"));
            write_part(&path, part * PART..questions.min((part + 1) * PART), traces, tokens, seed)
        };
        (0..questions.div_ceil(PART)).into_par_iter().try_for_each(part)?;
    }
    let verdicts = folder.path().join("verdicts.jsonl");
    write_verdicts(&verdicts, questions, traces, answers)?;
    let inputs = WeighInputs {
        traces: folder.path().join("traces"),
        scores: folder.path().join("scores"),
        verdicts: Some(verdicts),
        references: None,
    };
    let config = WeighConfig { length_limit: usize::MAX, ..WeighConfig::default() };
    let before = latrace_engine::cpu::peak_memory_bytes();
    let start = Instant::now();
    let (rows, summary) = weigh(&inputs, &config)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = latrace_engine::cpu::peak_memory_bytes();
    println!(
        "{} traces of {} questions, {tokens} tokens each: {seconds:.1} s; peak memory {:.2} GB (making the data: {:.2} GB)",
        rows.len(),
        summary.questions,
        after as f64 / 1e9,
        before as f64 / 1e9
    );
    Ok(())
}

fn write_part(
    path: &Path,
    questions: std::ops::Range<usize>,
    traces: usize,
    tokens: usize,
    seed: u64,
) -> anyhow::Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(512))
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for question in questions {
        let mut rng = Rng::at(seed, &[question as u64]);
        let mut lists = ListBuilder::new(Float32Builder::with_capacity(traces * tokens));
        for _ in 0..traces {
            (0..tokens).for_each(|_| lists.values().append_value(-rng.uniform() as f32));
            lists.append(true);
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![question as i64; traces]))),
            ("sample", Arc::new(Int64Array::from_iter_values(0..traces as i64))),
            ("logprobs", Arc::new(lists.finish())),
        ];
        let batch = RecordBatch::try_from_iter(columns)?;
        if writer.is_none() {
            writer =
                Some(ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties.clone()))?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}

fn write_verdicts(path: &Path, questions: usize, traces: usize, answers: usize) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut rng = Rng::new(3);
    for (question, trace) in
        (0..questions).flat_map(|question| (0..traces).map(move |trace| (question, trace)))
    {
        for answer in 0..answers {
            let verdict = if rng.uniform() < 0.5 { "correct" } else { "wrong" };
            writeln!(
                file,
                "{{\"id\":{question},\"sample\":{trace},\"answer\":{answer},\"verdict\":\"{verdict}\"}}"
            )?;
        }
    }
    Ok(file.flush()?)
}
