use serde_json::json;

use super::*;

fn read_all(path: &Path, bad_rows: BadRows) -> Result<(Vec<(Place, Row)>, u64)> {
    let mut reader = RowReader::open(path, bad_rows)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_with(|place, row| Ok::<_, FieldProblem>((place, row)))? {
        rows.push(row);
    }
    Ok((rows, reader.skipped()))
}

fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        other => panic!("expected an object, got {other}"),
    }
}

fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn json_lines_keep_field_order_and_count_blank_lines() {
    let (_folder, path) = file("data.jsonl", "{\"z\": 1, \"a\": 0.1}\n\n{\"b\": null}");
    let (rows, _) = read_all(&path, BadRows::Stop).unwrap();
    assert_eq!(rows[0].1.keys().collect::<Vec<_>>(), ["z", "a"]);
    assert_eq!(rows[1].0, Place::Line(3));
}

#[test]
fn a_json_array_is_read_row_by_row() {
    let (_folder, path) = file("data.json", " [{\"a\": 1}, {\"a\": 2}]");
    let (rows, _) = read_all(&path, BadRows::Stop).unwrap();
    assert_eq!(rows.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [Place::Row(1), Place::Row(2)]);
}

#[test]
fn a_bad_line_is_named_or_skipped_and_counted() {
    let (_folder, path) = file("data.jsonl", "{\"a\": 1}\n{\"a\": \n7\n{\"a\": 1e9e9}\n{\"a\": 2}\n");
    let message = read_all(&path, BadRows::Stop).unwrap_err().to_string();
    assert!(message.contains("data.jsonl line 2: expected a JSON object, got invalid JSON"), "{message}");
    let (rows, skipped) = read_all(&path, BadRows::Skip).unwrap();
    assert_eq!((rows.len(), skipped), (2, 3));
}

#[test]
fn an_unknown_extension_is_wrong_usage() {
    let error = RowReader::open(Path::new("data.csv"), BadRows::Stop).unwrap_err();
    assert!(error.is::<Failure>(), "{error}");
}

#[test]
fn ids_are_strings_or_integers_and_appear_once() {
    let mut seen = UniqueIds::default();
    assert_eq!(seen.take(&row(json!({"id": 1}))).unwrap(), json!(1));
    assert_eq!(seen.take(&row(json!({"id": "1"}))).unwrap(), json!("1"));
    assert!(seen.take(&row(json!({"id": 1}))).is_err());
    assert!(seen.take(&row(json!({"id": 1.5}))).is_err());
    assert!(seen.take(&row(json!({"id": null}))).is_err());
}

#[test]
fn samples_share_an_id_and_differ_in_their_numbers() {
    let mut seen = UniqueIds::default();
    for fresh in [
        json!({"id": 1}),
        json!({"id": 1, "sample": 0}),
        json!({"id": 1, "sample": 1}),
        json!({"id": 1, "sample": 1, "answer": 0}),
        json!({"id": "1", "sample": 1}),
    ] {
        seen.take_sample(&row(fresh)).unwrap();
    }
    for known in [
        json!({"id": 1}),
        json!({"id": 1, "sample": 1, "answer": 0}),
        json!({"id": 1, "sample": 1, "note": 3}),
        json!({"id": 1, "answer": "a text"}),
    ] {
        assert!(seen.take_sample(&row(known)).is_err());
    }
}

#[test]
fn parquet_holds_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let rows = [
        json!({"id": "a", "token_ids": [1, 2], "logprobs": [-0.1, -2.5], "nested": {"x": [{"y": "z"}]}, "flag": true}),
        json!({"id": "b", "token_ids": [], "logprobs": [], "nested": null, "flag": false}),
    ];
    let out = Output::new(Some(&path)).unwrap();
    write_rows(&out, |sink| rows.iter().try_for_each(|value| sink.write(row(value.clone())))).unwrap();
    let (read, _) = read_all(&path, BadRows::Stop).unwrap();
    let read: Vec<Value> = read.into_iter().map(|(_, row)| Value::Object(row)).collect();
    assert_eq!(read, rows);
    assert_eq!(row(read[0].clone()).keys().next().unwrap(), "id");
}

#[test]
fn parquet_takes_mixed_ids_empty_lists_nulls_and_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let out = Output::new(Some(&path)).unwrap();
    let rows = [json!({"id": "a", "none": null, "empty": []}), json!({"id": 2, "none": null, "empty": []})];
    write_rows(&out, |sink| rows.iter().try_for_each(|value| sink.write(row(value.clone())))).unwrap();
    let (read, _) = read_all(&path, BadRows::Stop).unwrap();
    assert_eq!(read[1].1["id"], json!("2"));
    assert_eq!(read[1].1["empty"], json!([]));
    write_rows(&out, |_| Ok(())).unwrap();
    assert_eq!(read_all(&path, BadRows::Stop).unwrap().0.len(), 0);
}

