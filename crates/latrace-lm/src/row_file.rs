//! Training rows in a file, written once and read a few at a time, so that no data set has to fit in memory.
//!
//! Layout, all integers and floats little-endian:
//!
//! ```text
//! header  magic (8 bytes), version u32, CRC-32C of the index u32, rows u64, offset of the index u64
//! rows    id (length u32, UTF-8), token ids u32 each, weights, policy
//! index   per row: offset u64, prompt tokens u32, response tokens u32, bytes u32, CRC-32C of the row u32
//! ```
//!
//! Weights are a count and as many f32: 0 stands for one number that holds for the whole row. A policy is
//! absent (u32 0), or 1, its given tokens (two u32), advantages as weights, and one old log-prob per token.
//! The index stays in memory (24 bytes a row); rows are read where it says, without mapping the file.

use crate::checkpoint::sync_folder;
use crate::error::Error;
use crate::rows::{Policy, RowLengths, RowSource, TrainRow, Weights};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"lat-rows";
const VERSION: u32 = 1;
const HEADER: usize = 32;
const ENTRY: usize = 24;

/// A row's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset: u64,
    prompt: u32,
    response: u32,
    bytes: u32,
    checksum: u32,
}

impl Entry {
    fn encode(self, out: &mut Vec<u8>) {
        out.extend(self.offset.to_le_bytes());
        for word in [self.prompt, self.response, self.bytes, self.checksum] {
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
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        if size < HEADER as u64 {
            return Err(damaged(path, format!("expected a header of {HEADER} bytes, got {size} bytes")));
        }
        let header = read_at(path, &file, 0, HEADER)?;
        let Header { checksum, rows, index } = Header::decode(path, &header)?;
        let expected = rows.checked_mul(ENTRY as u64).and_then(|length| index.checked_add(length));
        if expected != Some(size) {
            let detail = format!("expected an index of {rows} rows at byte {index}, got {size} bytes in all");
            return Err(damaged(path, detail));
        }
        let index_bytes = read_at(path, &file, index, (size - index) as usize)?;
        let got = crc32c::crc32c(&index_bytes);
        if got != checksum {
            let detail = format!("expected an index with checksum {checksum:08x}, got {got:08x}");
            return Err(damaged(path, detail));
        }
        let mut bytes = Bytes(&index_bytes);
        let entries = std::iter::from_fn(|| Entry::decode(&mut bytes)).collect();
        Ok(Self { path: path.to_owned(), file, entries })
    }

    fn read_row(&self, row: usize) -> Result<TrainRow, Error> {
        let Some(&entry) = self.entries.get(row) else {
            let count = self.entries.len();
            return Err(damaged(&self.path, format!("expected a row below {count}, got {row}")));
        };
        let bytes = read_at(&self.path, &self.file, entry.offset, entry.bytes as usize)?;
        let got = crc32c::crc32c(&bytes);
        if got != entry.checksum {
            let expected = entry.checksum;
            let detail = format!("row {row}: expected checksum {expected:08x}, got {got:08x}");
            return Err(damaged(&self.path, detail));
        }
        decode_row(&bytes, entry.lengths())
            .ok_or_else(|| damaged(&self.path, format!("row {row} is not laid out as its lengths say")))
    }
}

impl RowSource for RowFile {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn lengths(&self, row: usize) -> RowLengths {
        self.entries[row].lengths()
    }

    fn read(&self, rows: &[usize]) -> Result<Vec<TrainRow>, Error> {
        rows.iter().map(|&row| self.read_row(row)).collect()
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
    end: u64,
    buffer: Vec<u8>,
}

impl RowFileWriter {
    /// Begins a file that will be `path`; what is there stays until then.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let mut name = path.as_os_str().to_owned();
        name.push(".unfinished");
        let unfinished = PathBuf::from(name);
        let file = File::create(&unfinished).map_err(Error::io("create", &unfinished))?;
        let mut writer = Self {
            path: path.to_owned(),
            unfinished,
            out: Some(BufWriter::new(file)),
            entries: Vec::new(),
            end: 0,
            buffer: Vec::new(),
        };
        // The header comes last: until then, the file is one that nobody can open.
        writer.write(&[0; HEADER])?;
        Ok(writer)
    }

    /// Adds a row. It is written as it is; the trainer checks what it reads.
    ///
    /// # Errors
    /// A full disk; a row of 4 GiB or more.
    pub fn push(&mut self, row: &TrainRow) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let entry = encode_row(row, &mut buffer).and_then(|()| self.entry(row, &buffer));
        let Some(entry) = entry else {
            let detail = "expected a prompt, a response and at most 4 GiB of data".into();
            return Err(Error::Row { id: row.id.clone(), detail });
        };
        self.write(&buffer)?;
        self.entries.push(entry);
        self.buffer = buffer;
        Ok(())
    }

