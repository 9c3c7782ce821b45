//! Files of JSON as UTF-8, whatever they are encoded in: gzip, Zstandard, UTF-16, a byte order mark.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::failure::Failure;

/// Bytes read at once.
const BUFFER: usize = 1 << 20;

/// The byte order mark in UTF-8.
pub(super) const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Opens a file, and says by its first bytes how it is encoded: its name need not.
///
/// # Errors
/// A file that cannot be read, or in an encoding that is not supported.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = BufReader::with_capacity(BUFFER, File::open(path).with_context(cannot)?);
    let first = file.fill_buf().with_context(cannot)?;
    let unpacked: Box<dyn BufRead> = match first {
        [0x1f, 0x8b, ..] => buffered(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => buffered(ZstdDecoder::with_buffer(file).with_context(cannot)?),
        _ => Box::new(file),
    };
    as_utf8(unpacked, path).with_context(cannot)
}

fn buffered(reader: impl Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(BUFFER, reader))
}

fn as_utf8(mut reader: Box<dyn BufRead>, path: &Path) -> Result<Box<dyn BufRead>> {
    let (order, mark) = match reader.fill_buf()? {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Err(utf_32(path).into()),
        [0xef, 0xbb, 0xbf, ..] => (None, 3),
        [0xff, 0xfe, ..] => (Some(Order::Little), 2),
        [0xfe, 0xff, ..] => (Some(Order::Big), 2),
        // JSON begins with a character of ASCII, of which UTF-16 has a byte of zeros.
        [1..=255, 0, ..] => (Some(Order::Little), 0),
        [0, 1..=255, ..] => (Some(Order::Big), 0),
        _ => (None, 0),
    };
    reader.consume(mark);
    Ok(match order {
        Some(order) => buffered(Utf16 { reader, order, pending: Vec::new(), high: None }),
        None => reader,
    })
}

fn utf_32(path: &Path) -> Failure {
    Failure::work(format!("{}: expected JSON in UTF-8 or UTF-16, got UTF-32", path.display()))
        .hint("convert the file, such as with `iconv -f utf-32 -t utf-8`")
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// UTF-16 as UTF-8.
struct Utf16 {
    reader: Box<dyn BufRead>,
    order: Order,
    /// UTF-8 that did not fit into what was asked for.
    pending: Vec<u8>,
    /// The first half of a character.
    high: Option<u16>,
}

impl Utf16 {
    /// The next unit; none at the end.
    fn unit(&mut self) -> io::Result<Option<u16>> {
        let mut bytes = [0; 2];
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let whole = self.reader.read_exact(&mut bytes);
        whole.map_err(|_| broken("UTF-16 that ends with half a unit"))?;
        Ok(Some(match self.order {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        }))
    }

    /// Adds the next character to what is pending; false at the end.
    fn take(&mut self) -> io::Result<bool> {
        let Some(unit) = self.unit()? else {
            return if self.high.is_none() { Ok(false) } else { Err(broken("a lone surrogate in UTF-16")) };
        };
        let units: Vec<u16> = self.high.take().into_iter().chain([unit]).collect();
        let Some(decoded) = char::decode_utf16(units.iter().copied()).next() else { return Ok(true) };
        match decoded {
            Ok(character) => {
                self.pending.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
                Ok(true)
            }
            Err(_) if units.len() == 1 && (0xd800..0xdc00).contains(&unit) => {
                self.high = Some(unit);
                Ok(true)
            }
            Err(_) => Err(broken("a lone surrogate in UTF-16")),
        }
    }
}

fn broken(got: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("expected text, got {got}"))
}

impl Read for Utf16 {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.pending.len() < out.len() && self.take()? {}
        let taken = self.pending.len().min(out.len());
        out[..taken].copy_from_slice(&self.pending[..taken]);
        self.pending.drain(..taken);
        Ok(taken)
    }
}
