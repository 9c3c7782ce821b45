//! Files of every type, written value by value, and what they are as JSON; rows of JSON and back.
//!
//! What files of each type become was taken from arrow-json 60.1, which read them before. Differs in: times
//! with a zone are read, not refused; NaN and infinities are named wherever they are.

use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int32Type, Int64Type, Int96, Int96Type,
};
use serde_json::json;

use super::*;
use crate::columnar::testing::{Column, column, write_file};
use crate::rows::number;

/// The rows of a file of these columns.
fn read_back(fields: &str, columns: &[Column<'_>]) -> Result<Vec<Value>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    write_file(file.path(), fields, &[], &[columns]);
    read(file.path())?.map(|row| Ok(Value::Object(row?.1))).collect()
}

/// The values of an optional column, the last one null.
#[track_caller]
fn check<T: DataType>(kind: &str, values: &[T::T], expected: Value) {
    let field = match kind.split_once(' ') {
        Some((physical, logical)) => format!("optional {physical} v {logical};"),
        None => format!("optional {kind} v;"),
    };
    let definitions = [vec![1; values.len()], vec![0]].concat();
    let rows = read_back(&field, &[column::<T>(values, &definitions, &[])]).unwrap();
    let got: Vec<Value> = rows.into_iter().map(|row| row["v"].clone()).collect();
    let expected = [expected.as_array().unwrap().clone(), vec![Value::Null]].concat();
    // As text, so that 1 and 1.0 differ.
    assert_eq!(json!(got).to_string(), json!(expected).to_string(), "{kind}");
}

#[track_caller]
fn check_nested(fields: &str, columns: &[Column<'_>], expected: Value) {
    assert_eq!(json!(read_back(fields, columns).unwrap()).to_string(), expected.to_string(), "{fields}");
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<ByteArray> {
    values.into_iter().map(ByteArray::from).collect()
}

fn bytes<const N: usize>(values: &[[u8; N]]) -> Vec<FixedLenByteArray> {
    values.iter().map(|value| value.to_vec().into()).collect()
}

#[test]
fn numbers() {
    check::<BoolType>("boolean", &[true, false], json!([true, false]));
    check::<Int32Type>("int32", &[i32::MIN, 7], json!([i32::MIN, 7]));
    check::<Int32Type>("int32 (INTEGER(8,true))", &[-128, 127], json!([-128, 127]));
    check::<Int32Type>("int32 (INTEGER(16,true))", &[-32768, 1], json!([-32768, 1]));
    check::<Int32Type>("int32 (INTEGER(32,true))", &[-7], json!([-7]));
    check::<Int32Type>("int32 (INTEGER(8,false))", &[255], json!([255]));
    check::<Int32Type>("int32 (INTEGER(16,false))", &[65535], json!([65535]));
    check::<Int32Type>("int32 (INTEGER(32,false))", &[-1], json!([u32::MAX]));
    check::<Int32Type>("int32 (UINT_32)", &[-1], json!([u32::MAX]));
    check::<Int64Type>("int64", &[i64::MIN, i64::MAX], json!([i64::MIN, i64::MAX]));
    check::<Int64Type>("int64 (INTEGER(64,false))", &[-1], json!([u64::MAX]));
    check::<Int64Type>("int64 (UINT_64)", &[-1], json!([u64::MAX]));
    check::<DoubleType>("double", &[0.1, 1e300, 2.0], json!([0.1, 1e300, 2.0]));
    check::<FloatType>("float", &[0.1, 1e30, 2.0, -0.0], json!([0.1, 1e30, 2.0, -0.0]));
    let halves = bytes(&[[0x66, 0x2e], [0, 0x3c], [0, 0x7c], [0, 0x7e]]);
    check::<FixedLenByteArrayType>(
        "fixed_len_byte_array(2) (FLOAT16)",
        &halves,
        json!([0.099975586, 1.0, "inf", "NaN"]),
    );
}

#[test]
fn numbers_that_json_lacks_are_named() {
    check::<DoubleType>("double", &[f64::NAN, f64::INFINITY], json!(["NaN", "inf"]));
    check::<FloatType>("float", &[f32::NAN, f32::NEG_INFINITY], json!(["NaN", "-inf"]));
}

#[test]
fn decimals() {
    check::<Int32Type>("int32 (DECIMAL(5,2))", &[-12345, 5, 0, 100], json!([-123.45, 0.05, 0.0, 1.0]));
    check::<Int32Type>("int32 (DECIMAL(5,0))", &[-12345, 5], json!([-12345, 5]));
    let full = |numbers: &[&str]| json!(numbers.iter().map(|text| number(text).unwrap()).collect::<Vec<_>>());
    check::<Int64Type>("int64 (DECIMAL(18,4))", &[123_456_789_012_345_678], full(&["12345678901234.5678"]));
    let long = bytes(&[[0xff_u8; 16], [0x11; 16]]);
    let fixed = |length, decimal| format!("fixed_len_byte_array({length}) ({decimal})");
    let check_fixed = |length, decimal, values: &[_], expected| {
        check::<FixedLenByteArrayType>(&fixed(length, decimal), values, expected);
    };
    check_fixed(
        16,
        "DECIMAL(38,10)",
        &long,
        full(&["-0.0000000001", "2268549112806256423089164049.5451214097"]),
    );
    check_fixed(16, "DECIMAL(38,0)", &long, full(&["-1", "22685491128062564230891640495451214097"]));
    check_fixed(3, "DECIMAL(5,2)", &bytes(&[[0, 1, 0], [0xff, 0xff, 0]]), json!([2.56, -2.56]));
    let longer = bytes(&[[0xff_u8; 20], [0x11; 20]]);
    check_fixed(
        20,
        "DECIMAL(47,10)",
        &longer,
        full(&["-0.0000000001", "9743344248872686121357898884775220131.0395502865"]),
    );
    let short = [vec![0x01, 0x00], vec![0xff]].map(ByteArray::from);
    check::<ByteArrayType>("byte_array (DECIMAL(9,3))", &short, json!([0.256, -0.001]));
}

#[test]
fn texts_and_bytes() {
    check::<ByteArrayType>("byte_array (STRING)", &texts(["a\nö", ""]), json!(["a\nö", ""]));
    check::<ByteArrayType>("byte_array (UTF8)", &texts(["a"]), json!(["a"]));
    check::<ByteArrayType>("byte_array (JSON)", &texts(["{\"a\": 1}"]), json!(["{\"a\": 1}"]));
    check::<ByteArrayType>("byte_array (ENUM)", &texts(["ab"]), json!(["ab"]));
    let raw = crate::rows::bytes;
    check::<ByteArrayType>("byte_array (BSON)", &texts(["ab"]), json!([raw(b"ab")]));
    check::<ByteArrayType>("byte_array", &texts(["ab\u{7f}", ""]), json!([raw(b"ab\x7f"), raw(b"")]));
    check::<FixedLenByteArrayType>(
        "fixed_len_byte_array(3)",
        &bytes(&[[0, 15, 255]]),
        json!([raw(&[0, 15, 255])]),
    );
    check::<FixedLenByteArrayType>(
        "fixed_len_byte_array(16) (UUID)",
        &bytes(&[[7; 16]]),
        json!(["07070707-0707-0707-0707-070707070707"]),
    );
}

#[test]
fn dates_and_times() {
    check::<Int32Type>(
        "int32 (DATE)",
        &[0, -1, 19_782, 2_932_897, -719_163, -800_000],
        json!(["1970-01-01", "1969-12-31", "2024-02-29", "+10000-01-01", "0000-12-31", "-0221-09-04"]),
    );
    check::<Int32Type>(
        "int32 (TIME(MILLIS,true))",
        &[0, 45_296_789, 86_399_999],
        json!(["00:00:00", "12:34:56.789", "23:59:59.999"]),
    );
    check::<Int64Type>(
        "int64 (TIME(MICROS,true))",
        &[0, 45_296_789_012, 45_296_789_000],
        json!(["00:00:00", "12:34:56.789012", "12:34:56.789"]),
    );
    check::<Int64Type>(
        "int64 (TIME(NANOS,false))",
        &[1, 45_296_789_012_000, 45_296_000_000_000],
        json!(["00:00:00.000000001", "12:34:56.789012", "12:34:56"]),
    );
}

#[test]
fn instants() {
    let thousandths = ["1970-01-01T00:00:00", "1969-12-31T23:59:59.999", "2023-11-14T22:13:20.120"];
    let values = [0, -1, 1_700_000_000_120];
    check::<Int64Type>("int64 (TIMESTAMP(MILLIS,false))", &values, json!(thousandths));
    let zoned = thousandths.map(|text| format!("{text}Z"));
    check::<Int64Type>("int64 (TIMESTAMP(MILLIS,true))", &values, json!(zoned));
    check::<Int64Type>("int64 (TIMESTAMP_MILLIS)", &values, json!(zoned));
    check::<Int64Type>(
        "int64 (TIMESTAMP(NANOS,false))",
        &[1, -1, 1_000, i64::MIN],
        json!([
            "1970-01-01T00:00:00.000000001",
            "1969-12-31T23:59:59.999999999",
            "1970-01-01T00:00:00.000001",
            "1677-09-21T00:12:43.145224192",
        ]),
    );
    check::<Int64Type>(
        "int64 (TIMESTAMP(MICROS,false))",
        &[253_402_300_800_000_000, -62_135_596_800_000_000, -62_167_219_200_000_001],
        json!(["+10000-01-01T00:00:00", "0001-01-01T00:00:00", "-0001-12-31T23:59:59.999999"]),
    );
    let mut stamp = Int96::new();
    stamp.set_data(45_296, 0, 2_440_588);
    check::<Int96Type>("int96", &[stamp], json!(["1970-01-01T00:00:00.000045296"]));
}

#[test]
fn spans() {
    let span = |months: i32, days: i32, milliseconds: i32| {
        [months, days, milliseconds].map(i32::to_le_bytes).concat().try_into().unwrap()
    };
    check::<FixedLenByteArrayType>(
        "fixed_len_byte_array(12) (INTERVAL)",
        &bytes::<12>(&[span(0, 1, 2), span(0, 0, 0), span(0, -1, -1), span(14, 0, 3_723_000)]),
        json!(["1 days 0.002 secs", "0 secs", "-1 days -0.001 secs", "14 mons 1 hours 2 mins 3.000 secs"]),
    );
}

#[test]
fn what_no_type_can_be_is_an_error_that_names_the_column() {
    let error = |field: &str, column: Column<'_>| format!("{:#}", read_back(field, &[column]).unwrap_err());
    let late = column::<Int32Type>(&[86_400_000], &[1], &[]);
    let said = error("optional int32 v (TIME(MILLIS,true));", late);
    assert!(said.ends_with("column \"v\": expected a time of day, got 86400000 units of 1/1000 s"), "{said}");
    let broken = [ByteArray::from(vec![0xff])];
    let said = error("optional byte_array v (STRING);", column::<ByteArrayType>(&broken, &[1], &[]));
    assert!(said.contains("column \"v\": ") && said.contains("utf-8"), "{said}");
}

#[test]
fn lists() {
    let values = [1, 2, 3];
    // null, [], [1, null], [2], [3]
    check_nested(
        "optional group v (LIST) { repeated group list { optional int32 element; } }",
        &[column::<Int32Type>(&values, &[0, 1, 3, 2, 3, 3], &[0, 0, 0, 1, 0, 0])],
        json!([{"v": null}, {"v": []}, {"v": [1, null]}, {"v": [2]}, {"v": [3]}]),
    );
    check_nested(
        "required group v (LIST) { repeated group bag { required int32 array_element; } }",
        &[column::<Int32Type>(&values, &[0, 1, 1, 1], &[0, 0, 1, 0])],
        json!([{"v": []}, {"v": [1, 2]}, {"v": [3]}]),
    );
    check_nested(
        "optional group v (LIST) { repeated int32 array; }",
        &[column::<Int32Type>(&values, &[0, 1, 2, 2, 2], &[0, 0, 0, 1, 0])],
        json!([{"v": null}, {"v": []}, {"v": [1, 2]}, {"v": [3]}]),
    );
    check_nested(
        "repeated int32 v;",
        &[column::<Int32Type>(&values, &[0, 1, 1, 1], &[0, 0, 1, 0])],
        json!([{"v": []}, {"v": [1, 2]}, {"v": [3]}]),
    );
    check_nested(
        "optional group v (LIST) { repeated group list {
            optional group element (LIST) { repeated group list { optional int32 element; } }
        } }",
        &[column::<Int32Type>(&values, &[0, 1, 2, 3, 5, 4, 5, 5], &[0, 0, 0, 1, 1, 2, 1, 0])],
        json!([{"v": null}, {"v": []}, {"v": [null, [], [1, null], [2]]}, {"v": [[3]]}]),
    );
}

#[test]
fn structs() {
    let (numbers, names) = ([1, 2], texts(["a", "b"]));
    check_nested(
        "optional group v { optional int32 a; required byte_array b (STRING); }",
        &[column::<Int32Type>(&numbers, &[2, 0, 2], &[]), column::<ByteArrayType>(&names, &[1, 0, 1], &[])],
        json!([{"v": {"a": 1, "b": "a"}}, {"v": null}, {"v": {"a": 2, "b": "b"}}]),
    );
    check_nested(
        "optional group v (LIST) { repeated group array { optional int32 a; optional byte_array b (STRING); } }",
        &[
            column::<Int32Type>(&numbers, &[3, 2, 1, 3], &[0, 1, 0, 0]),
            column::<ByteArrayType>(&names, &[3, 3, 1, 2], &[0, 1, 0, 0]),
        ],
        json!([{"v": [{"a": 1, "b": "a"}, {"a": null, "b": "b"}]}, {"v": []}, {"v": [{"a": 2, "b": null}]}]),
    );
    check_nested(
        "optional group v (LIST) { repeated group array { required int32 a; } }",
        &[column::<Int32Type>(&numbers, &[0, 2, 2], &[0, 0, 1])],
        json!([{"v": null}, {"v": [{"a": 1}, {"a": 2}]}]),
    );
    check_nested(
        "optional group v (LIST) { repeated group element { required int32 a; } }",
        &[column::<Int32Type>(&numbers, &[0, 2, 2], &[0, 0, 1])],
        json!([{"v": null}, {"v": [1, 2]}]),
    );
    check_nested(
        "repeated group v { optional int32 a; optional byte_array b (STRING); }",
        &[
            column::<Int32Type>(&numbers, &[2, 1, 0, 2], &[0, 1, 0, 0]),
            column::<ByteArrayType>(&names, &[2, 2, 0, 1], &[0, 1, 0, 0]),
        ],
        json!([{"v": [{"a": 1, "b": "a"}, {"a": null, "b": "b"}]}, {"v": []}, {"v": [{"a": 2, "b": null}]}]),
    );
    check_nested(
        "optional group v { optional group w (LIST) { repeated group list {
            required group element { optional int32 a; }
        } } }",
        &[column::<Int32Type>(&numbers, &[0, 1, 2, 4, 3, 4], &[0, 0, 0, 0, 1, 0])],
        json!([
            {"v": null},
            {"v": {"w": null}},
            {"v": {"w": []}},
            {"v": {"w": [{"a": 1}, {"a": null}]}},
            {"v": {"w": [{"a": 2}]}},
        ]),
    );
}

