//! Samples of prompts in memory: those of the verbs and of evaluations.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use latrace_io::progress::Progress;

use super::draw::{Drawing, MissingSamples, Prompt, PromptPlace, SampleJob, Spent, draw_missing};
use super::journal::FinishedSample;
use crate::boundary::{Completion, Generate};

/// Whether log-probs of samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logprobs {
    /// They are.
    Kept,
    /// Nothing reads them.
    Dropped,
}

/// Samples by prompt and number.
pub type Samples = BTreeMap<(usize, u64), FinishedSample>;

/// All samples, and what drawing them took.
#[derive(Debug)]
pub struct DrawnRows {
    /// All samples, including earlier ones.
    pub samples: Samples,
    /// How many were finished before.
    pub earlier: usize,
    /// What drawing the others took.
    pub spent: Spent,
}

/// Draws the samples that `earlier` lacks. `keep` gets each, with its prompt's place, in the order in which
/// they finish.
///
/// # Errors
/// Earlier samples of other prompts; whatever `keep` returns; as [`draw_missing`].
pub fn draw_rows(
    job: &SampleJob,
    logprobs: Logprobs,
    prompts: &[Prompt],
    earlier: Vec<FinishedSample>,
    make: impl FnOnce() -> Result<Box<dyn Generate>>,
    keep: &mut dyn FnMut(usize, &FinishedSample) -> Result<()>,
) -> Result<DrawnRows> {
    let samples = placed(job, prompts, earlier)?;
    let earlier = samples.len();
    if earlier > 0 {
        tracing::info!("{earlier} samples were already finished");
    }
    let mut progress = Progress::new("samples", earlier as u64, Some(prompts.len() as u64 * job.n));
    let mut rows = Rows { n: job.n, logprobs, prompts, next: 0, samples, keep };
    let spent = draw_missing(job, &mut rows, make, &mut progress)?;
    progress.finish();
    Ok(DrawnRows { samples: rows.samples, earlier, spent })
}

struct Rows<'a> {
    n: u64,
    logprobs: Logprobs,
    prompts: &'a [Prompt],
    next: usize,
    samples: Samples,
    keep: &'a mut dyn FnMut(usize, &FinishedSample) -> Result<()>,
}

impl Rows<'_> {
    fn missing_of(&self, prompt: usize) -> Vec<u64> {
        (0..self.n).filter(|&number| !self.samples.contains_key(&(prompt, number))).collect()
    }
}

impl Drawing for Rows<'_> {
    fn next_missing(&mut self) -> Result<Option<MissingSamples>> {
        while let Some(prompt) = self.prompts.get(self.next) {
            let at = self.next;
            self.next += 1;
            let numbers = self.missing_of(at);
            if !numbers.is_empty() {
                let place = PromptPlace { part: 0, prompt: at };
                return Ok(Some(MissingSamples { place, prompt: prompt.clone(), numbers }));
            }
        }
        Ok(None)
    }

    fn keep(&mut self, place: PromptPlace, number: u64, mut completion: Completion) -> Result<()> {
        if self.logprobs == Logprobs::Dropped {
            completion.logp.clear();
        }
        let finished = FinishedSample::new(self.prompts[place.prompt].id.clone(), number, &completion)?;
        // To the journal first: a sample that cannot be kept must not count as drawn.
        (self.keep)(place.prompt, &finished)?;
        self.samples.insert((place.prompt, number), finished);
        Ok(())
    }
}

/// Earlier samples by prompt and number.
fn placed(job: &SampleJob, prompts: &[Prompt], earlier: Vec<FinishedSample>) -> Result<Samples> {
    let places: HashMap<String, usize> =
        prompts.iter().enumerate().map(|(at, prompt)| (prompt.id.to_string(), at)).collect();
    // Ids are compared as JSON, which keeps the number 1 and the string "1" apart.
    let place = |sample: &FinishedSample| {
        let place = places.get(&sample.id.to_string()).filter(|_| sample.sample < job.n);
        place.copied().with_context(|| unexpected(sample))
    };
    earlier.into_iter().map(|sample| Ok(((place(&sample)?, sample.sample), sample))).collect()
}

fn unexpected(sample: &FinishedSample) -> String {
    let FinishedSample { id, sample, .. } = sample;
    format!("the journal has sample {sample} of id {id}, which the data does not ask for")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::StopTexts;
    use crate::random::Random;
    use latrace_core::SamplingParams;
    use serde_json::json;

    fn job() -> SampleJob {
        let (params, stop_texts) = (SamplingParams::plain(10), StopTexts::default());
        SampleJob { stage: "test", seed: 7, n: 2, params, stop_ids: vec![5], stop_texts }
    }

    fn prompts() -> [Prompt; 2] {
        [Prompt::new(json!("a"), vec![1]), Prompt::new(json!(4), vec![2])]
    }

    fn drawn(logprobs: Logprobs, earlier: Vec<FinishedSample>) -> Result<(Samples, u64)> {
        let mut kept = Samples::new();
        let mut keep = |prompt: usize, finished: &FinishedSample| {
            kept.insert((prompt, finished.sample), finished.clone());
            Ok(())
        };
        let drawn = draw_rows(&job(), logprobs, &prompts(), earlier, Random::small_generator, &mut keep)?;
        assert!(kept.iter().all(|(at, kept)| drawn.samples[at] == *kept));
        assert_eq!(drawn.samples.len(), drawn.earlier + kept.len());
        Ok((drawn.samples, drawn.spent.samples))
    }

    #[test]
    fn only_what_is_missing_is_drawn() {
        let (all, drawn_first) = drawn(Logprobs::Kept, Vec::new()).unwrap();
        assert_eq!((all.len(), drawn_first), (4, 4));
        assert!(all.values().all(|sample| sample.logprobs.len() == 6));
        for missing in all.keys() {
            let earlier = all.iter().filter(|(at, _)| *at != missing).map(|(_, sample)| sample.clone());
            assert_eq!(drawn(Logprobs::Kept, earlier.collect()).unwrap(), (all.clone(), 1));
        }
    }

    #[test]
    fn log_probs_that_nothing_reads_are_dropped() {
        let (all, _) = drawn(Logprobs::Dropped, Vec::new()).unwrap();
        assert!(all.values().all(|sample| sample.logprobs.is_empty() && sample.token_ids.len() == 6));
    }

    #[test]
    fn earlier_samples_of_other_work_are_refused() {
        let (all, _) = drawn(Logprobs::Kept, Vec::new()).unwrap();
        let sample = all[&(0, 1)].clone();
        for bad in
            [FinishedSample { sample: 2, ..sample.clone() }, FinishedSample { id: json!("b"), ..sample }]
        {
            let error = drawn(Logprobs::Kept, vec![bad]).unwrap_err().to_string();
            assert!(error.contains("which the data does not ask for"), "{error}");
        }
    }
}
