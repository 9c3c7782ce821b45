//! Training steps on random tokens: `cargo bench -p latrace-lm --bench training -- MODEL_DIR ROWS
//! TOKENS_PER_ROW STEPS`.
//!
//! Prints tokens per second of each update; for profiling the step alone, without rows or tokenizer.

use latrace_lm::{Error, Model, RowSource, TrainConfig, TrainPlan, TrainRow, Trainer, Weights};
use std::path::Path;
use std::time::Instant;

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
        weights: Weights::Row(1.0),
        policy: None,
    };
    let config = TrainConfig { batch_size: rows, max_steps: Some(steps as u64), ..TrainConfig::default() };
    let rows: Vec<TrainRow> = (0..rows).map(row).collect();
    let plan = TrainPlan::new(&rows, &config, model.config.max_positions)?;
    let mut trainer = Trainer::new(model, config)?;
    for update in plan.updates_after(0) {
        let start = Instant::now();
        let outcome = trainer.update(&update, plan.divisor, &rows.read(&update.rows)?)?;
        println!("{:.0} tokens/s", outcome.tokens as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}