#[test]
fn maps() {
    let (keys, numbers) = (texts(["k", "l", "m"]), [0.5_f32, f32::NAN]);
    let levels = ([0, 1, 2, 2, 2], [0, 0, 0, 1, 0]);
    let map = |key: &str| {
        format!(
            "optional group v (MAP) {{ repeated group key_value {{ required {key}; optional float value; }} }}"
        )
    };
    check_nested(
        &map("byte_array key (STRING)"),
        &[
            column::<ByteArrayType>(&keys, &levels.0, &levels.1),
            column::<FloatType>(&numbers, &[0, 1, 3, 2, 3], &levels.1),
        ],
        json!([{"v": null}, {"v": {}}, {"v": {"k": 0.5, "l": null}}, {"v": {"m": "NaN"}}]),
    );
    check_nested(
        "optional group v (MAP) { repeated group key_value { required byte_array key (STRING); } }",
        &[column::<ByteArrayType>(&keys, &levels.0, &levels.1)],
        json!([{"v": null}, {"v": []}, {"v": ["k", "l"]}, {"v": ["m"]}]),
    );
    let by_number = [
        column::<Int32Type>(&[1, 2, 3], &levels.0, &levels.1),
        column::<FloatType>(&numbers, &[0, 1, 3, 2, 3], &levels.1),
    ];
    let error = format!("{:#}", read_back(&map("int32 key"), &by_number).unwrap_err());
    assert!(error.ends_with("column \"v\": expected a map whose keys are text, got int32"), "{error}");
}

