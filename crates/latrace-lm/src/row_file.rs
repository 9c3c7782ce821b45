//! Training rows in a file, written once and read a few at a time, so that no data set has to fit in memory.
//!
//! Layout, all integers and floats little-endian:
//!
//! ```text
//! header  magic (8 bytes), version u32, CRC-32C of the index u32, rows u64, offset of the index u64
//! rows    id (length u32, UTF-8), token ids u32 each, weights, policy
//! index   per row: offset u64, prompt tokens u32, response tokens u32, bytes u32, CRC-32C of the row u32, and
//!         u32 1 if its id is that of the row before
//! ```
//!
//! Weights are a count and as many f32; a count of 0 means one number for the whole row. A policy is absent
//! (u32 0), or 1, its given tokens (two u32), advantages as weights, and one old log-prob per token. The index
//! stays in memory (28 bytes a row); rows are read at their offsets, without mapping the file.

use crate::checkpoint::sync_folder;
use crate::error::{Error, Result};
use crate::rows::{Policy, RowLengths, RowSource, TrainRow, Weights};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"lat-rows";
const VERSION: u32 = 2;
const HEADER: usize = 32;
const ENTRY: usize = 28;

/// A row's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset: u64,
    prompt: u32,
    response: u32,
    bytes: u32,
    checksum: u32,
    /// Whether the row's id is that of the row before.
    continues: u32,
}

impl Entry {
    fn encode(self, out: &mut Vec<u8>) {
        out.extend(self.offset.to_le_bytes());
        for word in [self.prompt, self.response, self.bytes, self.checksum, self.continues] {
            out.extend(word.to_le_bytes());
        }
    }

    fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self {
            offset: bytes.long()?,
            prompt: bytes.word()?,
            response: bytes.word()?,
            bytes: bytes.word()?,
            checksum: bytes.word()?,
            continues: bytes.word()?,
        })
    }

    fn lengths(self) -> RowLengths {
        RowLengths { prompt: self.prompt as usize, response: self.response as usize }
    }
}

/// A file of rows, open for reading.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
}

impl RowFile {
    /// Opens a file that a [`RowFileWriter`] has finished, and reads its index.
    ///
    /// # Errors
    /// A file that cannot be read, is of another version, or is damaged or cut short.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let size = size(path, &file)?;
        let damaged = |detail| damaged(path, detail);
        if size < HEADER as u64 {
            return Err(damaged(format!("expected a header of {HEADER} bytes, got {size} bytes")));
        }
        // Header, then size, then checksum: each check relies on the numbers that the one before accepted.
        let header = Header::decode(&read_at(path, &file, 0, HEADER)?).map_err(damaged)?;
        header.check_size(size).map_err(damaged)?;
        let index = read_at(path, &file, header.index, (size - header.index) as usize)?;
        check_sum(&index, header.checksum)
            .map_err(|sums| damaged(format!("expected an index with checksum {sums}")))?;
        Ok(Self { path: path.to_owned(), file, entries: decode_index(&index) })
    }

    fn read_row(&self, row: usize) -> Result<TrainRow> {
        let damaged = |detail| damaged(&self.path, detail);
        let count = self.entries.len();
        let entry = self.entries.get(row);
        let entry = entry.ok_or_else(|| damaged(format!("expected a row below {count}, got {row}")))?;
        let bytes = read_at(&self.path, &self.file, entry.offset, entry.bytes as usize)?;
        check_sum(&bytes, entry.checksum)
            .map_err(|sums| damaged(format!("row {row}: expected checksum {sums}")))?;
        // Both checksums match, so only a writer with a bug gets this far.
        decode_row(&bytes, entry.lengths())
            .ok_or_else(|| damaged(format!("row {row} is not laid out as its lengths say")))
    }
}

fn decode_index(bytes: &[u8]) -> Vec<Entry> {
    let mut bytes = Bytes(bytes);
    std::iter::from_fn(|| Entry::decode(&mut bytes)).collect()
}

