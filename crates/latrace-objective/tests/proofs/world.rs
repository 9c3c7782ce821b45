//! A tabular world: every trace and answer can be summed over.
//!
//! Vocabulary {0, 1, end}; a trace ends at `end` or after four tokens, so there are 31 of them. pi and q are
//! softmax tables over the 15 prefixes, pi(y|x,z) one over 5 answers for each trace; two answers are correct,
//! one malformed.

use latrace_objective::{Rng, TraceScore, Verdict};

pub const TRACES: usize = 31;
pub const ANSWERS: usize = 5;
pub const PREFIXES: usize = 15;
pub const TRACE_PARAMETERS: usize = 3 * PREFIXES;
pub const THETA: usize = TRACE_PARAMETERS + TRACES * ANSWERS;
pub const VERDICTS: [Verdict; ANSWERS] =
    [Verdict::Wrong, Verdict::Correct, Verdict::Undetermined, Verdict::Correct, Verdict::Malformed];
const END: usize = 2;

/// Parameters and the quantities they imply. `theta` holds the trace tables, then the answer tables; `phi`
/// trace tables.
#[derive(Clone)]
pub struct World {
    pub theta: Vec<f64>,
    pub phi: Vec<f64>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut draw = |count| (0..count).map(|_| 3.0 * (rng.uniform() - 0.5)).collect();
        Self { theta: draw(THETA), phi: draw(TRACE_PARAMETERS) }
    }

    pub fn log_pi(&self, z: usize) -> f64 {
        token_log_probs(&self.theta, z).iter().sum()
    }

    pub fn log_q(&self, z: usize) -> f64 {
        token_log_probs(&self.phi, z).iter().sum()
    }

    pub fn score(&self, z: usize) -> TraceScore {
        TraceScore::from_tokens(&token_log_probs(&self.theta, z), &token_log_probs(&self.phi, z)).unwrap()
    }

    /// `pi(y|x,z)`.
    pub fn answer(&self, z: usize, y: usize) -> f64 {
        softmax(&self.theta[answer_range(z)])[y]
    }

    /// `pi(y in set|x,z)`.
    pub fn mass(&self, z: usize, set: fn(Verdict) -> bool) -> f64 {
        (0..ANSWERS).filter(|&y| set(VERDICTS[y])).map(|y| self.answer(z, y)).sum()
    }

    /// `log pi(Y_x|x,z)`.
    pub fn log_answer(&self, z: usize) -> f64 {
        self.mass(z, Verdict::is_correct).ln()
    }

    /// `log pi/q`, full.
    pub fn log_ratio(&self, z: usize) -> f64 {
        self.log_pi(z) - self.log_q(z)
    }

    pub fn log_rho(&self, z: usize) -> f64 {
        self.log_ratio(z) + self.log_answer(z)
    }

    /// `P(y in set|x)`; with `is_correct` the accuracy.
    pub fn marginal(&self, set: fn(Verdict) -> bool) -> f64 {
        (0..TRACES).map(|z| self.log_pi(z).exp() * self.mass(z, set)).sum()
    }

    pub fn accuracy(&self) -> f64 {
        self.marginal(Verdict::is_correct)
    }

    /// `P(z|x,Y_x)`.
    pub fn true_posterior(&self) -> Vec<f64> {
        let p = self.accuracy();
        (0..TRACES).map(|z| (self.log_pi(z) + self.log_answer(z)).exp() / p).collect()
    }

    /// The same reasoner with q set to its true posterior, token by token.
    pub fn with_true_posterior(&self) -> Self {
        let posterior = self.true_posterior();
        let mut phi = vec![0.0; TRACE_PARAMETERS];
        for (z, &mass) in posterior.iter().enumerate() {
            for (prefix, token) in steps(z) {
                phi[3 * prefix + token] += mass;
            }
        }
        Self { theta: self.theta.clone(), phi: phi.into_iter().map(f64::ln).collect() }
    }

    /// `L^K` by summing over all K-tuples, each set of equal ones at once: what finite differences of every
    /// parameter can afford.
    pub fn bound(&self, traces: usize) -> f64 {
        let q: Vec<f64> = (0..TRACES).map(|z| self.log_q(z).exp()).collect();
        let rho: Vec<f64> = (0..TRACES).map(|z| self.log_rho(z).exp()).collect();
        let mut bound = 0.0;
        for_each_multiset(TRACES, traces, |multiset, tuples| {
            let chance: f64 = multiset.iter().map(|&z| q[z]).product();
            let mean = multiset.iter().map(|&z| rho[z]).sum::<f64>() / traces as f64;
            bound += tuples * chance * mean.ln();
        });
        bound
    }

    /// `L^K` by summing over all K-tuples, from definitions alone.
    pub fn bound_reference(&self, traces: usize) -> f64 {
        let q: Vec<f64> = (0..TRACES).map(|z| self.log_q(z).exp()).collect();
        let rho: Vec<f64> = (0..TRACES).map(|z| self.log_rho(z).exp()).collect();
        let mut bound = 0.0;
        for_each_tuple(TRACES, traces, |tuple| {
            let chance: f64 = tuple.iter().map(|&z| q[z]).product();
            let mean = tuple.iter().map(|&z| rho[z]).sum::<f64>() / traces as f64;
            bound += chance * mean.ln();
        });
        bound
    }

    /// `−∇_theta KL(P(z,y|x, y in set) || pi_theta)` by finite differences, the target frozen at `self`.
    pub fn negative_kl_gradient(&self, at: &Self, set: fn(Verdict) -> bool) -> Vec<f64> {
        let total = self.marginal(set);
        let target = |z: usize, y: usize| self.log_pi(z).exp() * self.answer(z, y) / total;
        let target: Vec<Vec<f64>> =
            (0..TRACES).map(|z| (0..ANSWERS).map(|y| target(z, y)).collect()).collect();
        gradient(&at.theta, |theta| {
            let moved = Self { theta: theta.to_vec(), phi: at.phi.clone() };
            let mut divergence = 0.0;
            for (z, row) in target.iter().enumerate() {
                let log_pi = moved.log_pi(z);
                let answers = softmax(&moved.theta[answer_range(z)]);
                for (y, &mass) in row.iter().enumerate().filter(|&(y, _)| set(VERDICTS[y])) {
                    divergence += mass * (mass.ln() - log_pi - answers[y].ln());
                }
            }
            -divergence
        })
    }
}

