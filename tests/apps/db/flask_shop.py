"""A shop by Flask with PostgreSQL and Redis behind. Knows nothing of tracing."""

import psycopg_pool
import redis
import redis_place
from flask import Flask, jsonify

app = Flask(__name__)
database = psycopg_pool.ConnectionPool("", min_size=4, max_size=16, open=True)
cache = redis.Redis(connection_pool=redis.BlockingConnectionPool(**redis_place.settings(redis)))


@app.get("/order/<int:order>")
def place(order):
    """The name of the customer, who gets one more order; from the cache where it is there."""
    key = f"r{order}:name"
    if name := cache.get(key):
        return jsonify(name=name.decode(), cached=True)
    with database.connection() as connection:
        lookup = f"SELECT name AS r{order} FROM customers WHERE id = %s"
        name = connection.execute(lookup, [order % 2 + 1]).fetchone()[0]
        insert = f"INSERT INTO orders (customer_id, item) VALUES (%s, %s) RETURNING id AS r{order}"
        connection.execute(insert, [order % 2 + 1, "tea"])
    cache.set(key, name)
    cache.expire(key, 60)
    return jsonify(name=name, cached=False)
