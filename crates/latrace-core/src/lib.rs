//! The nouns of variational reasoning: tokenizer, chat template, seeds.
