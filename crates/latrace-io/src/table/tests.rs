use std::fs;

use latrace_core::{Reason, Split};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::printer::print_schema;

use super::*;
use crate::columnar::testing::{Column, column, write_file};
use crate::{record, view};

/// A record of every kind of column.
#[derive(Clone, Debug, PartialEq)]
struct Pair {
    id: String,
    number: u64,
    ids: Vec<u32>,
    logprobs: Option<Vec<f64>>,
    reason: Reason,
}

record!(Pair, "pair", { id, number, ids, logprobs, reason }, derived {
    verdict: |pair: &Pair| pair.reason.verdict().name()
});

#[derive(Clone, Debug, PartialEq)]
struct Other {
    id: String,
}

record!(Other, "other", { id });

/// A record that has the name of [`Pair`], and other columns.
#[derive(Debug)]
struct Impostor {
    id: String,
    number: f64,
}

record!(Impostor, "pair", { id, number });

/// Two columns of a [`Pair`].
#[derive(Clone, Debug, PartialEq)]
struct PairIds {
    number: u64,
    ids: Vec<u32>,
}

view!(PairIds of Pair, { number, ids });

fn pair(id: &str, number: u64, ids: &[u32]) -> Pair {
    let logprobs = (number > 0).then(|| ids.iter().map(|&id| -f64::from(id)).collect());
    Pair { id: id.to_owned(), number, ids: ids.to_vec(), logprobs, reason: Reason::Equal }
}

fn many() -> Vec<Pair> {
    (0..150).map(|number| pair(&format!("q{number}"), number % 3, &vec![7; number as usize % 5])).collect()
}

#[test]
fn records_come_back_part_by_part() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::<Pair>::create(folder.path(), "k");
    let parts = [vec![], vec![pair("a", 1, &[1, 2]), pair("b", 0, &[])], many()];
    parts.iter().enumerate().for_each(|(part, records)| table.write(part, records).unwrap());
    let table = Table::<Pair>::open(folder.path());
    let read: Vec<Pair> = table.records().unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(read, parts.concat());
    for (part, records) in parts.iter().enumerate() {
        assert_eq!(table.read(part).unwrap(), *records);
    }
    assert_eq!((table.parts().unwrap(), table.has(2), table.has(3)), (3, true, false));
}

#[test]
fn a_view_reads_its_columns_alone() {
    let folder = tempfile::tempdir().unwrap();
    Table::<Pair>::create(folder.path(), "k").write(0, &many()).unwrap();
    let expected: Vec<PairIds> = many().into_iter().map(PairIds::from).collect();
    assert_eq!(Table::<PairIds>::open(folder.path()).read(0).unwrap(), expected);
    // Values in other columns are not even looked at.
    Table::<Free>::create(folder.path(), "k").write(1, &free("splendid", "correct")).unwrap();
    assert_eq!(Table::<PairIds>::open(folder.path()).read(1).unwrap().len(), 71);
}

#[test]
fn parts_end_at_the_first_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::<Pair>::create(folder.path(), "k");
    [0, 1, 3].iter().for_each(|&part| table.write(part, &[]).unwrap());
    assert_eq!(table.parts().unwrap(), 2);
}

#[test]
fn every_part_has_the_schema_of_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::<Pair>::create(folder.path(), "the key");
    table.write(0, &[]).unwrap();
    table.write(1, &many()).unwrap();
    let expected = "message schema {
  REQUIRED BYTE_ARRAY id (STRING);
  REQUIRED INT64 number (INTEGER(64,false));
  REQUIRED group ids (LIST) {
    REPEATED group list {
      REQUIRED INT32 element (INTEGER(32,false));
    }
  }
  OPTIONAL group logprobs (LIST) {
    REPEATED group list {
      REQUIRED DOUBLE element;
    }
  }
  REQUIRED BYTE_ARRAY reason (STRING);
  REQUIRED BYTE_ARRAY verdict (STRING);
}
";
    for part in ["part-00000.parquet", "part-00001.parquet"] {
        let file = fs::File::open(folder.path().join(part)).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let metadata = reader.metadata().file_metadata();
        let mut schema = Vec::new();
        print_schema(&mut schema, metadata.schema());
        assert_eq!(String::from_utf8(schema).unwrap(), expected, "{part}");
        let pairs = metadata.key_value_metadata().unwrap();
        let said: Vec<_> =
            pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap())).collect();
        assert_eq!(
            said,
            [("latrace.schema", "2"), ("latrace.record", "pair"), ("latrace.stage_key", "the key")]
        );
    }
}

