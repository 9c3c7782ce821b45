//! The nearest of known names to one that was mistyped.

use crate::failure::Failure;

/// The error for a key not in `known`; of a dotted `key`, only the last part is compared.
#[must_use]
pub fn unknown_key(key: &str, known: &[&str]) -> Failure {
    // Of a dotted key, the last part: `known` has the keys of one table.
    let nearest = nearest(key.rsplit('.').next().unwrap_or(key), known).unwrap_or_default();
    Failure::usage(format!("unknown key \"{key}\"; the nearest known key is \"{nearest}\""))
        .hint(format!("known keys: {}", known.join(", ")))
}

/// The known name that takes the fewest changes of single letters.
#[must_use]
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().min_by_key(|known| edit_distance(known, name)).copied()
}

/// Levenshtein distance: insertions, deletions and replacements that turn one text into the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let first: Vec<usize> = (0..=right.len()).collect();
    let row = left.chars().fold(first, |above, letter| next_row(&above, letter, &right));
    row[right.len()]
}

/// The row of the table of distances below `above`, for one more letter of the left text.
fn next_row(above: &[usize], letter: char, right: &[char]) -> Vec<usize> {
    let mut row = vec![above[0] + 1];
    for (column, other) in right.iter().enumerate() {
        let replaced = above[column] + usize::from(letter != *other);
        row.push(replaced.min(above[column + 1] + 1).min(row[column] + 1));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_single_letters() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
        assert_eq!(nearest("questoin", &["answer", "question", "id"]), Some("question"));
        assert_eq!(nearest("x", &[]), None);
    }
}
