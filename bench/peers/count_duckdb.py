"""The first field of each line, counted by DuckDB on all cores; prints the most frequent."""

import sys

import duckdb

found = duckdb.execute(
    "SELECT count(*) AS n, split_part(line, ' ', 1) AS k FROM read_csv(?, columns={'line': 'VARCHAR'}, "
    "delim='\x01', quote='', escape='', header=false, auto_detect=false) GROUP BY k ORDER BY n DESC, k LIMIT 20",
    [sys.argv[1]],
).fetchall()
for count, key in found:
    print(count, key)
