//! TensorBoard event files: scalars and histograms.
//!
//! A file is a sequence of TFRecords: length (u64), masked CRC-32C of the length, data, masked CRC-32C of the
//! data, all little-endian. The data is an `Event` protocol buffer, encoded here by hand.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Writes scalars and histograms of one run to one event file.
#[derive(Debug)]
pub struct EventWriter {
    file: BufWriter<File>,
}

impl EventWriter {
    /// Opens a new event file in `folder`. `first_step` tells TensorBoard to forget points at or after that
    /// step, which an interrupted run may have left in earlier files.
    pub fn create(folder: &Path, first_step: u64) -> Result<EventWriter> {
        let now = seconds_now();
        let name = format!("events.out.tfevents.{}.{}.latrace", now as u64, std::process::id());
        let path = folder.join(name);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut writer = EventWriter { file: BufWriter::new(file) };
        writer.write_record(&file_version_event(now))?;
        writer.write_record(&session_start_event(now, first_step))?;
        writer.flush()?;
        Ok(writer)
    }

    /// Adds the scalars of one step.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f32)]) -> Result<()> {
        self.write_record(&scalars_event(seconds_now(), step, scalars))
    }

    /// Adds the histograms of one step. Values that are not finite are left out, and a tag without others.
    ///
    /// # Errors
    /// I/O errors.
    pub fn histograms(&mut self, step: u64, histograms: &[(&str, &[f64])]) -> Result<()> {
        self.write_record(&histograms_event(seconds_now(), step, histograms))
    }

    /// Hands everything written so far to the system, so that a viewer sees it.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().context("cannot write the TensorBoard event file")
    }

    fn write_record(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(&frame(data)).context("cannot write the TensorBoard event file")
    }
}

fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::new();
    put_checked(&mut record, &length);
    put_checked(&mut record, data);
    record
}

/// Bytes, then their checksum.
fn put_checked(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend(bytes);
    record.extend(masked_crc(bytes).to_le_bytes());
}

