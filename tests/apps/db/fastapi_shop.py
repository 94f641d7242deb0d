"""A shop by FastAPI with PostgreSQL and Redis behind. Knows nothing of tracing."""

from contextlib import asynccontextmanager

import asyncpg
import redis.asyncio
import redis_place
from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app):
    app.state.database = await asyncpg.create_pool(min_size=4, max_size=16)
    pool = redis.asyncio.BlockingConnectionPool(**redis_place.settings(redis.asyncio))
    app.state.cache = redis.asyncio.Redis(connection_pool=pool)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/order/{order}")
async def place(order: int):
    """The name of the customer, who gets one more order; from the cache where it is there."""
    database, cache, key = app.state.database, app.state.cache, f"r{order}:name"
    if name := await cache.get(key):
        return {"name": name.decode(), "cached": True}
    customer = order % 2 + 1
    name = await database.fetchval(f"SELECT name AS r{order} FROM customers WHERE id = $1", customer)
    insert = f"INSERT INTO orders (customer_id, item) VALUES ($1, $2) RETURNING id AS r{order}"
    await database.execute(insert, customer, "tea")
    await cache.set(key, name)
    await cache.expire(key, 60)
    return {"name": name, "cached": False}
