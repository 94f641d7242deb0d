"""A Flask service on databases, by each driver that DRIVERS names. Knows nothing of tracing.

Each driver has a pool of connections, POOL of them, opened when the service starts; PREPARED is prepared on each of them then, where the
driver prepares statements. /DRIVER/N makes the same calls each time, with N in the text of all others.
"""

import os
import queue
import threading
import time
from concurrent.futures import Future

import psycopg
import psycopg2.pool
import psycopg_pool
import pymysql
import redis
import redis_place
import sqlalchemy
from flask import Flask

app = Flask(__name__)
CONNECTIONS = int(os.environ.get("POOL", 8))
PREPARED = "SELECT count(*) FROM customers WHERE name <> %s"


def statements(request):
    """A query, the same query with its parameter twice, an insertion and one that fails."""
    return (
        f"SELECT 1 AS r{request}",
        f"SELECT name AS r{request} FROM customers WHERE id = %s",
        f"INSERT INTO orders (customer_id, item) VALUES (%s, %s) RETURNING id AS r{request}",
        f"INSERT INTO customers (id, name) VALUES (1, 'Eve') RETURNING id AS r{request}",
    )


def ask(cursor, query, lookup, insert):
    """The two names that were looked up."""
    cursor.execute(query)
    names = []
    for customer in 1, 2:
        cursor.execute(lookup, [customer])
        names.append(cursor.fetchone()[0])
    cursor.execute(insert, [1, "tea"])
    return names


class Psycopg2:
    def __init__(self):
        database = os.environ["PGDATABASE"]
        self.pool = psycopg2.pool.ThreadedConnectionPool(CONNECTIONS, CONNECTIONS, dbname=database)

    def __call__(self, request):
        connection = self.pool.getconn()
        try:
            return self.calls(connection, *statements(request))
        finally:
            self.pool.putconn(connection)

    def calls(self, connection, query, lookup, insert, failing):
        with connection, connection.cursor() as cursor:
            names = ask(cursor, query, lookup, insert)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(failing)
        except psycopg2.Error as error:
            return [*names, error.pgcode]


class Psycopg3:
    def __init__(self):
        prepare = lambda connection: self.prepare(connection)
        self.pool = psycopg_pool.ConnectionPool("", min_size=CONNECTIONS, configure=prepare, open=True)
        self.pool.wait()

    def prepare(self, connection):
        connection.execute(PREPARED, ["Eve"], prepare=True)
        connection.commit()

    def __call__(self, request):
        query, lookup, insert, failing = statements(request)
        with self.pool.connection() as connection:
            connection.execute(query)
            names = [connection.execute(lookup, [customer]).fetchone()[0] for customer in (1, 2)]
            connection.execute(PREPARED, ["Eve"], prepare=True)
            connection.execute(insert, [1, "tea"])
            connection.commit()
            try:
                connection.execute(failing)
            except psycopg.Error as error:
                connection.rollback()
                return [*names, error.sqlstate]


class SqlAlchemy:
    """On psycopg2."""

    def __init__(self):
        self.engine = sqlalchemy.create_engine("postgresql+psycopg2://", pool_size=CONNECTIONS, max_overflow=0)
        for connection in [self.engine.connect() for _ in range(CONNECTIONS)]:
            connection.close()

    def __call__(self, request):
        query, lookup, insert, failing = (sqlalchemy.text(text) for text in named(request))
        with self.engine.begin() as connection:
            connection.execute(query)
            names = [connection.scalar(lookup, {"id": customer}) for customer in (1, 2)]
            connection.execute(insert, {"id": 1, "item": "tea"})
        try:
            with self.engine.begin() as connection:
                connection.execute(failing)
        except sqlalchemy.exc.IntegrityError as error:
            return [*names, error.orig.pgcode]


def named(request):
    query, lookup, insert, failing = statements(request)
    return query, lookup % ":id", insert % (":id", ":item"), failing


