//! Requests that wait for a place at a server.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What waits, by server. A worker without work takes what waits for another server, if more waits there than
/// that server's own workers can take at once.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    /// By server.
    bells: Vec<Condvar>,
}

struct State<T> {
    lines: Vec<Line<T>>,
    is_closed: bool,
}

struct Line<T> {
    waiting: VecDeque<T>,
    /// Workers that have nothing to do.
    idle: usize,
}

impl<T> Line<T> {
    /// What its own workers cannot take at once.
    fn excess(&self) -> usize {
        self.waiting.len().saturating_sub(self.idle)
    }
}

impl<T> Queue<T> {
    pub fn new(servers: usize) -> Queue<T> {
        let lines = (0..servers).map(|_| Line { waiting: VecDeque::new(), idle: 0 }).collect();
        let bells = (0..servers).map(|_| Condvar::new()).collect();
        Queue { state: Mutex::new(State { lines, is_closed: false }), bells }
    }

    /// Adds work for a server.
    pub fn push(&self, server: usize, work: T) {
        let mut state = self.lock();
        state.lines[server].waiting.push_back(work);
        let helper = state.lines.iter().position(|line| line.idle > line.waiting.len());
        let has_excess = state.lines[server].excess() > 0;
        drop(state);
        self.bells[server].notify_one();
        if let Some(helper) = helper.filter(|_| has_excess) {
            self.bells[helper].notify_one();
        }
    }

    /// Takes work for a server, waiting up to `limit` for it. None if there is none, or the queue is closed.
    pub fn take(&self, server: usize, limit: Duration) -> Option<T> {
        let mut state = self.lock();
        if let Some(work) = state.next(server) {
            return Some(work);
        }
        if state.is_closed {
            return None;
        }
        state.lines[server].idle += 1;
        let waited = self.bells[server].wait_timeout(state, limit);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.lines[server].idle -= 1;
        state.next(server)
    }

    /// Drops what waits, and lets workers end.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.lines.iter_mut().for_each(|line| line.waiting.clear());
        drop(state);
        self.bells.iter().for_each(Condvar::notify_all);
    }

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn next(&mut self, server: usize) -> Option<T> {
        if let Some(work) = self.lines[server].waiting.pop_front() {
            return Some(work);
        }
        let longest = self.lines.iter_mut().max_by_key(|line| line.excess())?;
        // The last: those before it are the next of a server that may have their prompts in its cache.
        if longest.excess() > 0 { longest.waiting.pop_back() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn work_is_taken_in_order_and_from_the_end_of_other_lines() {
        let queue = Queue::new(2);
        for work in 0..4 {
            queue.push(0, work);
        }
        queue.push(1, 9);
        assert_eq!(queue.take(1, NOW), Some(9));
        assert_eq!(queue.take(1, NOW), Some(3));
        assert_eq!((queue.take(0, NOW), queue.take(0, NOW)), (Some(0), Some(1)));
        assert_eq!((queue.take(1, NOW), queue.take(1, NOW)), (Some(2), None));
    }

    #[test]
    fn work_that_a_servers_own_workers_can_take_is_left_to_them() {
        let queue = Queue::new(2);
        queue.lock().lines[0].idle = 1;
        queue.push(0, 1);
        assert_eq!(queue.take(1, NOW), None);
        queue.push(0, 2);
        assert_eq!(queue.take(1, NOW), Some(2));
        assert_eq!(queue.take(0, NOW), Some(1));
    }

    #[test]
    fn a_closed_queue_has_no_work() {
        let queue = Queue::new(1);
        queue.push(0, 1);
        queue.close();
        assert_eq!((queue.take(0, Duration::from_secs(600)), queue.is_closed()), (None, true));
    }
}
