"""TPC-H in DuckDB on the CSV files of `tpch load`: answers and times, one JSON object a line.

Doubles are printed with 12 significant digits: that is what survives adding millions of them in any order.
"""

import argparse
import decimal
import json
import pathlib
import time

import duckdb


def text(value):
    if value is None:
        return None
    if isinstance(value, float):
        number = decimal.Context(prec=12).create_decimal_from_float(value)
        exponent = number.adjusted() - 11
        return format(number.quantize(decimal.Decimal(1).scaleb(min(exponent, 0))), "f")
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of the CSV files")
    parser.add_argument("--queries", type=pathlib.Path, required=True, help="folder of schema.sql and q01.sql to q22.sql")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()

    database = duckdb.connect(config={"threads": arguments.threads})
    for statement in (arguments.queries / "schema.sql").read_text().split(";"):
        if statement.strip():
            # The keys would be indexes that no query uses here, and cost memory.
            database.execute(statement.split(", PRIMARY KEY")[0] + ")")
    for file in sorted(arguments.data.glob("*.csv")):
        database.execute(f"COPY {file.stem} FROM '{file}' (HEADER, DELIMITER ',', QUOTE '\"')")
    for file in sorted(arguments.queries.glob("q*.sql")):
        query = file.read_text()
        times = []
        for _ in range(arguments.runs):
            begin = time.perf_counter()
            rows = database.execute(query).fetchall()
            times.append((time.perf_counter() - begin) * 1000)
        answer = [[text(value) for value in row] for row in rows]
        print(json.dumps({"query": file.stem, "times_ms": times, "rows": answer}), flush=True)


if __name__ == "__main__":
    main()