#[test]
fn a_failed_run_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let out = Output::new(Some(&path)).unwrap();
    let failed: Result<()> = write_rows(&out, |sink| {
        sink.write(row(json!({"a": 1})))?;
        anyhow::bail!("no more")
    });
    assert!(failed.is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_f32_prints_as_its_shortest_decimal() {
    assert_eq!(json!(shortest(-0.1)).to_string(), "-0.1");
    assert_eq!(json!(shortest(-1.1920929e-7)).to_string(), "-1.1920929e-7");
    assert_eq!(shortest(f32::NEG_INFINITY), None);
}

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = file(name, "");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

const ROWS: &str = "{\"a\": \"é😀\"}\n{\"a\": 2}\n";

#[track_caller]
fn check_read(name: &str, bytes: &[u8]) {
    let (_folder, path) = written(name, bytes);
    let (rows, _) = read_all(&path, BadRows::Stop).unwrap();
    let values: Vec<Value> = rows.iter().map(|(_, row)| row["a"].clone()).collect();
    assert_eq!(values, [json!("é😀"), json!(2)]);
    assert_eq!(rows[1].0, Place::Line(2));
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn json_is_read_whatever_it_is_encoded_in() {
    check_read("data.jsonl", ROWS.as_bytes());
    check_read("data.jsonl", format!("\u{feff}{ROWS}").as_bytes());
    check_read("data.jsonl", ROWS.replace('\n', "\r\n").as_bytes());
    check_read("data.jsonl", ROWS.replace('\n', "\r").as_bytes());
    check_read("data.jsonl", ROWS.replace('\n', "\n\u{feff}").as_bytes());
    for mark in ["", "\u{feff}"] {
        check_read("data.jsonl", &utf_16(&format!("{mark}{ROWS}"), u16::to_le_bytes));
        check_read("data.jsonl", &utf_16(&format!("{mark}{ROWS}"), u16::to_be_bytes));
    }
    // Longer than what is read at once.
    let long = format!("{{\"a\": \"é😀\", \"b\": \"{}\"}}\n{{\"a\": 2}}\n", "日x".repeat(3 << 17));
    check_read("data.jsonl", &utf_16(&long, u16::to_le_bytes));
    let packed = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    check_read("data.jsonl.gz", &packed(ROWS));
    // Joined files of gzip are one, and names need not say what they hold.
    let (first, second) = ROWS.split_at(ROWS.find('\n').unwrap() + 1);
    check_read("data.ndjson.gz", &[packed(first), packed(second)].concat());
    check_read("data.jsonl", &packed(ROWS));
    check_read("data.json.zst", &zstd::encode_all(ROWS.as_bytes(), 1).unwrap());
}

#[track_caller]
fn check_refused(name: &str, bytes: &[u8], expected: &str, hint: &str) {
    let (_folder, path) = written(name, bytes);
    let error = read_all(&path, BadRows::Stop).unwrap_err();
    assert!(format!("{error:#}").contains(expected), "{error:#}");
    let its = error.downcast_ref().and_then(BadRow::its_hint).unwrap_or_default();
    assert!(its.contains(hint), "{its}");
}

#[test]
fn json_that_is_no_unicode_is_named_for_what_it_is() {
    check_refused(
        "data.jsonl",
        b"{\"a\": 1}\n{\"id\": \"x\", \"text\": \"a \\ud83d b\"}\n",
        "data.jsonl line 2: field \"text\": expected Unicode text, got half of a character",
        "surrogatepass",
    );
    check_refused(
        "data.jsonl",
        b"{\"a\": \"caf\xe9\"}\n",
        "line 1: expected a JSON object in UTF-8, got the byte 0xE9",
        "iconv",
    );
    check_refused("data.jsonl", b"\xff\xfe\0\0{\0\0\0", "got UTF-32", "");
    check_refused("data.jsonl", b"\xff\xfe{", "half a unit", "");
    let bad = RowReader::open(Path::new("data.parquet.gz"), BadRows::Stop).unwrap_err().to_string();
    assert!(bad.contains("expected Parquet without compression around it"), "{bad}");
    // What is written is not compressed, whatever the name says.
    let error = Output::new(Some(Path::new("data.jsonl.gz"))).unwrap_err().to_string();
    assert!(error.contains("expected an extension of .jsonl"), "{error}");
}

#[test]
fn bad_rows_between_carriage_returns_are_counted_by_their_lines() {
    let (_folder, path) = written("data.jsonl", b"{\"a\": 1}\r{\"a\"\r\r{\"a\": 3}\n{\"a\":\r4}\n");
    let (rows, skipped) = read_all(&path, BadRows::Skip).unwrap();
    let places: Vec<u64> = rows.iter().map(|(place, _)| place.number()).collect();
    // Within a row, a carriage return is white space.
    assert_eq!((places, skipped), (vec![1, 4, 5], 1));
}

#[test]
fn numbers_of_any_size_go_through() {
    let text =
        "{\"id\":\"a\",\"n\":123456789012345678901234567890,\"x\":[0.1234567890123456789,1e999],\"y\":0.5}\n";
    let (folder, path) = file("data.jsonl", text);
    let (rows, _) = read_all(&path, BadRows::Stop).unwrap();
    assert_eq!(describe(&rows[0].1["n"]), "number 123456789012345678901234567890");
    assert_eq!(number_of(&rows[0].1["n"]), Some(1.2345678901234568e29));
    let copy = folder.path().join("copy.jsonl");
    let out = Output::new(Some(&copy)).unwrap();
    write_rows(&out, |sink| rows.iter().try_for_each(|(_, row)| sink.write(row.clone()))).unwrap();
    assert_eq!(fs::read_to_string(copy).unwrap(), text);
    let numbered = Row::from_iter([("id".to_owned(), rows[0].1["n"].clone())]);
    let error = UniqueIds::default().take(&numbered).unwrap_err().to_string();
    assert!(
        error.contains("expected a string or an integer of at most 64 bits, got number 1234567890123456789"),
        "{error}"
    );
}