/// Expected weights on each trace and each (trace, answer), to be turned into a gradient.
#[derive(Clone)]
pub struct Coefficients {
    pub trace: Vec<f64>,
    pub answer: Vec<[f64; ANSWERS]>,
}

impl Coefficients {
    pub fn zero() -> Self {
        Self { trace: vec![0.0; TRACES], answer: vec![[0.0; ANSWERS]; TRACES] }
    }

    /// `Σ_z c_z ∇ log pi(z) + Σ_zy c_zy ∇ log pi(y|z)` in theta.
    pub fn theta_gradient(&self, world: &World) -> Vec<f64> {
        let mut total = self.trace_gradient(&world.theta);
        total.resize(THETA, 0.0);
        for (z, row) in self.answer.iter().enumerate() {
            let probabilities = softmax(&world.theta[answer_range(z)]);
            let sum: f64 = row.iter().sum();
            for (y, slot) in answer_range(z).enumerate() {
                total[slot] += row[y] - sum * probabilities[y];
            }
        }
        total
    }

    /// `Σ_z c_z ∇ log q(z)` in phi.
    pub fn phi_gradient(&self, world: &World) -> Vec<f64> {
        self.trace_gradient(&world.phi)
    }

    fn trace_gradient(&self, table: &[f64]) -> Vec<f64> {
        let mut total = vec![0.0; TRACE_PARAMETERS];
        for (z, &coefficient) in self.trace.iter().enumerate() {
            for (prefix, token) in steps(z) {
                let probabilities = softmax(&table[3 * prefix..3 * prefix + 3]);
                for other in 0..3 {
                    let indicator = f64::from(u8::from(other == token));
                    total[3 * prefix + other] += coefficient * (indicator - probabilities[other]);
                }
            }
        }
        total
    }
}