/// Fails with both checksums unless the bytes have the expected one.
fn check_sum(bytes: &[u8], expected: u32) -> Result<(), String> {
    let got = crc32c::crc32c(bytes);
    if got == expected { Ok(()) } else { Err(format!("{expected:08x}, got {got:08x}")) }
}

impl RowSource for RowFile {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn lengths(&self, row: usize) -> RowLengths {
        // From the index, which is in memory: planning reads no row.
        self.entries[row].lengths()
    }

    fn continues_question(&self, row: usize) -> bool {
        self.entries[row].continues != 0
    }

    fn read(&self, rows: &[usize]) -> Result<Vec<TrainRow>> {
        rows.iter().map(|&row| self.read_row(row)).collect()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// Writes a file of rows, whole or not at all: under a temporary name, which [`RowFileWriter::finish`] turns
/// into its own. Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct RowFileWriter {
    path: PathBuf,
    unfinished: PathBuf,
    /// None once the file has its own name.
    out: Option<BufWriter<File>>,
    entries: Vec<Entry>,
    /// The id of the last row.
    last_id: Option<String>,
    end: u64,
    buffer: Vec<u8>,
}

impl RowFileWriter {
    /// Begins a file that will be `path`; what is there stays until then.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        let unfinished = unfinished(path);
        let file = File::create(&unfinished).map_err(Error::io("create", &unfinished))?;
        let (path, out) = (path.to_owned(), Some(BufWriter::new(file)));
        let (entries, buffer) = (Vec::new(), Vec::new());
        let mut writer = Self { path, unfinished, out, entries, last_id: None, end: 0, buffer };
        // The header is written last: until then, its zeros make the file invalid.
        writer.write(&[0; HEADER])?;
        Ok(writer)
    }

    /// Adds a row. It is written as it is; the trainer checks what it reads.
    ///
    /// # Errors
    /// A full disk; a row of 4 GiB or more.
    pub fn push(&mut self, row: &TrainRow) -> Result<()> {
        // One buffer serves all rows: a data set has millions of them.
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let entry = encode_row(row, &mut buffer).and_then(|()| self.entry(row, &buffer));
        let too_large = || Error::row(&row.id, "expected a prompt, a response and at most 4 GiB of data");
        // Encoded completely before anything is written, so that a refused row leaves no trace.
        let entry = entry.ok_or_else(too_large)?;
        self.write(&buffer)?;
        self.entries.push(entry);
        self.last_id = Some(row.id.clone());
        self.buffer = buffer;
        Ok(())
    }

    fn entry(&self, row: &TrainRow, bytes: &[u8]) -> Option<Entry> {
        let response = row.tokens.len().checked_sub(row.prompt_len)?;
        Some(Entry {
            offset: self.end,
            prompt: u32::try_from(row.prompt_len).ok()?,
            response: u32::try_from(response).ok()?,
            bytes: u32::try_from(bytes.len()).ok()?,
            checksum: crc32c::crc32c(bytes),
            continues: u32::from(self.last_id.as_ref() == Some(&row.id)),
        })
    }

    /// Writes the index, gives the file its name, and opens it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<RowFile> {
        let header = self.write_index()?.encode();
        self.with_file(|out| complete(out, &header))?;
        // Only a synced file gets the name: a crash leaves the old file or the new one, never a part.
        fs::rename(&self.unfinished, &self.path).map_err(Error::io("rename", &self.unfinished))?;
        // From here on, dropping the writer removes nothing.
        self.out = None;
        sync_folder(folder_of(&self.path))?;
        RowFile::open(&self.path)
    }

    fn write_index(&mut self) -> Result<Header> {
        let (rows, at) = (self.entries.len() as u64, self.end);
        let mut index = Vec::with_capacity(self.entries.len() * ENTRY);
        self.entries.iter().for_each(|entry| entry.encode(&mut index));
        self.write(&index)?;
        Ok(Header { checksum: crc32c::crc32c(&index), rows, index: at })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.with_file(|out| out.write_all(bytes))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn with_file(&mut self, work: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
        self.out.as_mut().map_or(Ok(()), work).map_err(Error::io("write", &self.unfinished))
    }
}

