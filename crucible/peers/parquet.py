#!/usr/bin/env python3
"""Parquet between Strata, DuckDB and pyarrow: files of each are read by the others, and every value must be the same.

    pip install duckdb pyarrow pytz 'psycopg[binary]'
    crucible/peers/parquet.py path/to/strata-server
"""

import datetime
import decimal
import json
import math
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import uuid

import duckdb
import psycopg
import pyarrow
import pyarrow.compute
import pyarrow.parquet

ROWS = 20_000

# Name, type, and the value of row n as SQL; every seventh is NULL, each column at another place.
COLUMNS = [
    ("flag", "boolean", "n % 3 = 0"),
    ("small", "smallint", "(n % 65536 - 32768)::smallint"),
    ("whole", "integer", "(n::bigint * 214748 - 2147483648)::integer"),
    ("large", "bigint", "n::bigint * 461168601842738 - 4611686018427387904"),
    ("single", "real", "(n / 3.0)::real"),
    ("double", "double precision", "sqrt(n::double precision) * -1e100"),
    ("price", "numeric(12,2)", "(n - 10000) / 100.0"),
    ("exact", "numeric(38,10)", "n * 1234567890123456.0123456789"),
    ("label", "text", "'line ' || n || E'\\n\"quoted\", \u00e4\u00f6\u20ac \U0001f600'"),
    ("code", "varchar(20)", "'c' || n % 10"),
    ("raw", "bytea", "decode(md5(n::text), 'hex')"),
    ("day", "date", "date '1900-01-01' + n"),
    ("clock", "time", "time '00:00:00' + n * interval '4.321 seconds'"),
    ("moment", "timestamp", "timestamp '1901-02-03 04:05:06.789' + n * interval '1 hour 1.000001 seconds'"),
    ("instant", "timestamptz", "timestamptz '1969-12-31 23:59:59.999999+00' + n * interval '90 minutes'"),
    ("id", "uuid", "md5(n::text)::uuid"),
    ("document", "jsonb", "('{\"n\": ' || n || ', \"list\": [1, null]}')::jsonb"),
    ("numbers", "integer[]", "CASE n % 3 WHEN 0 THEN '{}'::integer[] WHEN 1 THEN ARRAY[n, NULL, -n] ELSE ARRAY[n] END"),
    ("words", "text[]", "ARRAY['a' || n, '', NULL, '{\"x\"}']"),
]

NAMES = [name for name, _, _ in COLUMNS]
TABLE = "(key integer PRIMARY KEY, " + ", ".join(f"{name} {kind}" for name, kind, _ in COLUMNS) + ")"


def start(program, folder):
    """A server on a port of its own, and what psycopg connects with."""
    command = [program, "--listen", "127.0.0.1:0", "--data-dir", str(folder), "--memory", "512MiB"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        line = re.sub(r"\x1b\[[0-9;]*m", "", line)
        if found := re.search(r"ready address=[^ ]*:(\d+)", line):
            return server, f"host=127.0.0.1 port={found[1]} user=crucible dbname=strata"
    sys.exit("the server did not start")


def normal(name, value):
    """A value in one form, whoever read it."""
    if isinstance(value, list):
        return [normal(name, item) for item in value]
    if value is None or isinstance(value, (bool, int, str)) and name not in ("document", "id"):
        return value
    if name == "single":
        return "nan" if math.isnan(value) else struct.pack("f", value)
    if name == "double":
        return "nan" if math.isnan(value) else value
    if name == "document":
        return json.dumps(json.loads(value) if isinstance(value, (str, bytes)) else value, sort_keys=True)
    if name == "id":
        return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value))
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc)
    if isinstance(value, decimal.Decimal):
        return value.normalize()
    return bytes(value) if isinstance(value, (memoryview, bytearray)) else value


def compare(what, wanted, found):
    """Two lists of rows, in the order of their keys."""
    assert len(wanted) == len(found), f"{what}: {len(found)} rows, not {len(wanted)}"
    for place, name in enumerate(["key", *NAMES]):
        for ours, theirs in zip(wanted, found):
            left, right = normal(name, ours[place]), normal(name, theirs[place])
            assert left == right, f"{what}: column {name} of row {ours[0]}: {right!r}, not {left!r}"
        counted = sum(row[place] is not None for row in found)
        assert 0 < counted <= len(found), f"{what}: {name}"
    print(f"{what}: {len(found)} rows, {len(NAMES) + 1} columns, all the same")


