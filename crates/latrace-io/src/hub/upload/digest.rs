//! What the hub wants to know of a file before it sees it.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::UploadFile;
use crate::progress::SharedProgress;

/// Bytes from the beginning of a file by which the hub tells texts from other files.
const SAMPLE: usize = 512;

/// A file's SHA-256 and its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// SHA-256 in hexadecimal digits: the name of an object of Git LFS.
    pub sha256: String,
    /// The first [`SAMPLE`] bytes.
    pub sample: Vec<u8>,
}

impl Digest {
    /// Reads a file.
    ///
    /// # Errors
    /// I/O errors; a file that changes meanwhile.
    pub fn of(file: &UploadFile, progress: &SharedProgress) -> Result<Digest> {
        let cannot = || format!("cannot read {}", file.path.display());
        let mut reader = File::open(&file.path).with_context(cannot)?;
        let (mut sum, mut sample, mut read) = (Sha256::new(), Vec::new(), 0_u64);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = reader.read(&mut buffer).with_context(cannot)?;
            if count == 0 {
                break;
            }
            let wanted = SAMPLE.saturating_sub(sample.len()).min(count);
            sample.extend(&buffer[..wanted]);
            sum.update(&buffer[..count]);
            progress.advance(((read + count as u64) >> 20) - (read >> 20));
            read += count as u64;
        }
        anyhow::ensure!(read == file.size, "{} changes while it is read", file.path.display());
        Ok(Digest { sha256: hexadecimal(&sum.finalize()), sample })
    }
}

/// The name that Git gives to a file of these contents.
pub fn git_oid(content: &[u8]) -> String {
    let mut sum = Sha1::new();
    sum.update(format!("blob {}\0", content.len()));
    sum.update(content);
    hexadecimal(&sum.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    #[test]
    fn a_file_is_known_by_its_sha256_and_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |bytes: &[u8]| {
            let path = folder.path().join("a");
            std::fs::write(&path, bytes).unwrap();
            let file = UploadFile { path, name: "a".to_owned(), size: bytes.len() as u64 };
            Digest::of(&file, &SharedProgress::new(Progress::new("MB", 0, None))).unwrap()
        };
        // The example of FIPS 180-2.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), Digest { sha256: abc.to_owned(), sample: b"abc".to_vec() });
        assert_eq!(digest(&[7; 3 << 20]).sample, [7; SAMPLE]);
    }

    #[test]
    fn a_file_has_its_name_in_git() {
        // `printf 'hello\n' | git hash-object --stdin`, and of nothing.
        assert_eq!(git_oid(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(git_oid(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }
}
