//! Threads that stand by for many short parallel loops.
//!
//! A pool's threads go to sleep between loops, and waking one takes longer than many a loop of decoding. While
//! a [`Team`] is led, the pool's threads spin instead of sleeping: a loop begins within a fraction of a
//! microsecond. Which thread runs a task affects nothing but time.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// Checks of the state before a waiting thread yields to others: some 10 microseconds.
const SPINS: u32 = 300;

/// What loops on this thread run on.
#[derive(Clone, Copy)]
enum Role {
    /// The pool.
    Alone,
    /// The team that this thread leads.
    Leader(*const Team),
    /// This thread, since it is inside a task.
    Member,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Alone) };
}

/// Runs `body` on this thread, with the other threads of the current pool standing by for its parallel loops.
///
/// They do nothing else in the meantime: `body` may use the pool in other ways, but gains nothing from it.
pub fn standing_by<R>(body: impl FnOnce() -> R) -> R {
    if matches!(ROLE.get(), Role::Leader(_) | Role::Member) {
        return body();
    }
    let team = Team::default();
    rayon::in_place_scope(|scope| {
        for _ in 1..rayon::current_num_threads() {
            scope.spawn(|_| team.help());
        }
        let _closing = Closing(&team);
        let _role = Playing::new(Role::Leader(&team));
        body()
    })
}

/// Runs `body` on this thread, and its parallel loops, too: for a task whose parts are too short to share.
pub(crate) fn on_this_thread<R>(body: impl FnOnce() -> R) -> R {
    let _role = Playing::new(Role::Member);
    body()
}

/// Whether a loop on this thread begins at once.
pub(crate) fn is_standing_by() -> bool {
    matches!(ROLE.get(), Role::Leader(_))
}

/// Runs `task` on each of `0..count` if this thread has a team or belongs to one; returns whether it does.
pub(crate) fn run(count: usize, task: &Task<'_>) -> bool {
    match ROLE.get() {
        Role::Alone => return false,
        Role::Member => (0..count).for_each(task),
        // SAFETY: the role is set only while the team lives, on its leader's stack.
        Role::Leader(team) => unsafe { &*team }.lead(count, task),
    }
    true
}

/// Sets the thread's role, and restores the previous one when dropped.
struct Playing(Role);

impl Playing {
    fn new(role: Role) -> Self {
        Self(ROLE.replace(role))
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        ROLE.set(self.0);
    }
}

/// Dismisses the helpers, also when the leader unwinds.
struct Closing<'a>(&'a Team);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.store(CLOSED, Ordering::SeqCst);
    }
}

/// The state in which helpers leave; even numbers otherwise mean that there is nothing to do, odd ones name a
/// loop.
const CLOSED: u64 = u64::MAX - 1;

/// One leader, who has loops to run, and helpers.
#[derive(Default)]
struct Team {
    state: AtomicU64,
    /// The loop that `state` names. Written by the leader while no helper is inside, read by helpers inside
    /// alone.
    work: UnsafeCell<Option<(*const Task<'static>, usize)>>,
    /// The next task that has not been taken.
    next: AtomicUsize,
    /// Helpers that may be looking at `work`.
    inside: AtomicUsize,
    /// A helper's task has panicked.
    failed: AtomicBool,
}

// SAFETY: `work` is only accessed under the protocol of `lead` and `help`; the task it points to is `Sync`.
unsafe impl Sync for Team {}

impl Team {
    fn lead(&self, count: usize, task: &Task<'_>) {
        let _role = Playing::new(Role::Member);
        // SAFETY: only the lifetime changes. Nobody is left who could use the pointer when `Retreat` is
        // dropped, which is before this function ends.
        let task: *const Task<'static> = unsafe { std::mem::transmute(std::ptr::from_ref(task)) };
        // SAFETY: `state` names no loop and nobody is inside, as `Retreat` left it: helpers that come in now
        // see the state and leave again.
        unsafe { *self.work.get() = Some((task, count)) };
        self.next.store(0, Ordering::Relaxed);
        self.state.fetch_add(1, Ordering::SeqCst);
        {
            let _retreat = Retreat(self);
            // SAFETY: the caller's task, which outlives this call.
            self.take_tasks(unsafe { &*task }, count);
        }
        assert!(
            !self.failed.load(Ordering::SeqCst),
            "a task on another thread has panicked; its message stands above"
        );
    }

    fn take_tasks(&self, task: &Task<'_>, count: usize) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            task(index);
        }
    }

    fn help(&self) {
        let _role = Playing::new(Role::Member);
        let mut seen = 0;
        loop {
            seen = wait_until(|| {
                Some(self.state.load(Ordering::SeqCst))
                    .filter(|&state| state == CLOSED || (state % 2 == 1 && state != seen))
            });
            if seen == CLOSED {
                return;
            }
            self.inside.fetch_add(1, Ordering::SeqCst);
            let _leaving = Leaving(self);
            // The leader changes the state before it checks whether a helper is inside. All of these accesses
            // are in one order (SeqCst), so either the leader sees this helper, or the helper the new state.
            if self.state.load(Ordering::SeqCst) == seen {
                // SAFETY: the state still names the loop and this helper is inside, so the leader neither
                // writes `work` nor returns, which would end the task's lifetime.
                if let Some((task, count)) = unsafe { *self.work.get() } {
                    // SAFETY: as above.
                    self.take_tasks(unsafe { &*task }, count);
                }
            }
        }
    }
}

/// Ends a loop: advances the state and waits until no helper is inside, also when the leader's own task panics.
struct Retreat<'a>(&'a Team);

impl Drop for Retreat<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_add(1, Ordering::SeqCst);
        wait_until(|| (self.0.inside.load(Ordering::SeqCst) == 0).then_some(()));
    }
}

/// Marks a helper as outside again, also when it unwinds.
struct Leaving<'a>(&'a Team);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::SeqCst);
        }
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Spins, at first without pause, then yielding the processor to other threads between checks.
fn wait_until<T>(mut check: impl FnMut() -> Option<T>) -> T {
    let mut checks = 0;
    loop {
        if let Some(found) = check() {
            return found;
        }
        checks += 1;
        if checks < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

#[cfg(test)]
mod tests {
    use crate::parallel::for_each;
    use crate::team::standing_by;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn counts(length: usize) -> Vec<AtomicUsize> {
        (0..length).map(|_| AtomicUsize::new(0)).collect()
    }

    #[test]
    fn every_task_of_every_loop_runs_once() {
        let all = counts(40);
        standing_by(|| {
            for length in (0..2000).map(|i| i % 40) {
                for_each(length, |i| {
                    all[i].fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let expected: Vec<usize> = (0..40).map(|i| 50 * (39 - i)).collect();
        assert_eq!(all.iter().map(|n| n.load(Ordering::Relaxed)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn loops_and_teams_inside_a_loop_run_where_they_are() {
        let all = counts(9);
        standing_by(|| {
            for_each(3, |i| {
                standing_by(|| for_each(3, |j| assert_eq!(all[3 * i + j].fetch_add(1, Ordering::Relaxed), 0)))
            })
        });
        assert!(all.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn teams_beside_each_other_do_not_wait_for_each_other() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    standing_by(|| (0..200).for_each(|_| for_each(5, |_| std::hint::black_box(()))))
                });
            }
        });
    }

    #[test]
    fn a_panic_of_any_task_reaches_the_leader() {
        for at in 0..8 {
            let run = || standing_by(|| for_each(8, |i| assert!(i != at, "task {i}")));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        }
        standing_by(|| for_each(8, |_| {}));
    }
}
