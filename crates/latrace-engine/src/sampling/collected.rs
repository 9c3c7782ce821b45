//! All completions of a few requests, in memory.

use anyhow::Result;

use crate::boundary::{Completion, Generate, GenerateClient, Request};

/// Draws every sample of the requests; gives completions by request and sample.
///
/// # Errors
/// As [`Generate::generate_unchecked`].
pub fn generate_all(generator: &mut dyn Generate, requests: Vec<Request>) -> Result<Vec<Vec<Completion>>> {
    let empty = requests.iter().map(|request| vec![None; request.seeds.len()]).collect();
    let mut collected = Collected { requests: requests.into_iter(), completions: empty };
    // None is left out below: this fails if a sample is missing.
    generator.generate(&mut collected)?;
    Ok(collected.completions.into_iter().map(|samples| samples.into_iter().flatten().collect()).collect())
}

struct Collected {
    requests: std::vec::IntoIter<Request>,
    completions: Vec<Vec<Option<Completion>>>,
}

impl GenerateClient for Collected {
    fn next_request(&mut self) -> Result<Option<Request>> {
        Ok(self.requests.next())
    }

    fn finished(&mut self, request: usize, sample: usize, completion: Completion) -> Result<()> {
        self.completions[request][sample] = Some(completion);
        Ok(())
    }
}
