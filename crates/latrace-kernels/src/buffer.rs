//! Memory that begins at a cache line, in large pages where there is much of it.

use crate::large_pages;
use crate::tile::LINE;
use std::ops::{Deref, DerefMut};

/// f32 memory of the CPU. It begins at a cache line: rows of products that would lie across two of them take up to
/// twice the time.
#[derive(Debug)]
pub struct Buffer {
    memory: Vec<f32>,
    /// Where the values begin.
    first: usize,
    length: usize,
}

impl Buffer {
    /// No memory.
    pub const fn new() -> Self {
        Self { memory: Vec::new(), first: 0, length: 0 }
    }

    /// `length` zeros, which take memory when they are first written.
    pub fn zeros(length: usize) -> Self {
        if length == 0 {
            return Self::new();
        }
        let memory = large_pages::zeros(length + LINE - 1);
        let first = to_line(&memory);
        Self { memory, first, length }
    }

    /// Makes room for `length` values, which are zeros then if there was none.
    pub(crate) fn reserve(&mut self, length: usize) {
        if self.length < length {
            // The old memory is freed first, so that old and new are never held at the same time.
            *self = Self::new();
            *self = Self::zeros(length);
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut buffer = Self::zeros(self.len());
        buffer.copy_from_slice(self);
        buffer
    }
}

/// Values before the first that begins a cache line.
fn to_line(memory: &[f32]) -> usize {
    memory.as_ptr().align_offset(LINE * size_of::<f32>())
}

impl From<Vec<f32>> for Buffer {
    /// Takes the memory over if it begins at a cache line, and copies it if not.
    fn from(memory: Vec<f32>) -> Self {
        if to_line(&memory) == 0 {
            let length = memory.len();
            return Self { memory, first: 0, length };
        }
        let mut buffer = Self::zeros(memory.len());
        buffer.copy_from_slice(&memory);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.first..][..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.first..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_begins_at_a_line_and_holds_its_values() {
        for length in [0, 1, 15, 16, 17, 1000, (1 << 20) + 3] {
            let values: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let buffer = Buffer::from(values.clone());
            let zeros = Buffer::zeros(length);
            assert!(zeros.len() == length && zeros.iter().all(|x| *x == 0.0));
            for copy in [buffer.clone(), buffer] {
                assert_eq!(copy[..], values);
                assert!(length == 0 || copy.as_ptr().addr().is_multiple_of(64), "{length}");
            }
        }
    }

    #[test]
    fn grows_but_never_shrinks() {
        let mut buffer = Buffer::zeros(5);
        buffer[4] = 2.0;
        buffer.reserve(3);
        assert_eq!(buffer[..], [0.0, 0.0, 0.0, 0.0, 2.0]);
        buffer.reserve(40);
        assert_eq!(buffer.len(), 40);
    }
}