#[test]
fn equal_records_are_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::<Pair>::create(folder.path(), "k");
    (0..2).for_each(|part| table.write(part, &many()).unwrap());
    let bytes = |part| fs::read(folder.path().join(part)).unwrap();
    assert_eq!(bytes("part-00000.parquet"), bytes("part-00001.parquet"));
}

/// A view of a pair with a column of another type.
#[derive(Debug)]
struct ImpostorNumber {
    number: f64,
}

view!(ImpostorNumber of Impostor, { number });

#[test]
fn a_view_names_a_column_of_another_type() {
    check_refused::<ImpostorNumber>(
        write_part(&[pair("a", 0, &[])]),
        &["column \"number\": expected float64, got uint64"],
    );
}

/// What reading a part as `R` says that a table of other records wrote.
#[track_caller]
fn check_refused<R: View + fmt::Debug>(write: impl FnOnce(&Path), expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let table = Table::<R>::open(folder.path());
    let errors = [table.read(0).unwrap_err(), table.records().unwrap().find_map(Result::err).unwrap()];
    for error in errors {
        let said = format!("{error:#}");
        assert!(said.contains("part-00000.parquet"), "{said}");
        for part in expected {
            assert!(said.contains(part), "expected {part}, got {said}");
        }
    }
}

fn write_part<R: Record>(records: &[R]) -> impl FnOnce(&Path) {
    move |folder| Table::create(folder, "k").write(0, records).unwrap()
}

#[test]
fn a_part_of_other_records_is_named() {
    let expected = "expected records of kind \"other\" in layout 2, got \"pair\" in layout 2";
    check_refused::<Other>(write_part(&[pair("a", 0, &[])]), &[expected]);
}

#[test]
fn a_column_of_another_type_is_named() {
    let impostor = || Impostor { id: "a".to_owned(), number: 0.5 };
    check_refused::<Pair>(write_part(&[impostor()]), &["column \"number\": expected uint64, got float64"]);
    check_refused::<Impostor>(
        write_part(&[pair("a", 0, &[])]),
        &["column \"number\": expected float64, got uint64"],
    );
}

/// A record that has the name of [`Pair`] and lists of other numbers.
#[derive(Debug)]
struct OtherLists {
    id: String,
    number: u64,
    ids: Vec<f32>,
}

record!(OtherLists, "pair", { id, number, ids });

#[test]
fn a_list_of_other_items_is_named() {
    let lists = OtherLists { id: "a".to_owned(), number: 0, ids: vec![0.5] };
    check_refused::<Pair>(
        write_part(&[lists]),
        &["column \"ids\": expected lists of uint32, got lists of float32"],
    );
}

#[test]
fn columns_that_are_missing_superfluous_or_may_be_null_are_named() {
    let texts = [ByteArray::from("a")];
    let text = || column::<ByteArrayType>(&texts, &[1], &[]);
    let check = |fields: &str, columns: &[Column<'_>], layout, expected| {
        let metadata = [("latrace.schema", layout), ("latrace.record", "other")];
        let write = |folder: &Path| {
            write_file(&folder.join("part-00000.parquet"), fields, &metadata, &[columns]);
        };
        check_refused::<Other>(write, &[expected]);
    };
    let nullable = "optional byte_array id (STRING);";
    check(nullable, &[text()], "2", "column \"id\": expected text, got text or null");
    let id = "required byte_array id (STRING);";
    check(id, &[text()], "1", "in layout 2, got \"other\" in layout 1");
    check(
        &format!("{id} required double weight;"),
        &[text(), column::<DoubleType>(&[0.5], &[], &[])],
        "2",
        "column \"weight\": expected no such column, got float64",
    );
    check(
        "required byte_array name (STRING);",
        &[text()],
        "2",
        "column \"id\": expected text, got column \"name\" of text",
    );
}

/// A record of every type of column, each once as it may be missing.
#[derive(Clone, Debug, PartialEq)]
struct Every {
    text: String,
    flag: bool,
    natural: u64,
    integer: i64,
    double: f64,
    single: f32,
    ids: Vec<u32>,
    singles: Vec<f32>,
    doubles: Vec<f64>,
    split: Split,
    reason: Reason,
    note: Option<String>,
    maybe: Option<f64>,
    maybe_ids: Option<Vec<u32>>,
    maybe_split: Option<Split>,
}

record!(Every, "every", {
    text, flag, natural, integer, double, single, ids, singles, doubles, split, reason,
    note, maybe, maybe_ids, maybe_split,
});

