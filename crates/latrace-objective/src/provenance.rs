//! Where each row of a built data set comes from.

/// Where a row of the built data set comes from, with the release's integer codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// Posterior trace k.
    Trace(usize),
    /// The original row, because no trace was usable.
    FellBack,
    /// The original row, as its part of the mix.
    Original,
}

impl Provenance {
    /// k, −1 or −2, as in the release.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Trace(trace) => trace as i64,
            Self::FellBack => -1,
            Self::Original => -2,
        }
    }
}
