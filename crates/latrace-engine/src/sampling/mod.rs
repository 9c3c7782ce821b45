//! What stands between rows and the sampler: finished samples kept as they come, texts at which a sample
//! stops.

pub mod drawing;
pub mod journal;
pub mod missing;
pub mod output;
pub mod stop_strings;
