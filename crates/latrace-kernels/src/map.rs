//! Memory mapping of read-only files: the one place where a mapping is made.

use std::fs::File;
use std::io;

use memmap2::{Mmap, UncheckedAdvice};

/// Maps a whole file for reading.
///
/// The file must not be shortened or rewritten while the mapping exists: reading a page that is gone ends the
/// process (SIGBUS). Checkpoints are written under a temporary name and renamed, never in place.
///
/// # Errors
/// The operating system's error, e.g. when `file` is a folder.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and its bytes are only ever read as plain data, for which
    // every bit pattern is valid. What remains is that another process could change the file underneath us;
    // model files are replaced by rename, which keeps the mapped inode intact.
    unsafe { Mmap::map(file) }
}

/// Releases the memory behind a part of a mapping that has been read. Reading it again fetches it from the
/// file.
///
/// # Errors
/// The operating system's error.
///
/// # Panics
/// If the part lies outside the mapping.
pub fn release(map: &Mmap, part: &[u8]) -> io::Result<()> {
    let whole = map.as_ptr_range();
    let range = part.as_ptr_range();
    assert!(whole.start <= range.start && range.end <= whole.end, "the part lies within the mapping");
    // SAFETY: the mapping is read-only and backed by a file, so that a dropped page comes back with the same
    // bytes.
    unsafe {
        map.unchecked_advise_range(
            UncheckedAdvice::DontNeed,
            range.start as usize - whole.start as usize,
            part.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_released_part_is_read_again_from_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let map = map_file(&file).unwrap();
        assert_eq!(map[..], bytes);
        release(&map, &map[5_000..90_000]).unwrap();
        assert_eq!(map[..], bytes);
    }
}
