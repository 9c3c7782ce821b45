//! Drawing a token from logits.

use crate::log_sum_exp::largest;
use crate::parallel::{Shared, for_each};
use crate::simd::{dispatched, exp_bounded, exp_sum, max, sum_lanes};
use std::cell::RefCell;

/// How a token is drawn.
///
/// The logits are divided by `temperature`; of the resulting distribution the `top_k` most likely tokens are
/// kept, of those the fewest whose probability reaches `top_p` of theirs, of those the ones at least `min_p`
/// times as likely as the likeliest. Equal logits rank by index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// 0: the likeliest token.
    pub temperature: f32,
    /// 0: all.
    pub top_k: usize,
    /// 1: all.
    pub top_p: f32,
    /// 0: all.
    pub min_p: f32,
    /// In [0, 1): where in the cumulative distribution, tokens in the order of [`choose_reference`].
    pub uniform: f64,
}

/// A drawn token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Its id.
    pub token: u32,
    /// Its log-prob (nats) in the distribution of the original logits, before temperature and any cut.
    pub logp: f32,
}

thread_local! {
    static WEIGHTS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A token for each row of logits, which are overwritten.
///
/// # Shapes
/// `logits`: rows×vocabulary, one row for each of `draws`.
pub(crate) fn choose(logits: &mut [f32], vocabulary: usize, draws: &[Draw]) -> Vec<Choice> {
    let mut choices = vec![Choice { token: 0, logp: 0.0 }; draws.len()];
    let (logits, shared) = (Shared::new(logits), Shared::new(&mut choices));
    for_each(draws.len(), |row| {
        // SAFETY: one row per task.
        let (logits, choice) = unsafe { (logits.part(row * vocabulary, vocabulary), shared.part(row, 1)) };
        choice[0] = choose_row(logits, draws[row]);
    });
    choices
}

fn choose_row(logits: &mut [f32], draw: Draw) -> Choice {
    let token = if draw.temperature == 0.0 { likeliest(logits) } else { sample(logits, draw) };
    // Last, since it overwrites the logits.
    Choice { token: token as u32, logp: log_prob(logits, token) }
}

fn sample(logits: &[f32], draw: Draw) -> usize {
    WEIGHTS.with_borrow_mut(|weights| {
        weights.resize(logits.len(), 0.0);
        temper(weights, logits, draw.temperature);
        // Ranking costs several passes over the vocabulary, which min-p alone does not need.
        if draw.needs_ranks() { draw_ranked(weights, draw) } else { draw_any(weights, draw) }
    })
}

impl Draw {
    fn needs_ranks(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0
    }
}

fn likeliest(logits: &[f32]) -> usize {
    // Strictly greater: ties go to the lower id.
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best
}

dispatched! {
    /// e^{(logit − highest) / temperature}: the likeliest has weight 1.
    fn temper(weights: &mut [f32], logits: &[f32], temperature: f32) {
        let (top, inverse) = (max(logits), 1.0 / temperature);
        for (weight, logit) in weights.iter_mut().zip(logits) {
            *weight = exp_bounded((logit - top) * inverse);
        }
    }
}

dispatched! {
    /// As the head computes it for scoring: the same operations, the same bits.
    fn log_prob(logits: &mut [f32], token: usize) -> f32 {
        let top = max(logits);
        // Read before `exp_sum` overwrites it.
        let chosen = logits[token] - top;
        chosen - exp_sum(logits, top).ln()
    }
}

/// Values of a block in the search for the drawn one: whole blocks are skipped by their sums.
const BLOCK: usize = 256;

dispatched! {
    fn block_sum(weights: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; crate::simd::LANES];
        for block in weights.chunks(crate::simd::LANES) {
            for (lane, weight) in lanes.iter_mut().zip(block) {
                *lane += weight;
            }
        }
        sum_lanes(lanes)
    }
}