fn every() -> Every {
    Every {
        text: "ö\n".to_owned(),
        flag: true,
        natural: u64::MAX,
        integer: i64::MIN,
        double: f64::NEG_INFINITY,
        single: -1e-30,
        ids: vec![1, u32::MAX],
        singles: vec![0.1, -2.5],
        doubles: vec![-0.0, f64::MIN_POSITIVE],
        split: Split::Test,
        reason: Reason::Equal,
        note: Some(String::new()),
        maybe: Some(0.1),
        maybe_ids: Some(vec![2, 3]),
        maybe_split: Some(Split::Train),
    }
}

fn least() -> Every {
    Every {
        text: String::new(),
        ids: vec![],
        singles: vec![],
        doubles: vec![],
        note: None,
        maybe: None,
        maybe_ids: None,
        maybe_split: None,
        ..every()
    }
}

#[test]
fn values_of_every_type_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::<Every>::create(folder.path(), "k");
    let parts = [
        vec![every()],
        vec![least()],
        vec![least(), every(), Every { maybe_ids: Some(vec![]), ..least() }, every(), least()],
        (0..200).map(|at| if at % 3 == 0 { every() } else { least() }).collect(),
    ];
    for (part, records) in parts.iter().enumerate() {
        table.write(part, records).unwrap();
        assert_eq!(table.read(part).unwrap(), *records);
    }
}

#[test]
fn lists_longer_than_a_page_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let long = |length: u32| PairIds { number: length.into(), ids: (0..length).collect() };
    let records: Vec<PairIds> = [300_000, 0, 1, 700_000, 5].map(long).to_vec();
    let pairs: Vec<Pair> = records
        .iter()
        .map(|record| Pair { ids: record.ids.clone(), ..pair("a", record.number, &[]) })
        .collect();
    Table::<Pair>::create(folder.path(), "k").write(0, &pairs).unwrap();
    assert!(Table::<PairIds>::open(folder.path()).read(0).unwrap() == records);
}

#[test]
fn a_damaged_part_is_named_with_what_to_do() {
    let damage = |folder: &Path| {
        write_part(&many())(folder);
        let path = folder.join("part-00000.parquet");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    };
    check_refused::<Pair>(damage, &["cannot read"]);
}

/// A pair whose texts are free: what a hand may have written.
struct Free {
    id: String,
    number: u64,
    ids: Vec<u32>,
    logprobs: Option<Vec<f64>>,
    reason: String,
    verdict: String,
}

record!(Free, "pair", { id, number, ids, logprobs, reason, verdict });

fn free(reason: &str, verdict: &str) -> Vec<Free> {
    let free = |(reason, verdict): (&str, &str)| Free {
        id: "a".to_owned(),
        number: 1,
        ids: vec![],
        logprobs: None,
        reason: reason.to_owned(),
        verdict: verdict.to_owned(),
    };
    // The last row alone is other than what it should be, beyond the first batch.
    [vec![("equal", "correct"); 70], vec![(reason, verdict)]].concat().into_iter().map(free).collect()
}

#[test]
fn an_unknown_name_or_a_verdict_that_belies_its_reason_is_an_error() {
    check_refused::<Pair>(
        write_part(&free("splendid", "correct")),
        &["row 71, column \"reason\": expected one of \"equal\"", "got \"splendid\""],
    );
    check_refused::<Pair>(
        write_part(&free("no_answer", "correct")),
        &["row 71, column \"verdict\": expected \"wrong\", which follows", "got \"correct\""],
    );
    check_refused::<Pair>(write_part(&free("equal", "right")), &["row 71, column \"verdict\"", "\"right\""]);
}

/// An [`Impostor`] as a later version writes it.
#[derive(Clone, Debug, PartialEq)]
struct Later {
    id: String,
    number: f64,
    gaps: Option<Vec<f32>>,
}

record!(Later, "pair", { id, number }, later { gaps });

#[test]
fn a_column_that_came_later_is_null_in_parts_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let (id, number) = ("a".to_owned(), 0.5);
    Table::create(folder.path(), "key").write(0, &[Impostor { id: id.clone(), number }]).unwrap();
    let of = |gaps| Later { id: id.clone(), number, gaps };
    let written = [of(Some(vec![0.25])), of(None)];
    let table = Table::<Later>::create(folder.path(), "key");
    table.write(1, &written).unwrap();
    assert_eq!(table.read(0).unwrap(), [of(None)]);
    assert_eq!(table.read(1).unwrap(), written);
    // What the version of before does not know, it refuses.
    let error = Table::<Impostor>::open(folder.path()).read(1).unwrap_err().to_string();
    assert!(error.contains("column \"gaps\": expected no such column"), "{error}");
}