impl Drop for RowFileWriter {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // Taken apart, the writer does not flush its buffer. Nothing can be done here about a file that
            // cannot be removed; the next writer overwrites it.
            drop(out.into_parts());
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// The temporary name of a file.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

/// The folder of a file: its name has to be synced too.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Writes the header in front, and all of the file to disk.
fn complete(out: &mut BufWriter<File>, header: &[u8]) -> io::Result<()> {
    out.seek(SeekFrom::Start(0))?;
    out.write_all(header)?;
    out.flush()?;
    out.get_ref().sync_all()
}

/// What the header says, after magic and version.
struct Header {
    checksum: u32,
    rows: u64,
    index: u64,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let words = [VERSION, self.checksum].into_iter().flat_map(u32::to_le_bytes);
        let longs = [self.rows, self.index].into_iter().flat_map(u64::to_le_bytes);
        MAGIC.into_iter().chain(words).chain(longs).collect()
    }

    fn decode(header: &[u8]) -> Result<Self, String> {
        let mut bytes = Bytes(header);
        let magic = bytes.take(MAGIC.len());
        if magic != Some(&MAGIC) {
            return Err(format!("expected it to begin with {MAGIC:?}, got {magic:?}"));
        }
        match bytes.word() {
            Some(VERSION) => Self::fields(&mut bytes).ok_or_else(|| "its header is cut short".into()),
            other => Err(format!("expected version {VERSION}, got {other:?}")),
        }
    }

    fn fields(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self { checksum: bytes.word()?, rows: bytes.long()?, index: bytes.long()? })
    }

    /// Fails unless the index ends with the file, of `size` bytes.
    fn check_size(&self, size: u64) -> Result<(), String> {
        let Self { rows, index, .. } = self;
        // The header is not covered by a checksum, so its numbers may be anything.
        let expected = rows.checked_mul(ENTRY as u64).and_then(|length| index.checked_add(length));
        if expected == Some(size) {
            return Ok(());
        }
        Err(format!("expected an index of {rows} rows at byte {index}, got {size} bytes in all"))
    }
}

/// The part of a buffer that has not been decoded yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    fn words(&mut self, count: usize) -> Option<impl Iterator<Item = [u8; 4]> + 'a> {
        Some(self.take(count.checked_mul(4)?)?.as_chunks().0.iter().copied())
    }

    fn floats(&mut self, count: usize) -> Option<Vec<f32>> {
        Some(self.words(count)?.map(f32::from_le_bytes).collect())
    }

    fn weights(&mut self, response: usize) -> Option<Weights> {
        match self.word()? as usize {
            // No response has 0 tokens, so 0 is free to mean one number for the row.
            0 => Some(Weights::Row(self.floats(1)?[0])),
            count if count == response => Some(Weights::PerToken(self.floats(count)?)),
            _ => None,
        }
    }

    fn policy(&mut self, response: usize) -> Option<Policy> {
        let given = self.word()? as usize..self.word()? as usize;
        let advantages = self.weights(response)?;
        Some(Policy { advantages, given, old_logp: self.floats(response)? })
    }

    fn text(&mut self) -> Option<String> {
        let length = self.word()? as usize;
        std::str::from_utf8(self.take(length)?).ok().map(str::to_owned)
    }
}

/// None if the bytes are not laid out as the lengths say.
fn decode_row(bytes: &[u8], lengths: RowLengths) -> Option<TrainRow> {
    let mut bytes = Bytes(bytes);
    let id = bytes.text()?;
    let tokens = bytes.words(lengths.total())?.map(u32::from_le_bytes).collect();
    let weights = bytes.weights(lengths.response)?;
    let policy = if bytes.word()? == 0 { None } else { Some(bytes.policy(lengths.response)?) };
    bytes.0.is_empty().then_some(TrainRow { id, tokens, prompt_len: lengths.prompt, weights, policy })
}