/// Inverts the cumulative distribution over all tokens, in order of their ids.
fn draw_any(weights: &mut [f32], draw: Draw) -> usize {
    if draw.min_p > 0.0 {
        weights.iter_mut().filter(|w| **w < draw.min_p).for_each(|w| *w = 0.0);
    }
    // Blocks in f32 by lanes, their sums in f64 in order: the same bits on every processor.
    let total: f64 = weights.chunks(BLOCK).map(|block| f64::from(block_sum(block))).sum();
    let mut rest = draw.uniform * total;
    let mut last = 0;
    for (i, block) in weights.chunks(BLOCK).enumerate() {
        let sum = f64::from(block_sum(block));
        if rest < sum {
            return i * BLOCK + invert(block.iter().copied(), rest);
        }
        rest -= sum;
        if sum > 0.0 {
            last = i;
        }
    }
    // Rounding left the target at the very end.
    last * BLOCK + invert(weights[last * BLOCK..].iter().take(BLOCK).copied(), f64::INFINITY)
}

/// The first index at which the cumulative weight exceeds `target`, or else the last with any weight.
fn invert(weights: impl Iterator<Item = f32>, mut target: f64) -> usize {
    let mut last = 0;
    for (i, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        last = i;
        target -= f64::from(weight);
        if target < 0.0 {
            break;
        }
    }
    last
}

/// Sum of the weights of `ids`, in their order.
fn sum(weights: &[f32], ids: &[u32]) -> f64 {
    ids.iter().map(|i| f64::from(weights[*i as usize])).sum()
}

/// Draws among the likeliest tokens, in order of rank.
fn draw_ranked(weights: &[f32], draw: Draw) -> usize {
    let limit = if draw.top_k > 0 { draw.top_k.min(weights.len()) } else { weights.len() };
    let mut order: Vec<u32> = (0..weights.len() as u32).collect();
    // Ties by id, so that the order is total and does not depend on the sorting algorithm.
    let by_rank = |a: &u32, b: &u32| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b));
    let total: f64 = if limit == weights.len() { weights.iter().map(|w| f64::from(*w)).sum() } else { 0.0 };
    // Few tokens hold most of the probability: rank only as many as are needed.
    let mut ranked = limit.min(256);
    loop {
        if ranked < order.len() {
            order.select_nth_unstable_by(ranked, by_rank);
        }
        order[..ranked].sort_unstable_by(by_rank);
        // The mass of which top-p is a share: with top-k, that of its tokens, known once all are ranked.
        let whole = if limit == weights.len() {
            total
        } else if ranked == limit {
            sum(weights, &order[..limit])
        } else {
            f64::INFINITY
        };
        let likely = order[..ranked].iter().map(|i| weights[*i as usize]);
        let kept = reaching(likely, f64::from(draw.top_p) * whole);
        if let Some(kept) = kept.or((ranked == limit).then_some(limit)) {
            return draw_among(weights, &order[..kept], draw);
        }
        ranked = limit.min(ranked * 8);
    }
}

/// Draws among ranked tokens, cut by min-p. The likeliest is always kept.
fn draw_among(weights: &[f32], ranked: &[u32], draw: Draw) -> usize {
    let likely = ranked.iter().take_while(|i| weights[**i as usize] >= draw.min_p).count().max(1);
    let kept = &ranked[..likely];
    let target = draw.uniform * sum(weights, kept);
    kept[invert(kept.iter().map(|i| weights[*i as usize]), target)] as usize
}

/// How many of the weights it takes to reach `target`.
fn reaching(weights: impl Iterator<Item = f32>, target: f64) -> Option<usize> {
    let mut sum = 0.0;
    for (i, weight) in weights.enumerate() {
        sum += f64::from(weight);
        if sum >= target {
            return Some(i + 1);
        }
    }
    None
}

