//! The text of each token, such that the concatenation is the text of the whole sequence.

/// Maximum number of tokens held back for an incomplete character; invalid bytes would otherwise hold back
/// the rest of the text.
const PATIENCE: usize = 8;

/// The text that each id adds. An id that is only part of a character adds nothing; the one that completes it
/// adds the character.
pub(super) fn pieces(ids: &[u32], decode: impl Fn(&[u32]) -> String) -> Vec<String> {
    let (mut before, mut read) = (0, 0);
    let mut pieces = Vec::with_capacity(ids.len());
    for at in 0..ids.len() {
        // Decoded together with the previous piece, because decoders treat the first token of a text
        // specially.
        let known = decode(&ids[before..read]);
        let text = decode(&ids[before..=at]);
        if text.ends_with(char::REPLACEMENT_CHARACTER) && at + 1 < ids.len() && at - read < PATIENCE {
            pieces.push(String::new());
            continue;
        }
        // A decoder may render the previous piece otherwise once more follows; then the new ids stand alone.
        pieces.push(text.strip_prefix(&known).map_or_else(|| decode(&ids[read..=at]), str::to_owned));
        (before, read) = (read, at + 1);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as tokens, as byte-level tokenizers have them.
    fn bytes(ids: &[u32]) -> String {
        String::from_utf8_lossy(&ids.iter().map(|&id| id as u8).collect::<Vec<u8>>()).into_owned()
    }

    /// Words as tokens, joined by spaces, as tokenizers without a decoder have them.
    fn words(ids: &[u32]) -> String {
        ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
    }

    fn of(text: &str) -> Vec<String> {
        pieces(&text.bytes().map(u32::from).collect::<Vec<u32>>(), bytes)
    }

    #[test]
    fn letters_of_several_tokens_stand_at_their_last() {
        assert_eq!(of("aé"), ["a", "", "é"]);
        assert_eq!(of("→<b>"), ["", "", "→", "<", "b", ">"]);
    }

    #[test]
    fn spaces_between_words_belong_to_the_word_after_them() {
        assert_eq!(pieces(&[1, 20, 3], words), ["1", " 20", " 3"]);
    }

    #[test]
    fn broken_bytes_do_not_hold_up_what_follows() {
        let mut ids = vec![0xc3; 30];
        ids.push(u32::from(b'z'));
        let pieces = pieces(&ids, bytes);
        assert_eq!(pieces.len(), 31);
        assert!(pieces[30].ends_with('z'));
        let held = pieces.iter().take_while(|piece| piece.is_empty()).count();
        assert_eq!(held, PATIENCE);
    }
}
