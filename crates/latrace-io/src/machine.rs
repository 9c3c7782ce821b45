//! The machine that the program runs on.

use std::env::consts::ARCH;
use std::fs;
use std::thread;

/// The processor's model where the system tells (Linux on x86), or else its architecture.
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model_in(&text).unwrap_or(ARCH).to_owned()
}

fn model_in(text: &str) -> Option<&str> {
    let (name, model) = text.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(model.trim()).filter(|model| name.trim() == "model name" && !model.is_empty())
}

/// Threads that can run at once. Unlike the number of cores, it respects the limits of a container.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_that_is_named_counts() {
        let text = "processor\t: 0\nmodel name\t: Quick 9000 @ 3 GHz\nflags\t: a b\nmodel name\t: other\n";
        assert_eq!(model_in(text), Some("Quick 9000 @ 3 GHz"));
        assert_eq!([model_in("model name\t: \n"), model_in("Hardware : board"), model_in("")], [None; 3]);
        assert!(!processor().is_empty() && cores() > 0);
    }
}