/// Rows as they come back from a file.
fn written(rows: Value) -> Result<Vec<Value>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.reopen().unwrap(), rows.as_array().unwrap())?;
    read(file.path())?.map(|row| Ok(Value::Object(row?.1))).collect()
}

#[track_caller]
fn check_written(rows: Value, expected: Value) {
    assert_eq!(json!(written(rows).unwrap()).to_string(), expected.to_string());
}

#[test]
fn rows_come_back_as_they_were() {
    let nested = json!([
        {"a": null, "b": {"c": [{"d": 1, "e": "x"}, {"d": null, "e": "y"}], "f": null}, "g": [[1, 2], [], [3]]},
        {"a": true, "b": null, "g": null},
        {"a": false, "b": {"c": [], "f": 0.5}, "g": []},
        {"a": false, "b": {"c": null, "f": 0.5}, "g": [null, [null, 4]]},
    ]);
    let mut expected = nested.clone();
    expected[2]["b"] = json!({"c": [], "f": 0.5});
    check_written(nested, expected);
    // More rows than are read or encoded at once.
    let many: Vec<Value> = (0..500).map(|id| json!({"id": id, "ids": vec![id; id % 7]})).collect();
    check_written(json!(many), json!(many));
    check_written(json!([]), json!([]));
}

#[test]
fn fields_that_rows_lack_are_null() {
    check_written(
        json!([{"a": 1}, {"b": "x"}, {"c": {"d": 1}}, {"c": {"e": 2}}]),
        json!([
            {"a": 1, "b": null, "c": null},
            {"a": null, "b": "x", "c": null},
            {"a": null, "b": null, "c": {"d": 1, "e": null}},
            {"a": null, "b": null, "c": {"d": null, "e": 2}},
        ]),
    );
}

