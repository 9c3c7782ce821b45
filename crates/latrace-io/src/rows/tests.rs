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
    let (_folder, path) = file("data.jsonl", "{\"a\": 1}\n{\"a\": \n7\n{\"a\": 1e999}\n{\"a\": 2}\n");
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
