//! Weights, bounds and selection from Parquet parts: `cargo bench -p latrace --bench weigh -- [QUESTIONS
//! TRACES TOKENS ANSWERS]`.
//!
//! Makes traces and scores of random log-probs in a temporary folder (twice QUESTIONS × TRACES × TOKENS × 4
//! bytes), and prints seconds and peak memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use latrace_io::record;
use latrace_io::table::Table;
use latrace_objective::Rng;
use latrace_run::weigh::{WeighConfig, WeighInputs, weigh};
use rayon::prelude::*;

/// Questions in one part.
const PART: usize = 64;

struct Scored {
    id: String,
    sample: u64,
    logprobs: Vec<f32>,
}

record!(Scored, "scored", { id, sample, logprobs });

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
            let questions = part * PART..questions.min((part + 1) * PART);
            let records: Vec<Scored> =
                questions.flat_map(|question| scored(question, traces, tokens, seed)).collect();
            Table::create(&folder.path().join(name), "key").write(part, &records)
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

fn scored(question: usize, traces: usize, tokens: usize, seed: u64) -> impl Iterator<Item = Scored> {
    let mut rng = Rng::at(seed, &[question as u64]);
    (0..traces as u64).map(move |sample| Scored {
        id: question.to_string(),
        sample,
        logprobs: (0..tokens).map(|_| -rng.uniform() as f32).collect(),
    })
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
                "{{\"id\":\"{question}\",\"sample\":{trace},\"answer\":{answer},\"verdict\":\"{verdict}\"}}"
            )?;
        }
    }
    Ok(file.flush()?)
}
