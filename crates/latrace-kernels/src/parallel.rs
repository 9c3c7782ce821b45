//! Fixed division of work over threads: who computes an output never changes how it is computed.

use crate::buffer::Buffer;
use crate::team;
use rayon::prelude::*;
use std::cell::RefCell;
use std::thread::LocalKey;

/// A pointer to one buffer that several tasks write, each its own disjoint part.
pub(crate) struct Shared<T = f32> {
    pointer: *mut T,
    length: usize,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: `Shared` only hands out parts through `part`, whose callers keep parts disjoint.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(buffer: &mut [T]) -> Self {
        Self { pointer: buffer.as_mut_ptr(), length: buffer.len() }
    }

    /// Where value `index` is.
    pub(crate) fn at(self, index: usize) -> *mut T {
        assert!(index < self.length, "value {index} of a buffer of {}", self.length);
        // SAFETY: inside the buffer by the assertion.
        unsafe { self.pointer.add(index) }
    }

    /// The `length` values from `start`.
    ///
    /// # Safety
    /// No two live parts overlap, and the buffer outlives them.
    pub(crate) unsafe fn part<'a>(self, start: usize, length: usize) -> &'a mut [T] {
        assert!(start + length <= self.length, "part {start}+{length} of a buffer of {}", self.length);
        // SAFETY: inside the buffer by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), length) }
    }
}

/// Values per task of elementwise loops: large enough to hide the cost of a task, small enough to share. Sums
/// over blocks of this size depend on it.
pub(crate) const GRAIN: usize = 1 << 14;

/// Values per task of elementwise loops on this thread: fewer while threads stand by, where a task costs
/// less.
pub(crate) fn grain() -> usize {
    if team::is_standing_by() { GRAIN / 8 } else { GRAIN }
}

/// Rows of `width` values per task.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (grain() / width.max(1)).max(1)
}

/// Columns per task where each task walks all rows in order (sums over rows).
pub(crate) const COLUMNS: usize = 64;

/// Runs `task` on each of `0..count`, on all threads.
pub(crate) fn for_each(count: usize, task: impl Fn(usize) + Sync + Send) {
    // A single task runs here: handing it to another thread would only take time.
    if count == 1 {
        task(0);
    } else if !team::run(count, &task) {
        (0..count).into_par_iter().for_each(task);
    }
}

/// Runs `task(first, columns)` over blocks of columns of a row-major matrix of `width` columns.
pub(crate) fn for_each_column_block(width: usize, task: impl Fn(usize, usize) + Sync + Send) {
    for_each(width.div_ceil(COLUMNS), |block| {
        let first = block * COLUMNS;
        task(first, COLUMNS.min(width - first));
    });
}

/// Memory that a thread keeps between tasks.
pub(crate) type Scratch = RefCell<Buffer>;

/// Lends `length` values of a thread's scratch memory; grows once, then stays.
pub(crate) fn with_scratch<R>(
    cell: &'static LocalKey<Scratch>,
    length: usize,
    body: impl FnOnce(&mut [f32]) -> R,
) -> R {
    // Taken out while in use: a task stolen meanwhile by this thread gets memory of its own.
    let mut memory = cell.take();
    memory.reserve(length);
    let result = body(&mut memory[..length]);
    cell.replace(memory);
    result
}
