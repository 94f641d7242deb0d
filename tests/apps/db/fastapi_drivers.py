"""A FastAPI service on databases, by each driver that DRIVERS names. Knows nothing of tracing.

Each driver has a pool of connections, POOL of them, opened when the service starts; PREPARED is prepared on each of them then, where the
driver prepares statements. /DRIVER/N makes the same calls each time, with N in the text of all others.
"""

import os
from contextlib import asynccontextmanager

import asyncpg
import psycopg
import psycopg_pool
import redis.asyncio
import redis_place
import sqlalchemy
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from sqlalchemy.ext.asyncio import create_async_engine

CONNECTIONS = int(os.environ.get("POOL", 8))
PREPARED = "SELECT count(*) FROM customers WHERE name <> $1"


def statements(request):
    """A query, the same query with its parameter twice, an insertion and one that fails."""
    return (
        f"SELECT 1 AS r{request}",
        f"SELECT name AS r{request} FROM customers WHERE id = $1",
        f"INSERT INTO orders (customer_id, item) VALUES ($1, $2) RETURNING id AS r{request}",
        f"INSERT INTO customers (id, name) VALUES (1, 'Eve') RETURNING id AS r{request}",
    )


class Asyncpg:
    async def open(self):
        self.pool = await asyncpg.create_pool(min_size=CONNECTIONS, max_size=CONNECTIONS, init=self.prepare)

    async def prepare(self, connection):
        await connection.fetchval(PREPARED, "Eve")

    async def __call__(self, request):
        query, lookup, insert, failing = statements(request)
        async with self.pool.acquire() as connection:
            await connection.execute(query)
            names = [await connection.fetchval(lookup, customer) for customer in (1, 2)]
            await connection.fetchval(PREPARED, "Eve")
            await connection.fetchval(insert, 1, "tea")
            try:
                await connection.fetchval(failing)
            except asyncpg.PostgresError as error:
                return [*names, error.sqlstate]


class AsyncpgTypes:
    """A connection for each request, which must find out what the enumeration is that it is given."""

    async def open(self):
        pass

    async def __call__(self, request):
        connection = await asyncpg.connect()
        try:
            return [await connection.fetchval(f"SELECT box AS r{request} FROM customers WHERE id = $1", 2)]
        finally:
            await connection.close()


class Psycopg3:
    async def open(self):
        settings = {"min_size": CONNECTIONS, "configure": self.prepare, "open": False}
        self.pool = psycopg_pool.AsyncConnectionPool("", **settings)
        await self.pool.open(wait=True)

    async def prepare(self, connection):
        await connection.execute(PREPARED.replace("$1", "%s"), ["Eve"], prepare=True)
        await connection.commit()

    async def __call__(self, request):
        query, lookup, insert, failing = statements(request)
        lookup, insert = lookup.replace("$1", "%s"), insert.replace("$1, $2", "%s, %s")
        names = []
        async with self.pool.connection() as connection:
            await connection.execute(query)
            for customer in 1, 2:
                cursor = await connection.execute(lookup, [customer])
                names.append((await cursor.fetchone())[0])
            await connection.execute(PREPARED.replace("$1", "%s"), ["Eve"], prepare=True)
            await connection.execute(insert, [1, "tea"])
            await connection.commit()
            try:
                await connection.execute(failing)
            except psycopg.Error as error:
                await connection.rollback()
                return [*names, error.sqlstate]


class SqlAlchemy:
    """On asyncpg."""

    async def open(self):
        self.engine = create_async_engine("postgresql+asyncpg://", pool_size=CONNECTIONS, max_overflow=0)
        for connection in [await self.engine.connect() for _ in range(CONNECTIONS)]:
            await connection.close()

    async def __call__(self, request):
        texts = (text.replace("$1", ":id").replace("$2", ":item") for text in statements(request))
        query, lookup, insert, failing = map(sqlalchemy.text, texts)
        async with self.engine.begin() as connection:
            await connection.execute(query)
            names = [await connection.scalar(lookup, {"id": customer}) for customer in (1, 2)]
            await connection.execute(insert, {"id": 1, "item": "tea"})
        try:
            async with self.engine.begin() as connection:
                await connection.execute(failing)
        except sqlalchemy.exc.IntegrityError as error:
            return [*names, error.orig.sqlstate]


class Redis:
    async def open(self):
        pool = redis.asyncio.BlockingConnectionPool(max_connections=CONNECTIONS, **redis_place.settings(redis.asyncio))
        self.client = redis.asyncio.Redis(connection_pool=pool)
        for connection in [await pool.get_connection() for _ in range(CONNECTIONS)]:
            await pool.release(connection)

    async def __call__(self, request):
        key = f"r{request}"
        await self.client.set(f"{key}:a", "tea")
        value = await self.client.get(f"{key}:a")
        async with self.client.pipeline(transaction=False) as pipeline:
            await pipeline.incr(f"{key}:n").expire(f"{key}:n", 60).lpush(f"{key}:l", "one", "two").execute()
        async with self.client.pipeline(transaction=True) as pipeline:
            number = (await pipeline.set(f"{key}:b", "milk").incr(f"{key}:n").execute())[1]
        try:
            await self.client.lpush(f"{key}:a", "sugar")
        except redis.ResponseError as error:
            return [value.decode(), number, str(error).split()[0]]


DRIVERS = {
    "asyncpg": Asyncpg,
    "asyncpg-types": AsyncpgTypes,
    "psycopg3": Psycopg3,
    "sqlalchemy": SqlAlchemy,
    "redis": Redis,
}
drivers = {name: DRIVERS[name]() for name in os.environ["DRIVERS"].split(",")}


@asynccontextmanager
async def lifespan(app):
    for driver in drivers.values():
        await driver.open()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/{driver}/{request}", response_class=PlainTextResponse)
async def calls(driver: str, request: int):
    """What came of the calls, in words."""
    return " ".join(map(str, await drivers[driver](request)))