#[test]
fn scalars_of_a_column_have_one_type() {
    let check = |values: Value, expected: Value| {
        let rows = |values: &Value| {
            let values = values.as_array().unwrap();
            json!(values.iter().map(|value| json!({"v": value})).collect::<Vec<_>>())
        };
        check_written(rows(&values), rows(&expected));
    };
    check(json!([1, i64::MIN, null]), json!([1, i64::MIN, null]));
    check(json!([1, 0.5, null]), json!([1.0, 0.5, null]));
    check(json!([1, u64::MAX]), json!([1, u64::MAX]));
    check(json!([-1, u64::MAX, null]), json!(["-1", u64::MAX.to_string(), null]));
    check(json!([u64::MAX, 0.5]), json!([u64::MAX.to_string(), "0.5"]));
    let long = number("123456789012345678901234567890").unwrap();
    check(json!([1, long]), json!(["1", "123456789012345678901234567890"]));
    let raw = crate::rows::bytes(b"a\0");
    check(json!([raw, null]), json!([raw, null]));
    check(json!([raw, "x"]), json!(["6100", "x"]));
    check(
        json!([1, "a", 0.5, true, null, u64::MAX]),
        json!(["1", "a", "0.5", "true", null, u64::MAX.to_string()]),
    );
    check(json!([1, true]), json!(["1", "true"]));
    check(json!([[1, "a"], [true], []]), json!([["1", "a"], ["true"], []]));
    check(json!([null, null]), json!([null, null]));
}

