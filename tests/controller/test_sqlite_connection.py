from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.controller.sqlite_connection import connected


async def test_rows_and_counts_are_those_of_the_statement(tmp_path: Path):
    connection = await connected(str(tmp_path / "one.db"), isolation_level=None)
    try:
        statement = connection.cursor()
        await statement.execute("CREATE TABLE words (word TEXT)")
        await statement.executemany("INSERT INTO words VALUES (?)", [("a",), ("b",)])
        assert (statement.rowcount, statement.description) == (2, None)

        await statement.execute("SELECT word FROM words WHERE word > ?", ("a",))

        assert list(await statement.fetchall()) == [("b",)]
        assert statement.description[0][0] == "word"
    finally:
        await connection.close()


async def test_a_statement_that_was_read_holds_no_state_of_the_file(tmp_path: Path):
    path = str(tmp_path / "two.db")
    reader, writer = await connected(path, isolation_level=None), await connected(path, isolation_level=None, timeout=0)
    try:
        await writer.cursor().execute("CREATE TABLE words (word TEXT)")
        await writer.cursor().executemany("INSERT INTO words VALUES (?)", [("a",), ("b",)])
        await reader.cursor().execute("SELECT word FROM words")

        # In a file without write-ahead logging a reader that had not ended would have this refused.
        await writer.cursor().execute("INSERT INTO words VALUES ('c')")
    finally:
        await reader.close()
        await writer.close()


async def test_a_refused_statement_leaves_the_connection_good(tmp_path: Path):
    connection = await connected(str(tmp_path / "three.db"), isolation_level=None)
    try:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await connection.cursor().execute("SELECT * FROM absent")

        answer = await connection.cursor().execute("SELECT 1")
        assert list(await answer.fetchall()) == [(1,)]
    finally:
        await connection.close()