/// (prefix, next token) pairs of trace number z. Prefixes are numbered as a binary heap.
pub fn steps(z: usize) -> Vec<(usize, usize)> {
    // Traces 0..15 are the 15 prefixes followed by `end`; 15..31 the 16 binary words of four tokens.
    let mut steps = if z < PREFIXES { vec![(z, END)] } else { Vec::new() };
    let mut node = z;
    while node > 0 {
        let parent = (node - 1) / 2;
        steps.push((parent, (node - 1) % 2));
        node = parent;
    }
    steps.reverse();
    steps
}

pub fn token_log_probs(table: &[f64], z: usize) -> Vec<f64> {
    let log_prob = |(prefix, token): (usize, usize)| softmax(&table[3 * prefix..3 * prefix + 3])[token].ln();
    steps(z).into_iter().map(log_prob).collect()
}

fn answer_range(z: usize) -> std::ops::Range<usize> {
    TRACE_PARAMETERS + z * ANSWERS..TRACE_PARAMETERS + (z + 1) * ANSWERS
}

pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / total).collect()
}

pub fn for_each_tuple(count: usize, length: usize, mut visit: impl FnMut(&[usize])) {
    let mut tuple = vec![0; length];
    loop {
        visit(&tuple);
        let Some(place) = tuple.iter().rposition(|&index| index + 1 < count) else {
            return;
        };
        tuple[place] += 1;
        tuple[place + 1..].fill(0);
    }
}

/// Ascending tuples, each with the number of tuples that are its permutations: `K! / Π m!` over the
/// multiplicities m.
pub fn for_each_multiset(count: usize, length: usize, mut visit: impl FnMut(&[usize], f64)) {
    let mut tuple = vec![0; length];
    loop {
        // The i-th member, the m-th of its kind, brings a factor i/m.
        let (mut permutations, mut multiplicity) = (1.0, 0);
        for i in 0..length {
            multiplicity = if i > 0 && tuple[i] == tuple[i - 1] { multiplicity + 1 } else { 1 };
            permutations *= (i + 1) as f64 / f64::from(multiplicity);
        }
        visit(&tuple, permutations);
        let Some(place) = tuple.iter().rposition(|&index| index + 1 < count) else {
            return;
        };
        let next = tuple[place] + 1;
        tuple[place..].fill(next);
    }
}

/// Richardson-extrapolated central differences: error of order h^4 ≈ 1e-11, rounding ≈ 1e-13 / h ≈ 1e-11.
pub fn derivative(mut f: impl FnMut(f64) -> f64) -> f64 {
    let mut central = |h: f64| (f(h) - f(-h)) / (2.0 * h);
    let step = 2e-3;
    (4.0 * central(step / 2.0) - central(step)) / 3.0
}

pub fn gradient(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let along = |index: usize| {
        derivative(|h| {
            let mut moved = at.to_vec();
            moved[index] += h;
            f(&moved)
        })
    };
    (0..at.len()).map(along).collect()
}

pub const TOLERANCE: f64 = 1e-9;

#[track_caller]
pub fn assert_near(got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "got {got}, expected {expected}, off by {:e}",
        got - expected
    );
}

#[track_caller]
pub fn assert_same(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let scale = expected.iter().map(|value| value.abs()).fold(0.0, f64::max);
    assert!(worst <= TOLERANCE, "largest difference {worst:e} at scale {scale:e}");
    assert!(scale > 1e-3, "a gradient of scale {scale:e} proves nothing");
}

#[test]
fn the_world_is_normalised_and_its_sums_agree() {
    let world = World::new(1);
    assert_near((0..TRACES).map(|z| world.log_pi(z).exp()).sum(), 1.0, 1e-14);
    assert_near((0..TRACES).map(|z| world.log_q(z).exp()).sum(), 1.0, 1e-14);
    assert_near(world.true_posterior().iter().sum(), 1.0, 1e-14);
    let lengths: Vec<usize> = (0..TRACES).map(|z| steps(z).len()).collect();
    assert_eq!([1, 2, 3, 4].map(|length| lengths.iter().filter(|&&l| l == length).count()), [1, 2, 4, 24]);
    for traces in 1..=4 {
        assert_near(world.bound(traces), world.bound_reference(traces), 1e-13);
    }
    let posterior = world.with_true_posterior();
    for (z, mass) in world.true_posterior().into_iter().enumerate() {
        assert_near(posterior.log_q(z).exp(), mass, 1e-14);
    }
}