#[test]
fn rows_without_a_common_schema_name_the_field() {
    let check = |rows: Value, expected: &str| {
        let error = format!("{:#}", written(rows).unwrap_err());
        assert!(error.ends_with(expected), "{error}");
    };
    check(
        json!([{"v": 1}, {"v": {"a": 1}}]),
        "the rows have no common schema: field \"v\": expected a scalar, as in rows before, got an object",
    );
    check(
        json!([{"v": {"a": [{"b": [1]}]}}, {"v": {"a": [{"b": 2}]}}]),
        "field \"v.a.b\": expected a list, as in rows before, got number 2",
    );
    check(json!([{"v": {}}]), "field \"v\": expected objects with fields, got only empty ones");
}

#[test]
fn rows_go_on_in_the_next_row_group() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lists = "optional group v (LIST) { repeated group list { optional int32 element; } }";
    let groups: [&[Column<'_>]; 3] = [
        &[column::<Int32Type>(&[1, 2], &[3, 3], &[0, 1])],
        &[column::<Int32Type>(&[], &[0, 1], &[0, 0])],
        &[column::<Int32Type>(&[3], &[3], &[0])],
    ];
    write_file(file.path(), lists, &[], &groups);
    let rows: Vec<(Place, Value)> = read(file.path())
        .unwrap()
        .map(|row| row.map(|(place, row)| (place, row["v"].clone())).unwrap())
        .collect();
    let expected = [json!([1, 2]), json!(null), json!([]), json!([3])];
    assert_eq!(rows, (1..).map(Place::Row).zip(expected).collect::<Vec<_>>());
}
