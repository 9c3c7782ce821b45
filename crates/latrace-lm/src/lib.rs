//! Decoder language models: checkpoints, scoring, training. Knows tokens and loss weights, not the method.
