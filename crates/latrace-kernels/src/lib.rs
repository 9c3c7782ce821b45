//! The operations of a decoder, forward and backward, on packed sequences. All unsafe code lives here.
