"""Reads every table of a run folder with pyarrow, DuckDB and polars, each folder of parts as one table.

Prints the rows by folder as JSON. Exits 1 where the three do not agree in names, types of values or values.

Usage: read_tables.py RUN
"""

import json
import sys
from pathlib import Path

import duckdb
import polars
import pyarrow.dataset


def by_pyarrow(folder):
    # The folder has stage.json too, which is no Parquet file.
    dataset = pyarrow.dataset.dataset(folder, format="parquet", exclude_invalid_files=True)
    return dataset.to_table().to_pylist()


def by_duckdb(folder):
    table = duckdb.sql(f"SELECT * FROM '{folder}/*.parquet'")
    return [dict(zip(table.columns, row)) for row in table.fetchall()]


def by_polars(folder):
    return polars.read_parquet(f"{folder}/*.parquet").to_dicts()


def read(folder):
    """The rows, on which all readers agree."""
    first, *others = [(reader.__name__, reader(folder)) for reader in (by_pyarrow, by_duckdb, by_polars)]
    for name, rows in others:
        # As JSON, so that 1 and 1.0, equal to Python, differ.
        if json.dumps(rows) != json.dumps(first[1]):
            sys.exit(f"{folder}: {name} reads {rows}, {first[0]} reads {first[1]}")
    return first[1]


def main():
    run = Path(sys.argv[1])
    folders = sorted({part.parent for part in run.rglob("part-*.parquet")})
    json.dump({str(folder.relative_to(run)): read(folder) for folder in folders}, sys.stdout)


if __name__ == "__main__":
    main()
