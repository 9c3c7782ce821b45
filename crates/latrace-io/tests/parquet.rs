//! Parquet files that pyarrow wrote, of each type and codec: `oracle/parquet_goldens.py`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use latrace_io::rows::{
    BadRows, FieldProblem, Output, Row, RowReader, is_bytes, json_text, text_of, write_rows,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    /// The rows of each file, as texts of JSON.
    files: BTreeMap<String, Vec<String>>,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet").join(name)
}

fn rows(path: &std::path::Path) -> anyhow::Result<Vec<Row>> {
    let mut reader = RowReader::open(path, BadRows::Stop)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_with(|_, row| Ok::<_, FieldProblem>(row))? {
        rows.push(row);
    }
    Ok(rows)
}

fn texts(rows: &[Row]) -> Vec<String> {
    let text = |row: &Row| {
        if is_bytes(&row["v"]) {
            "bytes".to_owned()
        } else {
            json_text(&row["v"]).expect("a value has a text")
        }
    };
    rows.iter().map(text).collect()
}

#[test]
fn files_of_pyarrow_are_read_in_full() {
    let golden: Golden =
        serde_json::from_str(&std::fs::read_to_string(path("expected.json")).unwrap()).unwrap();
    for (name, expected) in &golden.files {
        let read =
            rows(&path(&format!("{name}.parquet"))).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(&texts(&read), expected, "{name}");
    }
}

#[test]
fn what_is_read_is_written_in_full() {
    let golden: Golden =
        serde_json::from_str(&std::fs::read_to_string(path("expected.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in &golden.files {
        let read = rows(&path(&format!("{name}.parquet"))).unwrap();
        for extension in ["parquet", "jsonl"] {
            let copy = folder.path().join(format!("{name}.{extension}"));
            let out = Output::new(Some(&copy)).unwrap();
            write_rows(&out, |sink| read.iter().try_for_each(|row| sink.write(row.clone()))).unwrap();
            let again = texts(&rows(&copy).unwrap());
            // A column has one type, so that numbers that no type takes are texts; JSON has no bytes.
            let plain = |texts: &[String]| {
                texts.iter().map(|text| text.trim_matches('"').to_owned()).collect::<Vec<_>>()
            };
            if extension == "parquet" || !expected.contains(&"bytes".to_owned()) {
                assert_eq!(plain(&again), plain(expected), "{name}.{extension}");
            }
        }
    }
}

#[test]
fn columns_of_one_name_are_refused() {
    let error = format!("{:#}", rows(&path("twice.parquet")).unwrap_err());
    assert!(error.ends_with("expected columns of different names, got two of the name \"v\""), "{error}");
}

#[test]
fn bytes_are_refused_as_texts_by_name_with_a_hint() {
    let read = rows(&path("binary.parquet")).unwrap();
    let problem = text_of(&read[0], "v").unwrap_err();
    let expected = "field \"v\": expected a text, got bytes (2 of them), which are no text";
    assert_eq!(problem.to_string(), expected);
    assert!(problem.its_hint().unwrap().contains("binary"), "{problem:?}");
}

/// A page refers to a dictionary that is not there, at which the `parquet` crate panics; found by fuzzing.
#[test]
fn a_damaged_page_is_an_error() {
    let error = rows(&path("damaged.parquet")).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("damaged.parquet") && error.contains("a page of it is damaged"), "{error}");
}