def by_duckdb(path):
    """A file's rows, its counts and sums."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    rows = database.execute(f"SELECT key, {', '.join(NAMES)} FROM '{path}' ORDER BY key").fetchall()
    return rows, database.execute(f"SELECT {SUMS.replace('::numeric', '')} FROM '{path}'").fetchone()


def by_pyarrow(path):
    """A file's rows."""
    table = pyarrow.parquet.read_table(path).sort_by("key")
    assert table.schema.names == ["key", *NAMES], table.schema
    return list(zip(*(table.column(name).to_pylist() for name in ["key", *NAMES])))


SUMS = ", ".join(
    ["count(*)", *(f"count({name})" for name in NAMES)]
    + [f"sum({name}::numeric)" for name in ("small", "whole", "large", "price", "exact")]
)



def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        server, conninfo = start(program, folder / "database")
        try:
            with psycopg.connect(conninfo, autocommit=True) as client:
                client.execute("SET TimeZone = 'UTC'")
                exchange(client, folder)
        finally:
            server.terminate()
            server.wait(60)


def select(client, table):
    return client.execute(f"SELECT key, {', '.join(NAMES)} FROM {table} ORDER BY key").fetchall()


def exchange(client, folder):
    client.execute(f"CREATE TABLE origin {TABLE}")
    values = ", ".join(
        f"CASE WHEN (n + {place}) % 7 = 0 THEN NULL ELSE {value} END" for place, (_, _, value) in enumerate(COLUMNS)
    )
    client.execute(f"INSERT INTO origin SELECT n, {values} FROM generate_series(1, {ROWS}) AS g(n)")
    specials = "UPDATE origin SET single = %s, double = %s, label = '', numbers = '{}', exact = -exact WHERE key = %s"
    for key, value in ((1, "NaN"), (2, "Infinity"), (3, "-Infinity")):
        client.execute(specials, (value, value, key))
    # Of dead rows and of rows in column blocks nothing may show.
    client.execute("DELETE FROM origin WHERE key % 100 = 50")
    client.execute("VACUUM")
    truth = select(client, "origin")
    sums = client.execute(f"SELECT {SUMS} FROM origin").fetchone()

    ours = folder / "strata.parquet"
    client.execute(f"COPY origin TO '{ours}'")
    rows, told = by_duckdb(ours)
    compare("Strata's file by DuckDB", truth, rows)
    assert [normal("", value) for value in sums] == [normal("", decimal.Decimal(value)) for value in told], (sums, told)
    print("counts and sums:", *sums)
    compare("Strata's file by pyarrow", truth, by_pyarrow(ours))

    table = pyarrow.parquet.read_table(ours)
    for name, options in (
        ("plain", {"compression": "none", "use_dictionary": False}),
        ("snappy", {"compression": "snappy", "row_group_size": 777}),
        ("gzip", {"compression": "gzip", "data_page_version": "2.0", "version": "2.6"}),
        ("zstd", {"compression": "zstd", "version": "1.0", "write_statistics": False}),
        ("lz4", {"compression": "lz4", "store_schema": False, "data_page_size": 1000}),
        ("brotli", {"compression": "brotli", "use_compliant_nested_type": False}),
    ):
        path = folder / f"pyarrow-{name}.parquet"
        pyarrow.parquet.write_table(table, path, **options)
        read_back(client, f"pyarrow's file ({name})", path, truth)

    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    for name, options in (("zstd", "COMPRESSION zstd"), ("small groups", "COMPRESSION snappy, ROW_GROUP_SIZE 2048")):
        path = folder / f"duckdb-{name.replace(' ', '-')}.parquet"
        database.execute(f"COPY (SELECT * FROM '{ours}') TO '{path}' (FORMAT parquet, {options})")
        read_back(client, f"DuckDB's file ({name})", path, truth)


def read_back(client, what, path, truth):
    """Strata reads a peer's file."""
    client.execute("DROP TABLE IF EXISTS again")
    client.execute(f"CREATE TABLE again {TABLE}")
    client.execute(f"COPY again FROM '{path}'")
    compare(what, truth, select(client, "again"))


if __name__ == "__main__":
    main()
