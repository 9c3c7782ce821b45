//! How much may be computed for one comparison.
//!
//! Work is counted, not timed, so that a verdict never depends on the machine: a unit is some 100 nanoseconds
//! of a slow one. A comparison that uses up its work says nothing, whatever was found until then.

use std::cell::Cell;

/// Units for the comparison of two answers, with the reading of one.
pub(super) const COMPARISON: u64 = 400_000;
/// Units for reading a text, in which only determinants and very long numbers take more than a few.
pub(super) const READING: u64 = 150_000;

thread_local! {
    // Arithmetic is reached by many ways through the comparison, all of which would have to hand this on.
    // Outside of [`bounded`] there is no bound.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// What is left outside of a bound, restored however its work ends: a panic must not bound what comes after.
struct Outside(u64);

impl Drop for Outside {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

/// What `run` returns within so many units of those that are left; `None` where it has used them up.
pub(super) fn bounded<T>(units: u64, run: impl FnOnce() -> T) -> Option<T> {
    let mut outside = Outside(LEFT.get());
    let units = units.min(outside.0);
    LEFT.set(units);
    let value = run();
    let left = LEFT.get();
    outside.0 -= units - left;
    (left > 0).then_some(value)
}

/// The same with units of its own: what is kept for other comparisons must not depend on the first of them.
pub(super) fn apart<T>(units: u64, run: impl FnOnce() -> T) -> Option<T> {
    let _outside = Outside(LEFT.replace(u64::MAX));
    bounded(units, run)
}

/// Takes units; `None` from when there are not enough.
pub(super) fn spend(units: u64) -> Option<()> {
    charge(units);
    (LEFT.get() > 0).then_some(())
}

/// Takes units for what is done already.
pub(super) fn charge(units: u64) {
    LEFT.set(LEFT.get().saturating_sub(units));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uses_up_its_work_says_nothing() {
        assert_eq!(bounded(10, || spend(9)), Some(Some(())));
        assert_eq!(bounded(10, || spend(10)), None);
        // What is spent within is spent outside.
        assert_eq!(bounded(10, || bounded(5, || spend(7))), Some(None));
        assert_eq!(bounded(10, || (bounded(5, || spend(7)), spend(5)).1), None);
        assert_eq!(bounded(10, || bounded(20, || spend(15))), None);
        assert_eq!(bounded(10, || (apart(20, || spend(15)), spend(9)).1), Some(Some(())));
        let panics = || bounded(10, || std::panic::panic_any(()));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(spend(11), Some(()));
    }
}
