//! Memory mapping of read-only files: the one place where a mapping is made.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole file for reading.
///
/// The caller must not let anyone shorten or rewrite the file while the mapping lives: reading a page that is gone
/// ends the process (SIGBUS). Checkpoints are written under a temporary name and renamed, never in place.
///
/// # Errors
/// The operating system's error, e.g. when `file` is a folder.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and its bytes are only ever read as plain data, for which every
    // bit pattern is valid. What remains is that another process could change the file underneath us; model files
    // are replaced by rename, which keeps the mapped inode intact.
    unsafe { Mmap::map(file) }
}
