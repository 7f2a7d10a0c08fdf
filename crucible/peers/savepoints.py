#!/usr/bin/env python3
"""Savepoints as PostgreSQL's clients use them: psql's ON_ERROR_ROLLBACK, psycopg's and SQLAlchemy's nested transactions, asyncpg's.

    pip install 'psycopg[binary]' sqlalchemy asyncpg        # and psql on the path
    crucible/peers/savepoints.py postgres://USER@HOST:PORT/DATABASE

Makes a table "nested" anew for each client. Each does the same: three rows stay, what comes twice or is given up is undone.
"""

import asyncio
import subprocess
import sys

import asyncpg
import psycopg
import sqlalchemy
from sqlalchemy import orm

EXPECTED = [(1, "kept"), (3, "kept"), (4, "after an error")]


def check(client, found):
    found = [tuple(row) for row in found]
    if found != EXPECTED:
        sys.exit(f"{client}: {found}, not {EXPECTED}")
    print(f"{client}: ok")


def fresh(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS nested")
        connection.execute("CREATE TABLE nested (id integer PRIMARY KEY, note text)")


def rows(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id, note FROM nested ORDER BY id").fetchall()


def with_psql(url):
    script = """
        \\set ON_ERROR_ROLLBACK on
        BEGIN;
        INSERT INTO nested VALUES (1, 'kept');
        INSERT INTO nested VALUES (1, 'twice');
        SAVEPOINT mine;
        INSERT INTO nested VALUES (2, 'undone');
        SELECT 1 / 0;
        ROLLBACK TO mine;
        INSERT INTO nested VALUES (3, 'kept');
        SELECT * FROM missing;
        INSERT INTO nested VALUES (4, 'after an error');
        COMMIT;
    """
    command = ["psql", "--no-psqlrc", "--quiet", url]
    ran = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
    errors = [line for line in ran.stderr.splitlines() if "ERROR" in line]
    if len(errors) != 3:
        sys.exit(f"psql: {ran.stderr}")
    check("psql", rows(url))


def with_psycopg(url):
    with psycopg.connect(url) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO nested VALUES (1, 'kept')")
            try:
                with connection.transaction():
                    connection.execute("INSERT INTO nested VALUES (2, 'undone')")
                    connection.execute("INSERT INTO nested VALUES (1, 'twice')")
            except psycopg.errors.UniqueViolation:
                pass
            with connection.transaction("named") as named:
                connection.execute("INSERT INTO nested VALUES (2, 'undone')")
                raise psycopg.Rollback(named)
            with connection.transaction(), connection.transaction():
                connection.execute("INSERT INTO nested VALUES (3, 'kept')")
            connection.execute("INSERT INTO nested VALUES (4, 'after an error')")
    check("psycopg", rows(url))


class Base(orm.DeclarativeBase):
    pass


class Nested(Base):
    __tablename__ = "nested"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True, autoincrement=False)
    note = sqlalchemy.Column(sqlalchemy.Text)


def with_sqlalchemy(url):
    engine = sqlalchemy.create_engine(url.replace("postgres://", "postgresql+psycopg://"))
    with orm.Session(engine) as session, session.begin():
        session.add(Nested(id=1, note="kept"))
        session.flush()
        for identity, note in [(1, "twice"), (3, "kept"), (3, "twice")]:
            try:
                with session.begin_nested():
                    session.execute(sqlalchemy.insert(Nested).values(id=identity, note=note))
            except sqlalchemy.exc.IntegrityError:
                pass
        nested = session.begin_nested()
        session.add(Nested(id=2, note="undone"))
        session.flush()
        nested.rollback()
        session.add(Nested(id=4, note="after an error"))
    engine.dispose()
    check("SQLAlchemy", rows(url))


async def with_asyncpg(url):
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        await connection.execute("INSERT INTO nested VALUES ($1, $2)", 1, "kept")
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO nested VALUES ($1, $2)", 2, "undone")
                await connection.execute("INSERT INTO nested VALUES ($1, $2)", 1, "twice")
        except asyncpg.UniqueViolationError:
            pass
        async with connection.transaction():
            await connection.execute("INSERT INTO nested VALUES ($1, $2)", 3, "kept")
        # A cursor of the outer level goes on while an inner one is undone.
        seen = []
        async for row in connection.cursor("SELECT id FROM nested ORDER BY id", prefetch=1):
            seen.append(row["id"])
            inner = connection.transaction()
            await inner.start()
            await connection.execute("INSERT INTO nested VALUES ($1, $2)", 10 + row["id"], "undone")
            await inner.rollback()
        if seen != [1, 3]:
            sys.exit(f"asyncpg: a cursor gave {seen}")
        await connection.execute("INSERT INTO nested VALUES ($1, $2)", 4, "after an error")
    await connection.close()
    check("asyncpg", rows(url))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    url = sys.argv[1]
    for client in [with_psql, with_psycopg, with_sqlalchemy, lambda url: asyncio.run(with_asyncpg(url))]:
        fresh(url)
        client(url)


if __name__ == "__main__":
    main()
