"""Golden Parquet files: what pyarrow writes of each type and codec, and what the rows are.

Each file has a handful of rows, the last of them null. `expected.json` has the rows as our reader should give them, as
texts of JSON: numbers in full, times as RFC 3339 writes them; `bytes` stands for what is no text.
"""

import decimal
import json
from datetime import date, datetime, time, timezone
from pathlib import Path
from platform import python_version

import pyarrow as pa
import pyarrow.parquet as pq

GOLDEN = Path(__file__).parent.parent / "crates/latrace-io/tests/golden/parquet"
TEXTS = ["1+1?", "é日😀", "", None]
WHEN = [datetime(2026, 3, 7, 12, 34, 56, 789000), datetime(1969, 12, 31, 23, 59, 59), None]


def stamps(unit, zone=None):
    values = [when and when.replace(tzinfo=timezone.utc if zone else None) for when in WHEN]
    return pa.array(values, pa.timestamp(unit, tz=zone))


def decimals(type_, *texts):
    return pa.array([text and decimal.Decimal(text) for text in texts], type_)


# The greatest of 76 digits, with their point anywhere.
NINES = "9" * 76
STAMPS = ["2026-03-07T12:34:56.789", "1969-12-31T23:59:59", None]
UTC = [stamp and stamp + "Z" for stamp in STAMPS]
SECONDS = ["2026-03-07T12:34:56", "1969-12-31T23:59:59", None]

# Name -> (column, rows as texts of JSON), or the rows alone where they are texts.
COLUMNS = {
    "string": (pa.array(TEXTS), TEXTS),
    "large_string": (pa.array(TEXTS, pa.large_string()), TEXTS),
    "string_view": (pa.array(TEXTS, pa.string_view()), TEXTS),
    "dictionary": (pa.array([*TEXTS, "1+1?"]).dictionary_encode(), [*TEXTS, "1+1?"]),
    "dictionary_large": (
        pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int64()), pa.array(["a", "b"], pa.large_string())),
        ["b", "a", None],
    ),
    "timestamp_ms": (stamps("ms"), STAMPS),
    "timestamp_s": (stamps("s"), SECONDS),
    "timestamp_utc": (stamps("us", "UTC"), UTC),
    "timestamp_zone": (stamps("ns", "Europe/Berlin"), UTC),
    "timestamp_offset": (stamps("ms", "+05:30"), UTC),
    "date": (pa.array([date(2026, 3, 7), None]), ["2026-03-07", None]),
    "date64": (pa.array([date(2026, 3, 7), None], pa.date64()), ["2026-03-07", None]),
    "time": (pa.array([time(12, 34, 56, 7), None], pa.time64("us")), ["12:34:56.000007", None]),
    "decimal128": (decimals(pa.decimal128(38, 10), "1.5", "-0.0000000001", None), None, ["1.5", "-1e-10", "null"]),
    "decimal128_long": (
        decimals(pa.decimal128(38, 2), "123456789012345678901234567890.12", None),
        None,
        ["123456789012345678901234567890.12", "null"],
    ),
    "decimal256": (decimals(pa.decimal256(76, 0), NINES, "-" + NINES, "4", None), None, [NINES, "-" + NINES, "4", "null"]),
    "decimal256_point": (
        decimals(pa.decimal256(76, 76), "0." + NINES, None),
        None,
        ["0." + NINES, "null"],
    ),
    "int64": (pa.array([-(2**63), 2**63 - 1, None]), None, [str(-(2**63)), str(2**63 - 1), "null"]),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), None, [str(2**64 - 1), "null"]),
    "float16": (pa.array([0.5, None], pa.float16()), None, ["0.5", "null"]),
    "bool": (pa.array([True, None]), None, ["true", "null"]),
    "null": (pa.nulls(2), None, ["null", "null"]),
    "list": (pa.array([["a", None], [], None], pa.list_(pa.string())), None, ['["a",null]', "[]", "null"]),
    "large_list": (pa.array([[1], None], pa.large_list(pa.int32())), None, ["[1]", "null"]),
    "fixed_list": (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), None, ["[1,2]", "null"]),
    "list_view": (pa.array([[1], None], pa.list_view(pa.int32())), None, ["[1]", "null"]),
    "struct": (pa.array([{"b": "x", "a": 1}, None]), None, ['{"b":"x","a":1}', "null"]),
    "map": (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())), None, ['{"k":1}', "null"]),
    "binary": (pa.array([b"a\x00", None], pa.binary()), None, ["bytes", "null"]),
    "large_binary": (pa.array([b"a", None], pa.large_binary()), None, ["bytes", "null"]),
    "binary_view": (pa.array([b"a", None], pa.binary_view()), None, ["bytes", "null"]),
    "fixed_binary": (pa.array([b"ab", None], pa.binary(2)), None, ["bytes", "null"]),
    "uuid": (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(range(16)), None], pa.binary(16))),
        ["00010203-0405-0607-0809-0a0b0c0d0e0f", None],
    ),
}
CODECS = ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]


def rows(column):
    _, texts, *given = column
    return given[0] if given else [json.dumps(text, ensure_ascii=False) for text in texts]


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.glob("*"):
        old.unlink()
    expected = {}
    for name, column in COLUMNS.items():
        pq.write_table(pa.table({"v": column[0]}), GOLDEN / f"{name}.parquet", compression="none")
        expected[name] = rows(column)
    # Long enough that each codec finds something to compress.
    texts = [f"What is {number} + {number}?" for number in range(40)]
    for codec in CODECS:
        for version in ("1.0", "2.0"):
            name = f"codec_{codec}_{version[0]}"
            path = GOLDEN / f"{name}.parquet"
            pq.write_table(pa.table({"v": texts}), path, compression=codec, data_page_version=version, use_dictionary=False)
            expected[name] = [json.dumps(text) for text in texts]
    # Columns of one name, which a row cannot have.
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["v", "v"])
    pq.write_table(twice, GOLDEN / "twice.parquet")
    versions = {"python": python_version(), "pyarrow": pa.__version__}
    golden = {"versions": versions, "files": expected}
    (GOLDEN / "expected.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