/// None if a length does not fit its 32 bits.
fn encode_row(row: &TrainRow, out: &mut Vec<u8>) -> Option<()> {
    encode_word(row.id.len(), out)?;
    out.extend(row.id.as_bytes());
    out.extend(row.tokens.iter().flat_map(|id| id.to_le_bytes()));
    encode_weights(&row.weights, out)?;
    encode_word(usize::from(row.policy.is_some()), out)?;
    row.policy.as_ref().map_or(Some(()), |policy| encode_policy(policy, out))
}

fn encode_policy(policy: &Policy, out: &mut Vec<u8>) -> Option<()> {
    encode_word(policy.given.start, out)?;
    encode_word(policy.given.end, out)?;
    encode_weights(&policy.advantages, out)?;
    encode_floats(&policy.old_logp, out);
    Some(())
}

fn encode_weights(weights: &Weights, out: &mut Vec<u8>) -> Option<()> {
    let count = if let Weights::PerToken(values) = weights { values.len() } else { 0 };
    encode_word(count, out)?;
    encode_floats(weights.stored(), out);
    Some(())
}

fn encode_word(word: usize, out: &mut Vec<u8>) -> Option<()> {
    out.extend(u32::try_from(word).ok()?.to_le_bytes());
    Some(())
}

fn encode_floats(values: &[f32], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn read_at(path: &Path, file: &File, at: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    // Without a shared position, so that threads may read different rows at the same time.
    file.read_exact_at(&mut bytes, at).map_err(Error::io("read", path))?;
    Ok(bytes)
}

fn size(path: &Path, file: &File) -> Result<u64> {
    Ok(file.metadata().map_err(Error::io("read", path))?.len())
}

fn damaged(path: &Path, detail: String) -> Error {
    Error::BadRowFile { path: path.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    fn row(id: &str, prompt_len: usize, response: usize, weights: Weights) -> TrainRow {
        let tokens = (0..(prompt_len + response) as u32).map(|i| i * 70_001).collect();
        TrainRow { id: id.into(), tokens, prompt_len, weights, policy: None }
    }

    /// A row of each kind.
    fn rows() -> Vec<TrainRow> {
        let old_logp = vec![-0.5, f32::MIN_POSITIVE, -3.0];
        let policy = |advantages| Some(Policy { advantages, given: 1..2, old_logp: old_logp.clone() });
        vec![
            row("a", 2, 3, Weights::Row(0.25)),
            row("", 1, 1, Weights::PerToken(vec![0.0])),
            row("ünïcode", 4, 2, Weights::PerToken(vec![1.5, -0.0])),
            TrainRow { policy: policy(Weights::Row(-1.0)), ..row("p", 1, 3, Weights::Row(1.0)) },
            TrainRow {
                policy: policy(Weights::PerToken(vec![1.0, 2.0, 3.0])),
                ..row("q", 2, 3, Weights::Row(1.0))
            },
        ]
    }

    fn written(rows: &[TrainRow]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let mut writer = RowFileWriter::create(&path).unwrap();
        rows.iter().for_each(|row| writer.push(row).unwrap());
        writer.finish().unwrap();
        (folder, path)
    }

    fn names(folder: &TempDir) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn rows_come_back_as_they_were_in_any_order() {
        let rows = rows();
        let (folder, path) = written(&rows);
        let file = RowFile::open(&path).unwrap();
        assert_eq!((file.len(), RowSource::is_empty(&file)), (5, false));
        assert_eq!(file.read(&[0, 1, 2, 3, 4]).unwrap(), rows);
        assert_eq!(file.read(&[4, 0, 4]).unwrap(), [rows[4].clone(), rows[0].clone(), rows[4].clone()]);
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(file.lengths(i), row.lengths());
        }
        assert_eq!(names(&folder), ["rows"]);
    }

    #[test]
    fn a_file_may_be_empty() {
        let (_folder, path) = written(&[]);
        let file = RowFile::open(&path).unwrap();
        assert!(RowSource::is_empty(&file) && file.read(&[]).unwrap().is_empty());
        assert!(file.read(&[0]).unwrap_err().to_string().contains("expected a row below 0, got 0"));
    }

    #[test]
    fn a_writer_that_does_not_finish_leaves_nothing() {
        let (folder, path) = written(&rows()[..1]);
        let mut writer = RowFileWriter::create(&path).unwrap();
        writer.push(&rows()[1]).unwrap();
        assert_eq!(names(&folder).len(), 2, "the file of before stays until the new one is whole");
        drop(writer);
        assert_eq!(names(&folder), ["rows"]);
        assert_eq!(RowFile::open(&path).unwrap().read(&[0]).unwrap(), rows()[..1]);
    }

    #[test]
    fn a_file_that_is_not_finished_cannot_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RowFileWriter::create(&folder.path().join("rows")).unwrap();
        writer.push(&rows()[0]).unwrap();
        writer.with_file(|out| out.flush()).unwrap();
        let error = RowFile::open(&folder.path().join("rows.unfinished")).unwrap_err().to_string();
        assert!(error.contains("expected it to begin with"), "{error}");
    }

    #[test]
    fn a_row_without_a_whole_prompt_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RowFileWriter::create(&folder.path().join("rows")).unwrap();
        let bad = TrainRow { prompt_len: 9, ..rows()[0].clone() };
        assert!(writer.push(&bad).unwrap_err().to_string().starts_with("row \"a\""));
        writer.push(&rows()[0]).unwrap();
        assert_eq!(writer.finish().unwrap().read(&[0]).unwrap(), rows()[..1], "and leaves no trace");
    }

    /// Reads everything of a file with other bytes.
    fn read_damaged(bytes: &[u8]) -> Result<Vec<TrainRow>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        fs::write(&path, bytes).unwrap();
        let file = RowFile::open(&path)?;
        file.read(&(0..file.len()).collect::<Vec<_>>())
    }

    #[test]
    fn every_damaged_byte_and_every_missing_one_is_noticed() {
        let (_folder, path) = written(&rows());
        let bytes = fs::read(path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let error = read_damaged(&damaged).unwrap_err();
            assert!(matches!(error, Error::BadRowFile { .. }), "byte {at}: {error}");
            assert!(read_damaged(&bytes[..at]).is_err(), "cut to {at} bytes");
        }
        assert!(read_damaged(&[bytes.as_slice(), &[0]].concat()).is_err(), "a byte too many");
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let (_folder, path) = written(&rows());
        let mut bytes = fs::read(path).unwrap();
        bytes[8] = 1;
        let error = read_damaged(&bytes).unwrap_err().to_string();
        assert!(error.contains("expected version 2, got Some(1)"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_row_comes_back(
            id in ".*", tokens in prop::collection::vec(any::<u32>(), 2..40), prompt in 0..3_usize, bits: u32,
            per_token: bool, with_policy: bool, given in (0..9_usize, 0..9_usize),
        ) {
            let response = tokens.len() - prompt.min(tokens.len());
            let value = f32::from_bits(bits);
            let each = || Weights::PerToken(vec![value; response]);
            let weights = || if per_token { each() } else { Weights::Row(value) };
            let given = given.0..given.1;
            let policy = Policy { advantages: weights(), given, old_logp: vec![value; response] };
            let row = TrainRow {
                id, prompt_len: tokens.len() - response, tokens, weights: weights(),
                policy: with_policy.then_some(policy),
            };
            // A response without tokens has no count to tell one weight from none.
            prop_assume!(response > 0);
            let (_folder, path) = written(std::slice::from_ref(&row));
            let read = RowFile::open(&path).unwrap().read(&[0]).unwrap().remove(0);
            // As text, since NaN differs from itself.
            prop_assert_eq!(format!("{read:?}"), format!("{row:?}"));
        }
    }
}
