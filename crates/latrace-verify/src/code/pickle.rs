//! The private tests of LiveCodeBench: base64 of zlib of a pickle of one string.
//!
//! A pickle is a program. This reader knows the instructions that push one string, and refuses every other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

// A small text may unpack to more than memory holds.
/// The most bytes that private tests may unpack to.
const MOST_BYTES: usize = 512 << 20;

/// The string that was packed.
///
/// # Errors
/// Says which layer is broken, or which instruction is refused.
pub(crate) fn unpack(packed: &str) -> Result<String, String> {
    let compressed = STANDARD.decode(packed.trim()).map_err(|error| format!("base64: {error}"))?;
    let pickled = decompress_to_vec_zlib_with_limit(&compressed, MOST_BYTES);
    one_string(&pickled.map_err(|error| format!("zlib: {error}"))?)
}

fn one_string(pickle: &[u8]) -> Result<String, String> {
    let mut rest = pickle;
    let mut string = None;
    loop {
        let (instruction, after) = rest.split_first().ok_or("the pickle has no end")?;
        if *instruction == b'.' {
            return string.ok_or_else(|| "the pickle is empty".to_owned());
        }
        let (pushed, after) = execute(*instruction, after)?;
        rest = after;
        if pushed.is_some() && string.is_some() {
            return Err("the pickle holds more than one string".to_owned());
        }
        string = pushed.or(string);
    }
}

/// The string that an instruction pushes, if it pushes one, and what follows it.
fn execute(instruction: u8, after: &[u8]) -> Result<(Option<String>, &[u8]), String> {
    let (operand, pushes) = operand_of(instruction)?;
    let (bytes, rest) = split(after, operand)?;
    if !pushes {
        return Ok((None, rest));
    }
    let (text, rest) = split(rest, little_endian(bytes))?;
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    Ok((Some(text.to_owned()), rest))
}

/// The bytes of an instruction's operand, and whether it is the length of a string that is pushed.
fn operand_of(instruction: u8) -> Result<(usize, bool), String> {
    match instruction {
        // Memo and frame instructions push nothing: 0x94 memoize, 0x80 protocol, q and r put, 0x95 frame.
        0x94 => Ok((0, false)),
        0x80 | b'q' => Ok((1, false)),
        b'r' => Ok((4, false)),
        0x95 => Ok((8, false)),
        // The three ways to push a string, by the size of its length.
        0x8c => Ok((1, true)),
        b'X' => Ok((4, true)),
        0x8d => Ok((8, true)),
        other => Err(format!("the pickle's instruction {other:#04x} is not one that pushes a string")),
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), String> {
    bytes.split_at_checked(at).ok_or_else(|| "the pickle is cut off".to_owned())
}

/// A length; one beyond all memory stays so.
fn little_endian(bytes: &[u8]) -> usize {
    let digits = bytes.iter().rev();
    digits.fold(0, |length: usize, byte| length.saturating_mul(256).saturating_add(usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pickled_string_is_read_in_every_protocol() {
        assert_eq!(one_string(b"\x80\x04\x95\x06\0\0\0\0\0\0\0\x8c\x02[]\x94.").unwrap(), "[]");
        assert_eq!(one_string(b"\x80\x02X\x02\0\0\0[]q\0.").unwrap(), "[]");
        assert_eq!(one_string(b"\x80\x04\x8d\x02\0\0\0\0\0\0\0[]r\0\0\0\0.").unwrap(), "[]");
    }

    #[test]
    fn everything_else_is_refused() {
        // os.system by name, a list, a second string, an end that is missing.
        assert!(one_string(b"\x80\x04\x8c\x02os\x8c\x06system\x93.").is_err());
        assert!(one_string(b"cos\nsystem\n.").is_err());
        assert!(one_string(b"\x80\x04\x8c\x02os\x93.").is_err());
        assert!(one_string(b"\x80\x04].").is_err());
        assert!(one_string(b"\x80\x04\x8c\x02os").is_err());
        assert!(one_string(b"\x80\x04\x8c\xffos.").is_err());
        assert!(unpack("no base64!").is_err());
        let two = one_string(b"\x80\x04\x8c\x02[]\x8c\x02[].");
        assert_eq!(two.unwrap_err(), "the pickle holds more than one string");
        assert_eq!(one_string(b"\x80\x04.").unwrap_err(), "the pickle is empty");
        let endless = one_string(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff[].");
        assert_eq!(endless.unwrap_err(), "the pickle is cut off");
    }

    #[test]
    fn the_layers_come_off_in_order() {
        let compressed = miniz_oxide::deflate::compress_to_vec_zlib(b"\x80\x04\x8c\x02[]\x94.", 6);
        assert_eq!(unpack(&STANDARD.encode(compressed)).unwrap(), "[]");
    }
}
