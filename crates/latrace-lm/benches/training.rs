//! Training steps on random tokens: `cargo bench -p latrace-lm --bench training -- MODEL_DIR ROWS
//! TOKENS_PER_ROW STEPS`.
//!
//! Prints tokens per second of each update; for profiling the step alone, without rows or tokenizer.

use latrace_lm::train::Trainer;
use latrace_lm::{Error, Model, TrainConfig, TrainRow};
use std::path::Path;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [dir, rows, length, steps] = arguments.as_slice() else {
        eprintln!("usage: training MODEL_DIR ROWS TOKENS_PER_ROW STEPS");
        return Ok(());
    };
    let number = |text: &String| text.parse::<usize>().map_err(|e| Error::Invalid(format!("{text}: {e}")));
    let (rows, length, steps) = (number(rows)?, number(length)?, number(steps)?);
    let model = Model::load(Path::new(dir))?;
    let vocabulary = model.config.vocab_size.min(700);
    let row = |i: usize| TrainRow {
        id: i.to_string(),
        tokens: (0..length).map(|t| ((i * 7919 + t * 104_729) % vocabulary) as u32).collect(),
        prompt_len: length / 3,
        weights: vec![1.0; length - length / 3],
        policy: None,
    };
    let config = TrainConfig { batch_size: rows, max_steps: Some(steps as u64), ..TrainConfig::default() };
    let mut trainer = Trainer::new(model, config, (0..rows).map(row).collect())?;
    for _ in 0..steps {
        println!("{:.0} tokens/s", trainer.update()?.tokens_per_second);
    }
    Ok(())
}
