//! Rows with a prompt in common, laid out so that the prompt is read once: its keys and values stand in blocks that the
//! responses share, as in sampling.

use super::ScoreRow;
use latrace_kernels::{CACHE_BLOCK, CacheSpan};
use std::ops::Range;

/// A pass over the tokens of several prompts and their responses.
#[derive(Default)]
pub(super) struct SharedPass {
    /// T token ids: of each prompt, then of its responses, but for their last tokens, which predict nothing.
    pub ids: Vec<u32>,
    /// T positions within their sequences.
    pub positions: Vec<u32>,
    /// The rows of 0..T that predict the targets; the last row of a prompt predicts the first token of each response.
    pub rows: Vec<u32>,
    /// The tokens scored, row by row.
    pub targets: Vec<u32>,
    /// Prompts, then responses, in the cache.
    pub prompts: Vec<CacheSpan>,
    pub responses: Vec<CacheSpan>,
    /// The blocks of each span's sequence.
    pub blocks: Vec<u32>,
    /// Blocks that a response begins in the middle of, and what it has for it.
    pub copies: Vec<(u32, u32)>,
    /// Blocks in use.
    pub count: u32,
}

impl SharedPass {
    pub fn of(rows: &[ScoreRow]) -> Self {
        let mut pass = Self::default();
        let groups = rows.chunk_by(|a, b| a.prompt == b.prompt);
        groups.for_each(|group| pass.push(group));
        pass
    }

    /// The positions that are needed.
    pub fn longest(&self) -> usize {
        self.positions.iter().max().map_or(0, |&position| position as usize + 1)
    }

    fn push(&mut self, group: &[ScoreRow]) {
        let prompt = &group[0].prompt;
        let (own, predicting) =
            (self.new_blocks(prompt.len().div_ceil(CACHE_BLOCK)), self.ids.len() + prompt.len() - 1);
        let span = self.push_span(prompt, 0, own.clone());
        self.prompts.push(span);
        for row in group {
            self.push_response(&row.response, prompt.len(), own.clone(), predicting as u32);
        }
    }

    fn push_response(&mut self, response: &[u32], position: usize, prompt: Range<u32>, predicting: u32) {
        let (first, read) = (self.ids.len() as u32, &response[..response.len() - 1]);
        self.rows.push(predicting);
        self.rows.extend(first..first + read.len() as u32);
        self.targets.extend(response);
        if read.is_empty() {
            return;
        }
        let full = prompt.start..prompt.start + (position / CACHE_BLOCK) as u32;
        let own = self.new_blocks((position + read.len()).div_ceil(CACHE_BLOCK) - full.len());
        if full.end < prompt.end {
            self.copies.push((full.end, own.start));
        }
        let span = self.push_span(read, position, full.chain(own));
        self.responses.push(span);
    }

    fn new_blocks(&mut self, count: usize) -> Range<u32> {
        let first = self.count;
        self.count += count as u32;
        first..self.count
    }

    fn push_span(&mut self, tokens: &[u32], position: usize, blocks: impl Iterator<Item = u32>) -> CacheSpan {
        let span = CacheSpan { row: self.ids.len(), rows: tokens.len(), position, blocks: self.blocks.len() };
        self.ids.extend(tokens);
        self.positions.extend((position..position + tokens.len()).map(|position| position as u32));
        self.blocks.extend(blocks);
        span
    }
}

/// Whether rows beside each other have a prompt in common.
pub(super) fn shares_prompts(rows: &[ScoreRow]) -> bool {
    rows.windows(2).any(|pair| pair[0].prompt == pair[1].prompt)
}

/// Splits rows, in order, into passes of at most `budget` tokens each, where a prompt counts once for rows beside each
/// other; a row longer than that is a pass of its own.
pub(super) fn passes(rows: &[ScoreRow], budget: usize) -> Vec<Range<usize>> {
    let mut passes = Vec::new();
    let (mut first, mut tokens) = (0, 0);
    for (i, row) in rows.iter().enumerate() {
        let is_shared = i > first && rows[i - 1].prompt == row.prompt;
        let more = row.response.len() + if is_shared { 0 } else { row.prompt.len() };
        if i > first && tokens + more > budget {
            passes.push(first..i);
            (first, tokens) = (i, 0);
        }
        // The first row of a pass reads its prompt, whoever read it before.
        tokens += if i == first { row.prompt.len() + row.response.len() } else { more };
    }
    if first < rows.len() {
        passes.push(first..rows.len());
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prompt: &[u32], response: &[u32]) -> ScoreRow {
        ScoreRow { prompt: prompt.to_vec(), response: response.to_vec() }
    }

    #[test]
    fn a_prompt_counts_once_in_a_pass() {
        let (a, b) = ([1; 10], [2; 10]);
        let rows = [row(&a, &[3; 2]), row(&a, &[4; 3]), row(&a, &[5; 2]), row(&b, &[6; 4]), row(&a, &[7])];
        assert_eq!(passes(&rows, 15), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(passes(&rows, 31), [0..4, 4..5]);
        assert_eq!(passes(&rows, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert!(passes(&[], 15).is_empty());
        assert!(shares_prompts(&rows[..2]) && !shares_prompts(&rows[2..]));
    }

    #[test]
    fn responses_follow_the_prompt_and_leave_out_what_predicts_nothing() {
        let pass = SharedPass::of(&[row(&[5, 6], &[7, 8, 9]), row(&[5, 6], &[4]), row(&[3], &[2, 1])]);
        assert_eq!(pass.ids, [5, 6, 7, 8, 3, 2]);
        assert_eq!(pass.positions, [0, 1, 2, 3, 0, 1]);
        assert_eq!(pass.rows, [1, 2, 3, 1, 4, 5]);
        assert_eq!(pass.targets, [7, 8, 9, 4, 2, 1]);
        assert_eq!(pass.copies, [(0, 1), (2, 3)]);
        assert_eq!((pass.count, pass.longest()), (4, 4));
    }
}
