//! The apps: plain data.

use super::mode::Mode::{self, Concurrent, Executor, File, Sequential, Sleep, ToThread};

/// A service under test. In its words: `@RIG@` is where setup put things, `@APPS@` the apps' sources, `@DIR@` a folder of its
/// own, `@ADDRESS@` and `@PORT@` where it is to listen.
#[derive(Debug)]
pub(super) struct App {
    pub(super) name: &'static str,
    /// What runs it.
    pub(super) runtime: &'static str,
    /// Program and arguments.
    pub(super) command: &'static str,
    /// Where it is started.
    pub(super) folder: &'static str,
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// Configuration: template below the apps' sources, name in its own folder.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// How it can make its calls.
    pub(super) modes: &'static [Mode],
    /// What not every machine has: a path below `@RIG@`, and what to tell where it is missing.
    pub(super) needs: Option<(&'static str, &'static str)>,
    /// Can it call by TLS?
    pub(super) tls: bool,
    /// Has it work that goes on after an answer, and heartbeats?
    pub(super) traps: bool,
}

const PLAIN: &[Mode] = &[Sequential, Concurrent, Sleep];
const ASYNCIO: &[Mode] = &[Sequential, Concurrent, Sleep, ToThread, Executor];
const NODE: &[Mode] = &[Sequential, Concurrent, Sleep, File];

const JAVA: &str = "java -Dhttp.maxConnections=32 @APPS@/java/Server.java";
const DEBIAN_PYTHON: &str = "CPython, stripped";
const OTHER_PYTHON: &str = "CPython, unstripped";

const fn python(name: &'static str, command: &'static str, environment: Environment) -> App {
    App {
        name,
        runtime: DEBIAN_PYTHON,
        command,
        folder: "@APPS@/python",
        environment,
        files: &[],
        modes: PLAIN,
        needs: None,
        tls: true,
        traps: true,
    }
}

type Environment = &'static [(&'static str, &'static str)];

const fn asyncio(name: &'static str, command: &'static str, environment: Environment) -> App {
    App { modes: ASYNCIO, ..python(name, command, environment) }
}

const fn node(name: &'static str, command: &'static str, environment: Environment) -> App {
    let folder = "@RIG@/node";
    App { runtime: "Node", folder, modes: NODE, ..python(name, command, environment) }
}

/// A release of Node that Debian has not.
const fn newer_node(runtime: &'static str, name: &'static str, command: &'static str, client: Environment) -> App {
    App { runtime, ..node(name, command, client) }
}

const fn go(name: &'static str, runtime: &'static str, command: &'static str) -> App {
    App { traps: true, ..native(name, runtime, command, &[]) }
}

const fn native(name: &'static str, runtime: &'static str, command: &'static str, environment: Environment) -> App {
    App { runtime, folder: "@DIR@", traps: false, ..python(name, command, environment) }
}

