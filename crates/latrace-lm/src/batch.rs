//! Sequences packed end to end, and the rows of them that have a target.

/// A packed batch. Position t of a sequence predicts token t + 1.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// T token ids, sequence after sequence.
    pub ids: Vec<u32>,
    /// T positions within their sequences.
    pub positions: Vec<u32>,
    /// Sequence boundaries: sequences + 1 values from 0 to T.
    pub cu_seqlens: Vec<u32>,
    /// The R rows of 0..T whose next token is scored, increasing.
    pub rows: Vec<u32>,
    /// The R tokens scored.
    pub targets: Vec<u32>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self { cu_seqlens: vec![0], ..Self::default() }
    }

    /// Removes all sequences, keeping the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.positions.clear();
        self.cu_seqlens.truncate(1);
        self.rows.clear();
        self.targets.clear();
    }

    /// Adds a sequence. Its tokens from `first_target` (≥ 1) on are scored if `keep` returns true for them.
    pub fn push(
        &mut self,
        tokens: impl Iterator<Item = u32>,
        first_target: usize,
        keep: impl Fn(usize) -> bool,
    ) {
        let start = self.append(tokens);
        let length = self.ids.len() - start;
        for t in (first_target..length).filter(|&t| keep(t)) {
            self.push_target(start + t);
        }
    }

    /// Appends a sequence; returns where it starts.
    fn append(&mut self, tokens: impl Iterator<Item = u32>) -> usize {
        let start = self.ids.len();
        self.ids.extend(tokens);
        // Each sequence starts at position 0, as if it were alone: that is what makes packing exact.
        self.positions.extend(0..(self.ids.len() - start) as u32);
        self.cu_seqlens.push(self.ids.len() as u32);
        start
    }

    /// The token at `at` is predicted from the row before it.
    fn push_target(&mut self, at: usize) {
        self.rows.push((at - 1) as u32);
        self.targets.push(self.ids[at]);
    }

    /// Tokens in all sequences.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens of the longest sequence: all positions are below it.
    pub fn longest(&self) -> usize {
        self.positions.iter().max().map_or(0, |&position| position as usize + 1)
    }
}

/// Splits rows, in order, into runs of at most `budget` tokens each; a row longer than that is a run of its
/// own.
pub fn runs(lengths: &[usize], budget: usize) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    // Greedy and in order: which rows share a run follows from the lengths alone, so that results can be
    // reproduced.
    let (mut first, mut tokens) = (0, 0);
    for (i, &length) in lengths.iter().enumerate() {
        if i > first && tokens + length > budget {
            runs.push(first..i);
            (first, tokens) = (i, 0);
        }
        tokens += length;
    }
    if first < lengths.len() {
        runs.push(first..lengths.len());
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_rows_in_order_within_the_budget() {
        assert_eq!(runs(&[3, 3, 3, 9, 1], 6), [0..2, 2..3, 3..4, 4..5]);
        assert!(runs(&[], 6).is_empty());
    }

    #[test]
    fn positions_restart_and_rows_precede_targets() {
        let mut batch = Batch::new();
        batch.push([5, 6, 7].into_iter(), 1, |_| true);
        batch.push([8, 9, 4].into_iter(), 2, |_| true);
        assert_eq!(batch.positions, [0, 1, 2, 0, 1, 2]);
        assert_eq!(batch.cu_seqlens, [0, 3, 6]);
        assert_eq!(batch.rows, [0, 1, 4]);
        assert_eq!(batch.targets, [6, 7, 4]);
    }
}
