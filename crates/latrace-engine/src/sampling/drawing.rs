//! Samples of prompts, but for those that were finished before: each is handed on as soon as it is there.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use latrace_lm::Sampler;

use super::journal::Finished;
use super::missing::{Draws, Missing, Prompt, Spent};
use latrace_io::progress::Progress;

/// Whether log-probs of samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logprobs {
    /// They are.
    Kept,
    /// Nobody asks for them.
    Dropped,
}

/// Samples by prompt and number.
pub type Samples = BTreeMap<(usize, u64), Finished>;

/// All samples, and what drawing them took.
#[derive(Debug)]
pub struct Drawn {
    /// All of them, earlier ones too.
    pub samples: Samples,
    /// How many were finished before.
    pub earlier: usize,
    /// What drawing the others took.
    pub spent: Spent,
}

/// Draws what `earlier` lacks with the sampler that `make` gives, which is not asked for where nothing is
/// left. `keep` gets each sample, by its prompt's place, in the order in which they finish.
///
/// # Errors
/// Earlier samples that nobody asked for, what `make` or `keep` refuse, and prompts that do not fit the model
/// or its memory, by their id.
pub fn draw(
    draws: &Draws<'_>,
    logprobs: Logprobs,
    prompts: &[Prompt],
    earlier: Vec<Finished>,
    make: impl FnOnce() -> Result<Sampler>,
    keep: &mut dyn FnMut(usize, &Finished) -> Result<()>,
) -> Result<Drawn> {
    let mut samples = place(draws, prompts, earlier)?;
    let earlier = samples.len();
    if earlier > 0 {
        tracing::info!("{earlier} samples were finished before");
    }
    let asked: Vec<&Prompt> = prompts.iter().collect();
    let missing = Missing::new(draws, &asked, |place, number| samples.contains_key(&(place, number as u64)));
    let mut spent = Spent::default();
    if !missing.is_empty() {
        let mut sampler = make()?;
        let mut progress = Progress::new("samples", earlier as u64, Some(prompts.len() as u64 * draws.n));
        spent = missing.draw(&mut sampler, &mut progress, &mut |mut sample| {
            if logprobs == Logprobs::Dropped {
                sample.logp.clear();
            }
            let finished = Finished::new(prompts[sample.request].id.clone(), &sample);
            keep(sample.request, &finished)?;
            samples.insert((sample.request, finished.sample), finished);
            Ok(())
        })?;
        progress.finish();
        summarise(&samples, spent, &sampler);
    }
    Ok(Drawn { samples, earlier, spent })
}

/// Earlier samples by prompt and number.
fn place(draws: &Draws<'_>, prompts: &[Prompt], earlier: Vec<Finished>) -> Result<Samples> {
    let places: HashMap<String, usize> =
        prompts.iter().enumerate().map(|(i, prompt)| (prompt.id.to_string(), i)).collect();
    let keyed = earlier.into_iter().map(|sample| {
        let place = places.get(&sample.id.to_string()).filter(|_| sample.sample < draws.n);
        let place = place.with_context(|| {
            format!(
                "the journal has sample {} of id {}, which the data does not ask for",
                sample.sample, sample.id
            )
        })?;
        Ok(((*place, sample.sample), sample))
    });
    keyed.collect()
}

fn summarise(samples: &Samples, Spent { tokens, seconds }: Spent, sampler: &Sampler) {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    samples.values().for_each(|sample| *reasons.entry(&sample.stop_reason).or_default() += 1);
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    tracing::info!(
        "{} samples ({}); {tokens} tokens drawn in {seconds:.1} s, {:.0} a second; {} tokens of prompts read; {:.1} MB of keys and values at most",
        samples.len(),
        reasons.join(", "),
        tokens as f64 / seconds,
        sampler.prefilled(),
        sampler.peak_cache_bytes() as f64 / 1e6
    );
}
