//! Course of the learning rate, and order of the rows.
//!
//! Differs in: transformers starts its warm-up at rate 0, so that its first update does nothing; ours starts
//! at the first step of the ramp. After warm-up the two agree.

use crate::train_config::{Schedule, TrainConfig};
use latrace_core::random::Rng;

/// Learning rate of update `step` (0-based) of `total`.
pub fn learning_rate(config: &TrainConfig, step: u64, total: u64) -> f64 {
    let warmup = warmup_updates(config, total);
    if step < warmup {
        return config.learning_rate * (step + 1) as f64 / warmup as f64;
    }
    // At least 1, since warm-up may last for all updates.
    let progress = (step - warmup) as f64 / (total - warmup).max(1) as f64;
    config.learning_rate * config.schedule.share(progress)
}

/// Updates in which the rate rises, rounded up as in transformers.
fn warmup_updates(config: &TrainConfig, total: u64) -> u64 {
    (config.warmup_ratio * total as f64).ceil() as u64
}

impl Schedule {
    /// The share of the peak rate that is left after `progress` (0 to 1) of the updates beyond warm-up.
    fn share(self, progress: f64) -> f64 {
        match self {
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::Linear => 1.0 - progress,
            Self::Constant => 1.0,
        }
    }
}

/// Order of `count` rows in epoch `epoch`, which can be shuffled without those before it.
pub fn epoch_order(count: usize, shuffle: bool, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    if shuffle {
        Rng::at(seed, &[epoch]).shuffle(&mut order);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_rises_to_its_peak_and_falls() {
        let config = TrainConfig { learning_rate: 2.0, warmup_ratio: 0.2, ..TrainConfig::default() };
        let rates: Vec<f64> = (0..10).map(|s| learning_rate(&config, s, 10)).collect();
        assert_eq!(rates[..3], [1.0, 2.0, 2.0]);
        assert!((rates[6] - 1.0).abs() < 1e-12 && rates[9] > 0.0 && rates[9] < 0.1);
        let warm = TrainConfig { learning_rate: 3.0, warmup_ratio: 0.25, ..config.clone() };
        assert_eq!([0, 1, 2].map(|s| learning_rate(&warm, s, 10)), [1.0, 2.0, 3.0], "2.5 steps become 3");
        let linear = TrainConfig {
            schedule: Schedule::Linear,
            warmup_ratio: 0.0,
            learning_rate: 1.0,
            ..config.clone()
        };
        assert_eq!([0, 5, 9].map(|s| learning_rate(&linear, s, 10)), [1.0, 0.5, 1.0 - 0.9]);
        let constant = TrainConfig { schedule: Schedule::Constant, ..linear };
        assert_eq!(learning_rate(&constant, 9, 10), 1.0);
    }

    #[test]
    fn order_is_a_permutation_of_its_own_seed_and_epoch() {
        let order = epoch_order(50, true, 1, 0);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(order, epoch_order(50, true, 1, 0));
        assert_ne!(order, epoch_order(50, true, 1, 1));
        assert_ne!(order, epoch_order(50, true, 2, 0));
        assert_eq!(epoch_order(3, false, 1, 1), [0, 1, 2]);
    }

    /// A run that was interrupted under an earlier version resumes in the order it began with.
    #[test]
    fn order_is_that_of_earlier_runs() {
        assert_eq!(epoch_order(8, true, 4, 2), [0, 7, 1, 6, 4, 3, 5, 2]);
    }

    /// Rows may stay where they are: the identity is one of the orders.
    #[test]
    fn every_order_is_possible() {
        let orders = (0..200).map(|seed| epoch_order(3, true, seed, 0));
        assert_eq!(orders.collect::<std::collections::BTreeSet<_>>().len(), 6);
    }
}
