//! Reference counts and contents of the cache's blocks: prefixes are shared, also with sequences that have
//! already finished.
//!
//! A full block is identified by its tokens and by the block before it, so that equal prefixes have equal
//! blocks. Unheld blocks keep their contents until they are evicted, least recently used first.

use latrace_kernels::CACHE_BLOCK;
use std::collections::{BTreeMap, HashMap};

/// A full block's name. Names are never reused, so that none can refer to contents that were evicted.
pub(crate) type Serial = u64;

/// The contents of a full block: the block before it, and its tokens.
type Contents = (Option<Serial>, Box<[u32]>);

#[derive(Debug, Default)]
struct Block {
    holders: u32,
    /// Set once the block is full and known.
    known: Option<(Serial, Contents)>,
    /// When its last holder released it.
    idle_since: u64,
}

/// The blocks of a cache.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    free: Vec<u32>,
    /// Known blocks without holders, by when they became so.
    idle: BTreeMap<u64, u32>,
    by_contents: HashMap<Contents, u32>,
    clock: u64,
    /// Most blocks held at once so far.
    pub peak: usize,
}

impl Blocks {
    /// Adds blocks, up to `count` in all.
    pub fn grow(&mut self, count: usize) {
        let before = self.blocks.len();
        self.blocks.resize_with(count.max(before), Block::default);
        // `free` is a stack: older blocks, whose memory is resident already, are taken first.
        self.free.splice(0..0, (before as u32..count as u32).rev());
    }

    /// Blocks in all.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks without holders.
    pub fn available(&self) -> usize {
        self.free.len() + self.idle.len()
    }

    fn held(&self) -> usize {
        self.blocks.len() - self.available()
    }

    /// How many of `blocks` have holders.
    pub fn held_among(&self, blocks: &[u32]) -> usize {
        blocks.iter().filter(|block| self.blocks[**block as usize].holders > 0).count()
    }

    /// Whether a block has more than one holder.
    pub fn is_shared(&self, block: u32) -> bool {
        self.blocks[block as usize].holders > 1
    }

    /// An empty block with one holder: a free one, or else the least recently used of those without holders.
    pub fn take(&mut self) -> Option<u32> {
        // Free blocks first: an idle one may still be found by its contents.
        let block = self.free.pop().or_else(|| self.evict())?;
        self.entry(block).holders = 1;
        self.peak = self.peak.max(self.held());
        Some(block)
    }

    fn evict(&mut self) -> Option<u32> {
        let (_, block) = self.idle.pop_first()?;
        if let Some((_, contents)) = self.entry(block).known.take() {
            self.by_contents.remove(&contents);
        }
        Some(block)
    }

    fn entry(&mut self, block: u32) -> &mut Block {
        &mut self.blocks[block as usize]
    }

    /// One more holder of a block that is held.
    pub fn share(&mut self, block: u32) {
        self.entry(block).holders += 1;
    }

    /// One holder less.
    pub fn release(&mut self, block: u32) {
        let entry = self.entry(block);
        entry.holders -= 1;
        if entry.holders == 0 {
            self.retire(block);
        }
    }

    /// A block without holders is idle if its contents are known, and free if not.
    fn retire(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        if entry.known.is_none() {
            self.free.push(block);
            return;
        }
        self.clock += 1;
        entry.idle_since = self.clock;
        self.idle.insert(self.clock, block);
    }

    /// Makes a block known that is about to be full of `tokens` after block `parent`: returns its name, or
    /// that of another block with the same contents.
    pub fn register(&mut self, block: u32, parent: Option<Serial>, tokens: &[u32]) -> Serial {
        debug_assert_eq!(tokens.len(), CACHE_BLOCK);
        let contents: Contents = (parent, tokens.into());
        // Two sequences may compute the same block in one pass; the second stays unknown, and is freed with
        // its sequence.
        if let Some(serial) = self.by_contents.get(&contents).and_then(|&same| self.serial(same)) {
            return serial;
        }
        self.clock += 1;
        let serial = self.clock;
        self.by_contents.insert(contents.clone(), block);
        self.entry(block).known = Some((serial, contents));
        serial
    }

    /// The known blocks that begin `tokens`, at most `limit` of them.
    pub fn prefix(&self, tokens: &[u32], limit: usize) -> Vec<u32> {
        let (mut found, mut parent) = (Vec::new(), None);
        // Block by block from the start: contents include the block before, so a match covers all before it.
        for part in tokens.chunks_exact(CACHE_BLOCK).take(limit) {
            let Some(&block) = self.by_contents.get(&(parent, Box::from(part))) else { break };
            parent = self.serial(block);
            found.push(block);
        }
        found
    }

    /// One more holder of each of the blocks, which are known; the name of the last.
    pub fn hold(&mut self, known: &[u32]) -> Option<Serial> {
        known.iter().for_each(|&block| self.hold_one(block));
        self.peak = self.peak.max(self.held());
        known.last().and_then(|&block| self.serial(block))
    }

    fn hold_one(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        if entry.holders == 0 {
            self.idle.remove(&entry.idle_since);
        }
        entry.holders += 1;
    }

    fn serial(&self, block: u32) -> Option<Serial> {
        self.blocks[block as usize].known.as_ref().map(|(serial, _)| *serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(seed: u32) -> Vec<u32> {
        (0..CACHE_BLOCK as u32).map(|i| i * 7 + seed).collect()
    }

    fn blocks(count: usize) -> Blocks {
        let mut blocks = Blocks::default();
        blocks.grow(count);
        blocks
    }

    fn find(blocks: &mut Blocks, tokens: &[u32], limit: usize) -> Vec<u32> {
        let found = blocks.prefix(tokens, limit);
        blocks.hold(&found);
        found
    }

    #[test]
    fn prefixes_are_found_until_their_place_is_needed() {
        let mut blocks = blocks(3);
        let (a, b) = (blocks.take().unwrap(), blocks.take().unwrap());
        let first = blocks.register(a, None, &tokens(1));
        blocks.register(b, Some(first), &tokens(2));
        let text = [tokens(1), tokens(2), tokens(3)].concat();
        assert_eq!(find(&mut blocks, &text, 9), [a, b]);
        assert_eq!(find(&mut blocks, &text, 1), [a]);
        assert!(
            blocks.prefix(&tokens(2), 9).is_empty(),
            "the same tokens after something else are other contents"
        );
        assert!(blocks.is_shared(a) && blocks.held_among(&[a, b, 2]) == 2);
        for block in [a, b, a, b, a] {
            blocks.release(block);
        }
        assert_eq!((blocks.held(), blocks.available()), (0, 3));
        assert_eq!(find(&mut blocks, &text, 9), [a, b], "contents outlive their holders");
        blocks.release(b);
        blocks.release(a);
        // The free block first, then the longest unused.
        assert_eq!([blocks.take(), blocks.take()].map(Option::unwrap), [2, b]);
        assert_eq!(find(&mut blocks, &text, 9), [a]);
        assert_eq!(blocks.take(), None, "all are held");
        assert_eq!(blocks.peak, 3);
        blocks.grow(5);
        assert_eq!([blocks.take(), blocks.take(), blocks.take()], [Some(3), Some(4), None]);
    }

    #[test]
    fn equal_contents_have_one_name() {
        let mut blocks = blocks(2);
        let (a, b) = (blocks.take().unwrap(), blocks.take().unwrap());
        let name = blocks.register(a, None, &tokens(1));
        assert_eq!(blocks.register(b, None, &tokens(1)), name);
        blocks.release(b);
        assert_eq!(blocks.free, [b], "the second copy has no name to be found by");
    }
}