class PyMySql:
    pool = queue.LifoQueue

    def __init__(self):
        env = os.environ.get
        place = {"host": env("MYSQL_HOST"), "port": int(env("MYSQL_PORT", 0)), "unix_socket": env("MYSQL_SOCKET")}
        who = {"user": env("MYSQL_USER"), "password": env("MYSQL_PASSWORD"), "database": env("MYSQL_DATABASE")}
        tls = {"ssl_ca": env("MYSQL_CA"), "ssl_verify_cert": True} if "MYSQL_CA" in os.environ else {}
        self.connect = lambda: pymysql.connect(**place, **who, **tls)
        self.pool = self.pool()
        self.fill()

    def fill(self):
        for _ in range(CONNECTIONS):
            self.pool.put(self.connect())

    def take(self):
        return self.pool.get()

    def __call__(self, request):
        connection = self.take()
        try:
            return self.calls(connection, *statements(request))
        finally:
            self.pool.put(connection)

    def calls(self, connection, query, lookup, insert, failing):
        with connection.cursor() as cursor:
            names = ask(cursor, query, lookup, insert)
            connection.commit()
            try:
                cursor.execute(failing)
            except pymysql.Error as error:
                connection.rollback()
                return [*names, error.args[0]]


class PyMySqlSimpleQueue(PyMySql):
    """A queue that looks like one of work."""

    pool = queue.SimpleQueue


class PyMySqlGrowing(PyMySqlSimpleQueue):
    """Connections are made when there is none, and the request goes on when it has given its own back."""

    def fill(self):
        pass

    def take(self):
        try:
            return self.pool.get_nowait()
        except queue.Empty:
            return self.connect()

    def __call__(self, request):
        answer = super().__call__(request)
        time.sleep(0.02)
        return answer


class PyMySqlBeating(PyMySqlGrowing):
    """Somebody else uses the pool as well, for no request."""

    def fill(self):
        threading.Thread(target=self.beat, daemon=True).start()

    def beat(self):
        while True:
            connection = self.take()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 'beat'")
            self.pool.put(connection)
            time.sleep(0.002)


class PyMySqlHelping(PyMySql):
    """Each request leaves its work in a queue and takes up what it finds there, be it another's."""

    work = queue.SimpleQueue()

    def __call__(self, request):
        mine = Future()
        self.work.put((request, mine))
        time.sleep(request % 5 / 200)
        other, theirs = self.work.get()
        theirs.set_result(super().__call__(other))
        return mine.result()


class Redis:
    def __init__(self):
        self.client = redis.Redis(connection_pool=redis.BlockingConnectionPool(max_connections=CONNECTIONS, **redis_place.settings(redis)))
        pool = self.client.connection_pool
        for connection in [pool.get_connection() for _ in range(CONNECTIONS)]:
            pool.release(connection)

    def __call__(self, request):
        key = f"r{request}"
        self.client.set(f"{key}:a", "tea")
        value = self.client.get(f"{key}:a")
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.incr(f"{key}:n").expire(f"{key}:n", 60).lpush(f"{key}:l", "one", "two").execute()
        with self.client.pipeline(transaction=True) as pipeline:
            number = pipeline.set(f"{key}:b", "milk").incr(f"{key}:n").execute()[1]
        try:
            self.client.lpush(f"{key}:a", "sugar")
        except redis.ResponseError as error:
            return [value.decode(), number, str(error).split()[0]]


DRIVERS = {
    "psycopg2": Psycopg2,
    "psycopg3": Psycopg3,
    "sqlalchemy": SqlAlchemy,
    "pymysql": PyMySql,
    "pymysql-simple": PyMySqlSimpleQueue,
    "pymysql-growing": PyMySqlGrowing,
    "pymysql-beating": PyMySqlBeating,
    "pymysql-helping": PyMySqlHelping,
    "redis": Redis,
}
drivers = {name: DRIVERS[name]() for name in os.environ["DRIVERS"].split(",")}


@app.get("/<driver>/<int:request>")
def calls(driver, request):
    """What came of the calls, in words."""
    return " ".join(map(str, drivers[driver](request)))