/// The definition of the distribution drawn from: probabilities of all tokens.
pub fn draw_reference(logits: &[f64], temperature: f64, top_k: usize, top_p: f64, min_p: f64) -> Vec<f64> {
    let top = largest(logits);
    let weights: Vec<f64> = logits.iter().map(|l| ((l - top) / temperature).exp()).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
    order.truncate(if top_k > 0 { top_k } else { order.len() });
    let total: f64 = order.iter().map(|i| weights[*i]).sum();
    let before = |rank: usize| order[..rank].iter().map(|i| weights[*i]).sum::<f64>();
    let kept: Vec<usize> = (0..order.len())
        .filter(|&r| r == 0 || before(r) < top_p * total)
        .map(|r| order[r])
        .filter(|i| weights[*i] >= min_p)
        .collect();
    let sum: f64 = kept.iter().map(|i| weights[*i]).sum();
    (0..weights.len()).map(|i| if kept.contains(&i) { weights[i] / sum } else { 0.0 }).collect()
}

/// The definition of the draw: the token whose part of the cumulative distribution holds `draw.uniform`. Tokens
/// are in the order of their ids, or of their ranks where a cut has to rank them.
pub fn choose_reference(logits: &[f64], draw: &Draw) -> usize {
    let [temperature, top_p, min_p] = [draw.temperature, draw.top_p, draw.min_p].map(f64::from);
    let p = draw_reference(logits, temperature, draw.top_k, top_p, min_p);
    let mut order: Vec<usize> = (0..p.len()).filter(|&token| p[token] > 0.0).collect();
    if draw.needs_ranks() {
        order.sort_by(|a, b| p[*b].total_cmp(&p[*a]).then(a.cmp(b)));
    }
    let mut rest = draw.uniform;
    let chosen = order.iter().find(|&&token| {
        rest -= p[token];
        rest < 0.0
    });
    // Rounding may leave the end of the distribution just short of 1.
    chosen.or(order.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{values, wide};

    const PLAIN: Draw = Draw { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, uniform: 0.0 };

    /// The distribution, by walking `uniform` over a fine grid.
    fn check(draw: Draw) {
        let logits: Vec<f32> = values(700, 9).iter().map(|x| x * 6.0).collect();
        let expected = draw_reference(
            &wide(&logits),
            draw.temperature.into(),
            draw.top_k,
            draw.top_p.into(),
            draw.min_p.into(),
        );
        let (grid, mut seen) = (20_000, vec![0_u32; 700]);
        let draws: Vec<Draw> =
            (0..grid).map(|i| Draw { uniform: (f64::from(i) + 0.5) / f64::from(grid), ..draw }).collect();
        for draws in draws.chunks(1000) {
            let mut rows = logits.repeat(draws.len());
            choose(&mut rows, 700, draws).iter().for_each(|choice| seen[choice.token as usize] += 1);
        }
        for (seen, expected) in seen.iter().zip(expected) {
            // A token's interval of length p holds p·grid points, one more or less at each end; weights are
            // f32.
            assert!(
                (f64::from(*seen) - expected * f64::from(grid)).abs() <= 2.0 + 1e-5 * f64::from(grid),
                "{draw:?}: {seen} of {expected}"
            );
        }
    }

    #[test]
    fn inverts_the_distribution_it_says() {
        check(PLAIN);
        check(Draw { temperature: 0.7, ..PLAIN });
        check(Draw { top_k: 10, ..PLAIN });
        check(Draw { top_p: 0.6, ..PLAIN });
        check(Draw { min_p: 0.1, ..PLAIN });
        check(Draw { temperature: 3.0, top_p: 0.97, ..PLAIN });
        check(Draw { temperature: 1.5, top_k: 300, top_p: 0.9, min_p: 0.05, ..PLAIN });
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        let mut logits = vec![0.0, 3.0, 1.0, 3.0];
        assert_eq!(choose(&mut logits, 4, &[Draw { temperature: 0.0, ..PLAIN }])[0].token, 1);
    }

    #[test]
    fn the_ends_of_the_distribution_have_weight() {
        let mut logits = vec![f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY];
        assert_eq!(choose(&mut logits.clone(), 4, &[PLAIN])[0].token, 1);
        assert_eq!(
            choose(&mut logits, 4, &[Draw { uniform: 1.0 - f64::EPSILON / 2.0, ..PLAIN }])[0].token,
            2
        );
    }
}