fn masked_crc(data: &[u8]) -> u32 {
    // A plain CRC of data that contains CRCs would be weak, so the format rotates and shifts it.
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `Event { wall_time = 1, file_version = 3 }`
fn file_version_event(time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    put_double(&mut event, 1, time);
    // What TensorFlow's own writer begins each file with.
    put_bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// `Event { wall_time = 1, step = 2, session_log = 7: SessionLog { status = 1: START (1) } }`
fn session_start_event(time: f64, step: u64) -> Vec<u8> {
    let mut log = Vec::new();
    put_integer(&mut log, 1, 1);
    let mut event = event_at(time, step);
    put_bytes(&mut event, 7, &log);
    event
}

/// `Event { wall_time = 1, step = 2, summary = 5: Summary { value = 1: Value { tag = 1, simple_value = 2 } }
/// }`
fn scalars_event(time: f64, step: u64, scalars: &[(&str, f32)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in scalars {
        let mut value = Vec::new();
        put_bytes(&mut value, 1, tag.as_bytes());
        // Wire type 5: a number of 32 bits.
        put_key(&mut value, 2, 5);
        value.extend(number.to_le_bytes());
        put_bytes(&mut summary, 1, &value);
    }
    let mut event = event_at(time, step);
    put_bytes(&mut event, 5, &summary);
    event
}

/// `Event { …, summary = 5: Summary { value = 1: Value { tag = 1, histo = 5: HistogramProto } } }`
fn histograms_event(time: f64, step: u64, histograms: &[(&str, &[f64])]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, values) in histograms {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if let Some(histogram) = histogram(&finite) {
            let mut value = Vec::new();
            put_bytes(&mut value, 1, tag.as_bytes());
            put_bytes(&mut value, 5, &histogram);
            put_bytes(&mut summary, 1, &value);
        }
    }
    let mut event = event_at(time, step);
    put_bytes(&mut event, 5, &summary);
    event
}

/// Buckets of a histogram: as many as the viewer draws.
const BUCKETS: usize = 30;

/// `HistogramProto { min = 1, max = 2, num = 3, sum = 4, sum_squares = 5, bucket_limit = 6, bucket = 7 }`, in buckets of
/// equal width; none without values.
fn histogram(values: &[f64]) -> Option<Vec<u8>> {
    let min = values.iter().copied().min_by(f64::total_cmp)?;
    let max = values.iter().copied().max_by(f64::total_cmp)?;
    // Equal values are one bucket: TensorBoard expects none of no width.
    let buckets = if min < max { BUCKETS } else { 1 };
    let width = (max - min) / buckets as f64;
    let mut counts = vec![0.0; buckets];
    for value in values {
        // The largest value lies on the last bucket's limit, and belongs to it.
        let place = if width > 0.0 { ((value - min) / width) as usize } else { 0 };
        counts[place.min(buckets - 1)] += 1.0;
    }
    let limit = |bucket: usize| if bucket == buckets { max } else { min + width * bucket as f64 };
    let mut message = Vec::new();
    put_double(&mut message, 1, min);
    put_double(&mut message, 2, max);
    put_double(&mut message, 3, values.len() as f64);
    put_double(&mut message, 4, values.iter().sum());
    put_double(&mut message, 5, values.iter().map(|value| value * value).sum());
    put_doubles(&mut message, 6, &(1..=buckets).map(limit).collect::<Vec<_>>());
    put_doubles(&mut message, 7, &counts);
    Some(message)
}

/// `Event { wall_time = 1, step = 2 }`, to which its content is added.
fn event_at(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    put_double(&mut event, 1, time);
    put_integer(&mut event, 2, step);
    event
}

fn put_double(message: &mut Vec<u8>, field: u64, number: f64) {
    put_key(message, field, 1);
    message.extend(number.to_le_bytes());
}

/// Packed, as a field that is repeated.
fn put_doubles(message: &mut Vec<u8>, field: u64, numbers: &[f64]) {
    put_bytes(message, field, &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>());
}

fn put_integer(message: &mut Vec<u8>, field: u64, number: u64) {
    put_key(message, field, 0);
    put_varint(message, number);
}

fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(message, field, 2);
    put_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

fn put_key(message: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(message, field << 3 | wire_type);
}

fn put_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decoded field: its number and its value.
    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Integer(u64, u64),
        Double(u64, f64),
        Bytes(u64, Vec<u8>),
        Float(u64, f32),
    }

    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (head, tail) = bytes.split_at(count);
        *bytes = tail;
        head
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = take(bytes, 1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
        }
        panic!("a varint has at most ten bytes");
    }

    fn fields(mut bytes: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let number = key >> 3;
            fields.push(match key & 7 {
                0 => Field::Integer(number, varint(&mut bytes)),
                1 => Field::Double(number, f64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    Field::Bytes(number, take(&mut bytes, length).to_vec())
                }
                5 => Field::Float(number, f32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap())),
                other => panic!("wire type {other}"),
            });
        }
        fields
    }

    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let length = take(&mut bytes, 8);
            let check = take(&mut bytes, 4);
            assert_eq!(check, masked_crc(length).to_le_bytes());
            let data = take(&mut bytes, u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let check = take(&mut bytes, 4);
            assert_eq!(check, masked_crc(data).to_le_bytes());
            records.push(data.to_vec());
        }
        records
    }

    #[test]
    fn what_is_written_can_be_decoded() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 300).unwrap();
        writer.scalars(300, &[("loss", 1.5), ("lr", 1e-5)]).unwrap();
        writer.flush().unwrap();
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let records = records(&std::fs::read(path).unwrap());
        assert_eq!(records.len(), 3);

        let version = fields(&records[0]);
        assert!(matches!(version[0], Field::Double(1, time) if time > 1e9));
        assert_eq!(version[1], Field::Bytes(3, b"brain.Event:2".to_vec()));

        let start = fields(&records[1]);
        assert_eq!(start[1..], [Field::Integer(2, 300), Field::Bytes(7, vec![8, 1])]);

        let event = fields(&records[2]);
        assert_eq!(event[1], Field::Integer(2, 300));
        let Field::Bytes(5, summary) = &event[2] else {
            panic!("expected a summary, got {:?}", event[2]);
        };
        let values: Vec<Vec<Field>> = fields(summary)
            .into_iter()
            .map(|value| match value {
                Field::Bytes(1, value) => fields(&value),
                other => panic!("expected a value, got {other:?}"),
            })
            .collect();
        assert_eq!(
            values,
            [
                [Field::Bytes(1, b"loss".to_vec()), Field::Float(2, 1.5)],
                [Field::Bytes(1, b"lr".to_vec()), Field::Float(2, 1e-5)],
            ]
        );
    }

    /// min, max, number, sum and sum of squares, limits of buckets, and counts.
    fn decoded(values: &[f64]) -> ([f64; 5], Vec<f64>, Vec<f64>) {
        let fields = fields(&histogram(values).unwrap());
        let mut numbers = [0.0; 5];
        for (place, number) in numbers.iter_mut().enumerate() {
            let Field::Double(field, value) = fields[place] else { panic!("{fields:?}") };
            assert_eq!(field, place as u64 + 1);
            *number = value;
        }
        let doubles = |field: &Field, expected: u64| match field {
            Field::Bytes(number, bytes) if *number == expected => {
                bytes.chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
            }
            other => panic!("{other:?}"),
        };
        (numbers, doubles(&fields[5], 6), doubles(&fields[6], 7))
    }

    #[test]
    fn a_histogram_counts_every_value_once() {
        let values: Vec<f64> = (0..=60).map(f64::from).collect();
        let (numbers, limits, counts) = decoded(&values);
        assert_eq!(numbers, [0.0, 60.0, 61.0, 1830.0, 73810.0]);
        assert_eq!((limits.len(), limits[0], limits[29]), (BUCKETS, 2.0, 60.0));
        let mut expected = vec![2.0; BUCKETS];
        // With the largest value.
        expected[29] = 3.0;
        assert_eq!(counts, expected);
        assert_eq!(decoded(&[-1.5, -1.5]), ([-1.5, -1.5, 2.0, -3.0, 4.5], vec![-1.5], vec![2.0]));
        assert_eq!(histogram(&[]), None);
    }

    #[test]
    fn what_is_not_finite_is_in_no_histogram() {
        let tags = |histograms: &[(&str, &[f64])]| {
            let event = fields(&histograms_event(0.0, 3, histograms));
            assert_eq!(event[1], Field::Integer(2, 3));
            let Field::Bytes(5, summary) = &event[2] else { panic!("{event:?}") };
            fields(summary).len()
        };
        assert_eq!(tags(&[("a", &[1.0]), ("b", &[f64::NEG_INFINITY, f64::NAN]), ("c", &[])]), 1);
    }

    /// The check value of CRC-32C over "123456789" is e3069283; TensorFlow's mask of it is worked out by
    /// hand.
    #[test]
    fn the_checksum_is_the_masked_crc32c() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
    }
}