    fn entry(&self, row: &TrainRow, bytes: &[u8]) -> Option<Entry> {
        Some(Entry {
            offset: self.end,
            prompt: u32::try_from(row.prompt_len).ok()?,
            response: u32::try_from(row.tokens.len().checked_sub(row.prompt_len)?).ok()?,
            bytes: u32::try_from(bytes.len()).ok()?,
            checksum: crc32c::crc32c(bytes),
        })
    }

    /// Writes the index, gives the file its name, and opens it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<RowFile, Error> {
        let (rows, index_at) = (self.entries.len() as u64, self.end);
        let mut index = Vec::with_capacity(self.entries.len() * ENTRY);
        self.entries.iter().for_each(|entry| entry.encode(&mut index));
        self.write(&index)?;
        let header = Header { checksum: crc32c::crc32c(&index), rows, index: index_at }.encode();
        let complete = |out: &mut BufWriter<File>| {
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&header)?;
            out.flush()?;
            out.get_ref().sync_all()
        };
        self.with_file(complete)?;
        fs::rename(&self.unfinished, &self.path).map_err(Error::io("rename", &self.unfinished))?;
        self.out = None;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))?;
        RowFile::open(&self.path)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.with_file(|out| out.write_all(bytes))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn with_file(&mut self, work: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Error> {
        self.out.as_mut().map_or(Ok(()), work).map_err(Error::io("write", &self.unfinished))
    }
}

impl Drop for RowFileWriter {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // What is still buffered is not wanted any more; and if the file is gone already, all the better.
            drop(out.into_parts());
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// What the header says, after magic and version.
struct Header {
    checksum: u32,
    rows: u64,
    index: u64,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.checksum.to_le_bytes());
        bytes.extend(self.rows.to_le_bytes());
        bytes.extend(self.index.to_le_bytes());
        bytes
    }

    fn decode(path: &Path, header: &[u8]) -> Result<Self, Error> {
        let mut bytes = Bytes(header);
        let magic = bytes.take(MAGIC.len());
        if magic != Some(&MAGIC) {
            return Err(damaged(path, format!("expected it to begin with {MAGIC:?}, got {magic:?}")));
        }
        match bytes.word() {
            Some(VERSION) => {}
            other => return Err(damaged(path, format!("expected version {VERSION}, got {other:?}"))),
        }
        let rest = (|| Some(Self { checksum: bytes.word()?, rows: bytes.long()?, index: bytes.long()? }))();
        rest.ok_or_else(|| damaged(path, "its header is cut short".into()))
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
            0 => Some(Weights::Row(self.floats(1)?[0])),
            count if count == response => Some(Weights::PerToken(self.floats(count)?)),
            _ => None,
        }
    }

    fn policy(&mut self, response: usize) -> Option<Option<Policy>> {
        if self.word()? == 0 {
            return Some(None);
        }
        let given = self.word()? as usize..self.word()? as usize;
        let advantages = self.weights(response)?;
        Some(Some(Policy { advantages, given, old_logp: self.floats(response)? }))
    }
}

fn decode_row(bytes: &[u8], lengths: RowLengths) -> Option<TrainRow> {
    let mut bytes = Bytes(bytes);
    let length = bytes.word()? as usize;
    let id = std::str::from_utf8(bytes.take(length)?).ok()?.to_owned();
    let tokens = bytes.words(lengths.total())?.map(u32::from_le_bytes).collect();
    let weights = bytes.weights(lengths.response)?;
    let policy = bytes.policy(lengths.response)?;
    bytes.0.is_empty().then_some(TrainRow { id, tokens, prompt_len: lengths.prompt, weights, policy })
}

fn encode_row(row: &TrainRow, out: &mut Vec<u8>) -> Option<()> {
    out.extend(u32::try_from(row.id.len()).ok()?.to_le_bytes());
    out.extend(row.id.as_bytes());
    out.extend(row.tokens.iter().flat_map(|id| id.to_le_bytes()));
    encode_weights(&row.weights, out)?;
    let Some(policy) = &row.policy else {
        out.extend(0_u32.to_le_bytes());
        return Some(());
    };
    for word in [1, policy.given.start, policy.given.end] {
        out.extend(u32::try_from(word).ok()?.to_le_bytes());
    }
    encode_weights(&policy.advantages, out)?;
    out.extend(policy.old_logp.iter().flat_map(|logp| logp.to_le_bytes()));
    Some(())
}

fn encode_weights(weights: &Weights, out: &mut Vec<u8>) -> Option<()> {
    let count = if let Weights::PerToken(values) = weights { values.len() } else { 0 };
    out.extend(u32::try_from(count).ok()?.to_le_bytes());
    out.extend(weights.stored().iter().flat_map(|value| value.to_le_bytes()));
    Some(())
}

fn read_at(path: &Path, file: &File, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).map_err(Error::io("read", path))?;
    Ok(bytes)
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
    fn read_damaged(bytes: &[u8]) -> Result<Vec<TrainRow>, Error> {
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
        bytes[8] = 2;
        let error = read_damaged(&bytes).unwrap_err().to_string();
        assert!(error.contains("expected version 1, got Some(2)"), "{error}");
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
