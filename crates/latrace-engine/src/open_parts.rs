//! Collects results that arrive in any order into the parts of a table.

use std::collections::BTreeMap;

use crate::sampling::PromptPlace;

/// Results by part, place and number, until a part is complete.
#[derive(Debug)]
pub struct OpenParts<T, R> {
    parts: BTreeMap<usize, OpenPart<T, R>>,
}

#[derive(Debug)]
struct OpenPart<T, R> {
    of: Vec<T>,
    /// By place and number.
    results: Vec<Vec<Option<R>>>,
    missing: usize,
}

impl<T, R> OpenPart<T, R> {
    fn new(of: Vec<T>, n: usize) -> Self {
        let missing = of.len() * n;
        OpenPart { results: of.iter().map(|_| (0..n).map(|_| None).collect()).collect(), of, missing }
    }

    fn whole(self) -> Whole<T, R> {
        let results = self.results.into_iter().map(|of| of.into_iter().flatten().collect());
        self.of.into_iter().zip(results).collect()
    }
}

impl<T, R> Default for OpenParts<T, R> {
    fn default() -> Self {
        OpenParts { parts: BTreeMap::new() }
    }
}

/// What the results of a part are of, each with its results in the order of their numbers.
pub type Whole<T, R> = Vec<(T, Vec<R>)>;

impl<T, R> OpenParts<T, R> {
    /// Begins a part that needs `n` results for each of `of`; one that needs none is returned at once.
    pub fn begin(&mut self, part: usize, of: Vec<T>, n: usize) -> Option<Whole<T, R>> {
        let new = OpenPart::new(of, n);
        if new.missing == 0 {
            return Some(new.whole());
        }
        self.parts.insert(part, new);
        None
    }

    /// Adds a result; returns the part if it is now complete. A result that has already arrived changes
    /// nothing.
    pub fn add(&mut self, place: PromptPlace, number: usize, result: R) -> Option<Whole<T, R>> {
        let part = self.parts.get_mut(&place.part)?;
        let slot = part.results.get_mut(place.prompt)?.get_mut(number)?;
        if slot.is_none() {
            *slot = Some(result);
            part.missing -= 1;
        }
        if part.missing > 0 {
            return None;
        }
        self.parts.remove(&place.part).map(OpenPart::whole)
    }

    /// A result of an incomplete part.
    pub fn get(&self, place: PromptPlace, number: usize) -> Option<&R> {
        self.parts.get(&place.part)?.results.get(place.prompt)?.get(number)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(part: usize, prompt: usize) -> PromptPlace {
        PromptPlace { part, prompt }
    }

    #[test]
    fn a_part_is_handed_over_with_its_last_result_in_the_order_of_places_and_numbers() {
        let mut open = OpenParts::default();
        assert_eq!(open.begin(0, vec!["a", "b"], 2), None);
        assert_eq!(open.begin(1, vec!["c"], 1), None);
        assert_eq!(open.add(place(0, 1), 1, 11), None);
        assert_eq!(open.add(place(0, 0), 1, 1), None);
        assert_eq!(open.add(place(0, 1), 0, 10), None);
        assert_eq!((open.get(place(0, 1), 0), open.get(place(0, 0), 0)), (Some(&10), None));
        assert_eq!(open.add(place(1, 0), 0, 20), Some(vec![("c", vec![20])]));
        assert_eq!(open.add(place(0, 0), 0, 0), Some(vec![("a", vec![0, 1]), ("b", vec![10, 11])]));
        assert_eq!(open.get(place(0, 1), 0), None, "what was handed over is held no longer");
    }

    #[test]
    fn a_result_that_comes_twice_counts_once() {
        let mut open = OpenParts::default();
        open.begin(0, vec!["a"], 2);
        assert_eq!(open.add(place(0, 0), 0, 1), None);
        assert_eq!(open.add(place(0, 0), 0, 2), None);
        assert_eq!(open.add(place(0, 0), 1, 3), Some(vec![("a", vec![1, 3])]));
    }

    #[test]
    fn a_part_that_waits_for_nothing_is_whole_at_once() {
        let mut open = OpenParts::<&str, u8>::default();
        assert_eq!(open.begin(0, Vec::new(), 3), Some(Vec::new()));
        assert_eq!(open.begin(0, vec!["a"], 0), Some(vec![("a", Vec::new())]));
    }
}