/// In the order of the table.
pub(super) const ALL: &[App] = &[
    python("http.server", "@RIG@/venv/bin/python http_server.py", &[("CALLS", "thread")]),
    python("http.server, queue.Queue", "@RIG@/venv/bin/python http_server.py", &[("CALLS", "queue")]),
    python("Flask, ThreadPoolExecutor", "@RIG@/venv/bin/python flask_app.py", &[("CALLS", "executor")]),
    python(
        "gunicorn sync",
        "@RIG@/venv/bin/gunicorn --worker-class sync --workers 2 --bind @ADDRESS@ flask_app:app",
        &[("CALLS", "thread")],
    ),
    python(
        "gunicorn gthread",
        "@RIG@/venv/bin/gunicorn --worker-class gthread --workers 2 --threads 16 --keep-alive 60 --bind @ADDRESS@ \
         flask_app:app",
        &[("CALLS", "thread")],
    ),
    python(
        "gunicorn gevent",
        "@RIG@/venv/bin/gunicorn --worker-class gevent --workers 1 --keep-alive 60 --bind @ADDRESS@ flask_app:app",
        &[("CALLS", "thread")],
    ),
    python(
        "FastAPI sync",
        "@RIG@/venv/bin/uvicorn fastapi_app:app --port @PORT@ --no-access-log",
        &[("CALLS", "thread")],
    ),
    asyncio(
        "uvicorn asyncio, httpx",
        "@RIG@/venv/bin/uvicorn asgi:app --loop asyncio --port @PORT@ --no-access-log",
        &[("CALLS", "thread"), ("CLIENT", "httpx")],
    ),
    asyncio(
        "uvicorn uvloop, httpx",
        "@RIG@/venv/bin/uvicorn asgi:app --loop uvloop --port @PORT@ --no-access-log",
        &[("CALLS", "thread"), ("CLIENT", "httpx")],
    ),
    asyncio(
        "uvicorn uvloop, aiohttp",
        "@RIG@/venv/bin/uvicorn asgi:app --loop uvloop --port @PORT@ --no-access-log",
        &[("CALLS", "thread"), ("CLIENT", "aiohttp")],
    ),
    asyncio(
        "hypercorn, httpx",
        "@RIG@/venv/bin/hypercorn asgi:app --bind @ADDRESS@ --keep-alive 60",
        &[("CALLS", "thread"), ("CLIENT", "httpx")],
    ),
    asyncio(
        "aiohttp asyncio",
        "@RIG@/venv/bin/python aiohttp_app.py",
        &[("CALLS", "thread"), ("CLIENT", "aiohttp"), ("LOOP", "asyncio")],
    ),
    asyncio(
        "aiohttp uvloop",
        "@RIG@/venv/bin/python aiohttp_app.py",
        &[("CALLS", "thread"), ("CLIENT", "aiohttp"), ("LOOP", "uvloop")],
    ),
    unstripped(asyncio(
        "uvicorn uvloop, aiohttp",
        "@RIG@/venv-unstripped/bin/uvicorn asgi:app --loop uvloop --port @PORT@ --no-access-log",
        &[("CALLS", "thread"), ("CLIENT", "aiohttp")],
    )),
    unstripped(asyncio(
        "aiohttp asyncio",
        "@RIG@/venv-unstripped/bin/python aiohttp_app.py",
        &[("CALLS", "thread"), ("CLIENT", "aiohttp"), ("LOOP", "asyncio")],
    )),
    node("Node http, Agent", "node http_app.js", &[("CLIENT", "agent")]),
    node("Node http, fetch", "node http_app.js", &[("CLIENT", "fetch")]),
    node("Express, Agent", "node express_app.js", &[("CLIENT", "agent")]),
    node("Fastify, undici", "node fastify_app.js", &[("CLIENT", "undici")]),
    newer_node(
        "Node 22",
        "Node http, fetch",
        "@RIG@/node/node_modules/node22/bin/node http_app.js",
        &[("CLIENT", "fetch")],
    ),
    newer_node(
        "Node 24",
        "Node http, fetch",
        "@RIG@/node/node_modules/node24/bin/node http_app.js",
        &[("CLIENT", "fetch")],
    ),
    newer_node(
        "Node 24",
        "Fastify, undici",
        "@RIG@/node/node_modules/node24/bin/node fastify_app.js",
        &[("CLIENT", "undici")],
    ),
    newer_node(
        "Node 26",
        "Node http, fetch",
        "@RIG@/node/node_modules/node26/bin/node http_app.js",
        &[("CLIENT", "fetch")],
    ),
    go("net/http", "Go 1.27", "@RIG@/go/1.27/server"),
    go("net/http", "Go 1.27, stripped", "@RIG@/go/1.27-stripped/server"),
    go("net/http", "Go 1.21", "@RIG@/go/1.21/server"),
    App {
        files: &[("nginx/proxy.conf", "nginx.conf")],
        modes: &[Sequential],
        ..native("proxy", "nginx", "nginx -p @DIR@ -c @DIR@/nginx.conf -e stderr", &[])
    },
    native("HttpServer, HttpURLConnection", "Java", JAVA, &[("CLIENT", "HttpURLConnection")]),
    native("HttpServer, HttpClient", "Java", JAVA, &[("CLIENT", "HttpClient")]),
    native("Puma, Net::HTTP", "Ruby", "puma --bind tcp://@ADDRESS@ --threads 16:16 @APPS@/ruby/config.ru", &[]),
    App {
        files: &[("php/nginx.conf", "nginx.conf"), ("php/fpm.conf", "fpm.conf"), ("php/start.sh", "start.sh")],
        ..native("PHP-FPM behind nginx", "PHP", "sh @DIR@/start.sh", &[])
    },
    // Built without a TLS library.
    App { tls: false, ..native("axum, reqwest", "tokio", "@RIG@/rust/accuracy-axum", &[]) },
];

/// The same on another CPython, where the machine has one.
const fn unstripped(app: App) -> App {
    App {
        runtime: OTHER_PYTHON,
        needs: Some(("venv-unstripped/bin/python", "no unstripped CPython on the path")),
        ..app
    }
}
