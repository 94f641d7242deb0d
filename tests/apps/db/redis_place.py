"""Where Redis is."""

import os


def settings(library):
    """For a pool of redis or redis.asyncio."""
    env = os.environ.get
    session = {"password": env("REDIS_PASSWORD"), "db": int(env("REDIS_DB"))}
    if "REDIS_SOCKET" in os.environ:
        return session | {"connection_class": library.UnixDomainSocketConnection, "path": env("REDIS_SOCKET")}
    session |= {"host": env("REDIS_HOST"), "port": int(env("REDIS_PORT"))}
    if "REDIS_CA" in os.environ:
        session |= {"connection_class": library.SSLConnection, "ssl_ca_certs": env("REDIS_CA")}
    return session
