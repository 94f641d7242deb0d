//! The services that the tests trace: real servers that know nothing of tracing.

use crate::{Address, Authority, Client, Connector, Interpreter, Netns, Process, paths};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Duration;

/// So much earlier than asked for may a timer of Node go off: it counts whole milliseconds, on a clock that its loop reads when it wakes.
pub const TIMER_EARLY_MAX: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    /// Flask under gunicorn, one request at a time per worker, no keep-alive.
    FlaskSync,
    /// Flask under gunicorn with a thread pool.
    FlaskGthread,
    /// `http.server.ThreadingHTTPServer`.
    HttpServer,
    /// FastAPI under uvicorn on asyncio's event loop.
    FastApi,
    /// The same on uvloop's.
    FastApiUvloop,
    /// FastAPI under granian, whose TLS is a stripped rustls.
    FastApiGranian,
    /// aiohttp, server and client, on asyncio's event loop.
    Aiohttp,
    /// The same on uvloop's.
    AiohttpUvloop,
    NodeHttp,
    Express,
    /// `net/http`, by the newest toolchain.
    Go,
    /// The same by other toolchains, in other forms.
    GoBuild(GoBuild),
    /// FastAPI under hypercorn: HTTP/1 and HTTP/2, of which its client speaks the latter alone.
    Hypercorn,
    /// Node's `http2`, which speaks nothing else.
    NodeHttp2,
    /// `net/http` with HTTP/2, encrypted or not.
    GoHttp2,
    /// gRPC by grpcio on threads.
    GrpcThreads,
    /// The same on asyncio's event loop.
    GrpcAsyncio,
    /// gRPC by `@grpc/grpc-js`.
    GrpcNode,
    /// gRPC by grpc-go, as Debian has it.
    GrpcGo,
    /// Flask under gunicorn with a thread pool, on databases by the drivers that `DRIVERS` names.
    FlaskDrivers,
    /// FastAPI under uvicorn, the same.
    FastApiDrivers,
    /// The same on uvloop's event loop.
    FastApiDriversUvloop,
    /// A shop with PostgreSQL and Redis behind: Flask under gunicorn with a thread pool.
    FlaskShop,
    /// A shop with PostgreSQL and Redis behind: FastAPI under uvicorn.
    FastApiShop,
    /// Node's own HTTP server, on databases by the drivers that `DRIVERS` names.
    NodeDrivers,
    /// The same, whose work goes on behind its responses, by the driver that `DRIVER` names.
    NodeBehind,
    /// `net/http`, on databases by the drivers that `DRIVERS` names.
    GoDrivers,
    /// A shop with PostgreSQL and Redis behind: Express.
    ExpressShop,
}

/// How an executable of the Go service was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoBuild {
    /// As "1.21".
    pub version: &'static str,
    pub form: GoForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoForm {
    Plain,
    /// `-ldflags=-s -w`
    Stripped,
    /// `-buildmode=pie`
    Pie,
    StrippedPie,
}

impl App {
    pub const ALL: [Self; 11] = [
        Self::FlaskSync,
        Self::FlaskGthread,
        Self::HttpServer,
        Self::FastApi,
        Self::FastApiUvloop,
        Self::FastApiGranian,
        Self::Aiohttp,
        Self::AiohttpUvloop,
        Self::NodeHttp,
        Self::Express,
        Self::Go,
    ];

    /// Does a connection outlive its first request?
    pub fn keeps_alive(self) -> bool {
        self != Self::FlaskSync
    }

    /// Name that the service gets when nobody gave it one.
    pub fn default_name(self) -> &'static str {
        match self {
            Self::FlaskSync | Self::FlaskGthread => "flask_app",
            Self::HttpServer => "http_server",
            Self::FastApi | Self::FastApiUvloop | Self::FastApiGranian | Self::Hypercorn => "fastapi_app",
            Self::Aiohttp | Self::AiohttpUvloop => "aiohttp_app",
            Self::NodeHttp => "node_http",
            Self::Express => "express_app",
            Self::Go | Self::GoBuild(_) => "go_app",
            Self::NodeHttp2 | Self::GoHttp2 => "http_app",
            Self::GrpcThreads | Self::GrpcAsyncio | Self::GrpcNode | Self::GrpcGo => "grpc_app",
            Self::FlaskDrivers => "flask_drivers",
            Self::FastApiDrivers | Self::FastApiDriversUvloop => "fastapi_drivers",
            Self::FlaskShop => "flask_shop",
            Self::FastApiShop => "fastapi_shop",
            Self::NodeDrivers => "node_drivers",
            Self::NodeBehind => "behind",
            Self::GoDrivers => "go_drivers",
            Self::ExpressShop => "express_shop",
        }
    }

    fn plain(self, interpreter: Interpreter) -> Result<Command> {
        // Installed beside its node_modules.
        let node = |script: &str| -> Result<Command> {
            let mut command = Command::new("node");
            command.arg(paths::installed(script)?);
            Ok(command)
        };
        match self {
            Self::FlaskSync | Self::FlaskGthread => interpreter.program("gunicorn"),
            Self::FastApi | Self::FastApiUvloop => interpreter.program("uvicorn"),
            Self::FastApiGranian => interpreter.program("granian"),
            Self::HttpServer => interpreter.script(&paths::app("http_server.py")),
            Self::Aiohttp => interpreter.script(&paths::app("aiohttp_app.py")),
            Self::AiohttpUvloop => {
                let mut command = interpreter.script(&paths::app("aiohttp_app.py"))?;
                command.env("LOOP", "uvloop");
                Ok(command)
            }
            Self::NodeHttp => node("node/node_http.js"),
            Self::Express => node("node/express_app.js"),
            Self::Go => Ok(Command::new(paths::installed("go-app/go_app")?)),
            Self::GoBuild(build) => Ok(Command::new(paths::installed(&build.path())?)),
            Self::Hypercorn => {
                let mut command = Command::new(paths::installed("h2-venv/bin/hypercorn")?);
                command.env("HTTP2", "1");
                Ok(command)
            }
            Self::NodeHttp2 => node("h2-node/http_app.js"),
            Self::GoHttp2 => Ok(Command::new(paths::installed("h2-go/http_app")?)),
            Self::GrpcThreads | Self::GrpcAsyncio => {
                let mut command = Command::new(paths::installed("h2-venv/bin/python")?);
                command.arg(paths::app("h2/grpc_app.py"));
                if self == Self::GrpcAsyncio {
                    command.env("LOOP", "asyncio");
                }
                Ok(command)
            }
            Self::GrpcNode => node("h2-node/grpc_app.js"),
            Self::GrpcGo => Ok(Command::new(paths::installed("grpc-go/grpc_app")?)),
            Self::FlaskDrivers | Self::FlaskShop => Ok(Command::new(paths::installed("db-venv/bin/gunicorn")?)),
            Self::FastApiDrivers | Self::FastApiDriversUvloop | Self::FastApiShop => {
                Ok(Command::new(paths::installed("db-venv/bin/uvicorn")?))
            }
            Self::NodeDrivers => node("db-node/node_drivers.js"),
            Self::NodeBehind => node("db-node/behind.js"),
            Self::GoDrivers => Ok(Command::new(paths::installed("db-go/go_drivers")?)),
            Self::ExpressShop => node("db-node/express_shop.js"),
        }
    }

    /// As the documentation of the zero-code agents says.
    fn instrumented(self) -> Result<Command> {
        let python = |server: &str| -> Result<Command> {
            let mut command = Command::new(paths::installed("venv-otel/bin/opentelemetry-instrument")?);
            command.arg(paths::installed(&format!("venv-otel/bin/{server}"))?);
            Ok(command)
        };
        match self {
            Self::FlaskSync | Self::FlaskGthread => python("gunicorn"),
            Self::FastApi => python("uvicorn"),
            Self::Express => {
                let package = "node-otel/node_modules/@opentelemetry/auto-instrumentations-node";
                let register = paths::installed(package)?.join("build/src/register.js");
                let mut command = Command::new("node");
                command.arg("--require").arg(register).arg(paths::installed("node-otel/express_app.js")?);
                Ok(command)
            }
            _ => bail!("{self:?} has no zero-code agent here"),
        }
    }

    /// Of uvicorn.
    fn event_loop(self) -> &'static str {
        match self {
            Self::FastApiUvloop | Self::FastApiDriversUvloop => "uvloop",
            _ => "asyncio",
        }
    }

    /// The arguments that all ways to start it share.
    fn listen(self, command: &mut Command, address: &Address) {
        command.current_dir(paths::app("."));
        match self {
            Self::FlaskSync => command.args(["--worker-class", "sync", "--workers", "2"]),
            Self::FlaskGthread => {
                command.args(["--worker-class", "gthread", "--workers", "2", "--threads", "16", "--keep-alive", "60"])
            }
            Self::FastApi | Self::FastApiUvloop => {
                command.args(["fastapi_app:app", "--no-access-log", "--timeout-keep-alive", "60"]);
                command.args(["--loop", self.event_loop()])
            }
            Self::FastApiGranian => command.args(["fastapi_app:app", "--interface", "asgi", "--loop", "asyncio"]),
            Self::Hypercorn => command.args(["fastapi_app:app", "--keep-alive", "60"]),
            Self::FlaskDrivers | Self::FlaskShop => {
                command.args(["--worker-class", "gthread", "--threads", "16", "--keep-alive", "60", "--chdir", "db"])
            }
            Self::FastApiDrivers | Self::FastApiDriversUvloop | Self::FastApiShop => {
                let (module, event_loop) = (format!("{}:app", self.default_name()), self.event_loop());
                command.args([&module, "--no-access-log", "--timeout-keep-alive", "60", "--app-dir", "db"]);
                command.args(["--loop", event_loop])
            }
            _ => command,
        };
        match (self, address) {
            (Self::FlaskSync | Self::FlaskGthread | Self::FlaskDrivers | Self::FlaskShop, address) => {
                command.args(["--bind", &address.to_string(), &format!("{}:app", self.default_name())]);
            }
            (Self::Hypercorn, address) => {
                command.args(["--bind", &address.to_string()]);
            }
            (Self::FastApi | Self::FastApiUvloop | Self::FastApiGranian, Address::Unix(path)) => {
                command.arg("--uds").arg(path);
            }
            (
                Self::FastApi
                | Self::FastApiUvloop
                | Self::FastApiGranian
                | Self::FastApiDrivers
                | Self::FastApiDriversUvloop
                | Self::FastApiShop,
                Address::Tcp(address),
            ) => {
                command.args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()]);
            }
            (_, Address::Tcp(address)) => {
                command.env("HOST", address.ip().to_string()).env("PORT", address.port().to_string());
            }
            // Node takes a path for a port.
            (_, Address::Unix(path)) => {
                command.env("PORT", path);
            }
        }
    }

    /// Behind TLS with the certificate of `authority`.
    fn serve_tls(self, command: &mut Command, authority: &Authority) {
        let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
        let flags = match self {
            Self::FlaskSync | Self::FlaskGthread | Self::Hypercorn => ["--certfile", "--keyfile"],
            Self::FastApi | Self::FastApiUvloop => ["--ssl-certfile", "--ssl-keyfile"],
            Self::FastApiGranian => ["--ssl-certificate", "--ssl-keyfile"],
            _ => {
                command.env("TLS_CERTIFICATE", certificate).env("TLS_KEY", key);
                return;
            }
        };
        command.arg(flags[0]).arg(certificate).arg(flags[1]).arg(key);
    }
}

impl GoBuild {
    fn path(self) -> String {
        let form = match self.form {
            GoForm::Plain => "plain",
            GoForm::Stripped => "stripped",
            GoForm::Pie => "pie",
            GoForm::StrippedPie => "stripped-pie",
        };
        format!("go/{}/{form}/go_app", self.version)
    }
}

/// What differs from the usual for one service.
#[derive(Clone, Debug, Default)]
pub struct Settings<'a> {
    /// Where to listen; a free port of 127.0.0.1 when `None`.
    pub address: Option<Address>,
    /// URL that `/chain` calls.
    pub next: Option<String>,
    pub netns: Option<&'a Netns>,
    pub environment: Vec<(&'a str, String)>,
    /// What runs it, where it is Python.
    pub interpreter: Interpreter,
    /// Under OpenTelemetry's zero-code agent of the language: Flask, FastAPI and Express.
    pub zero_code: bool,
    /// The authority that it trusts when it calls an https URL.
    pub trust: Option<&'a Authority>,
    /// The authority whose certificate it serves TLS with, and which it trusts.
    pub tls: Option<&'a Authority>,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    pub app: App,
    pub address: Address,
    process: Process,
    /// For its clients, where it serves TLS.
    connector: Option<Connector>,
}

impl Service {
    pub fn start(app: App) -> Result<Self> {
        Self::start_with(app, &Settings::default())
    }

    /// One whose `/chain` calls the `/chain` of `next`.
    pub fn before(app: App, next: &Address) -> Result<Self> {
        Self::start_with(app, &Settings { next: Some(next.url("/chain")), ..Settings::default() })
    }

    /// One that serves TLS.
    pub fn start_tls(app: App, authority: &Authority) -> Result<Self> {
        Self::start_with(app, &Settings { tls: Some(authority), ..Settings::default() })
    }

    pub fn start_with(app: App, settings: &Settings<'_>) -> Result<Self> {
        let address = settings.address.clone().map_or_else(Address::loopback, Ok)?;
        let command = command(app, &address, settings)?;
        let mut process = Process::start(&format!("{app:?}"), &command)?;
        process.wait_until("to accept connections", |_| match settings.netns {
            None => address.answers(),
            Some(netns) => netns.curl(&address.url("/hello")).is_ok(),
        })?;
        Ok(Self { app, address, process, connector: settings.tls.map(Connector::new).transpose()? })
    }

    /// URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        if self.connector.is_some() { self.address.https(path) } else { self.address.url(path) }
    }

    /// A connection to it as its clients make them.
    pub fn connect(&self) -> Result<Client> {
        match &self.connector {
            Some(connector) => connector.connect(&self.address),
            None => Client::connect(&self.address),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The process that was started: gunicorn's workers are its children.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All its processes: the one that was started and its children.
    pub fn pids(&self) -> Result<Vec<u32>> {
        self.process.family()
    }
}

fn command(app: App, address: &Address, settings: &Settings<'_>) -> Result<Command> {
    let mut command = if settings.zero_code { app.instrumented()? } else { app.plain(settings.interpreter)? };
    app.listen(&mut command, address);
    if let Some(authority) = settings.tls {
        app.serve_tls(&mut command, authority);
    }
    if let Some(authority) = settings.trust.or(settings.tls) {
        command.envs(authority.trust());
    }
    command
        .env_remove("NEXT")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(settings.environment.iter().map(|(key, value)| (key, value)));
    if let Some(next) = &settings.next {
        command.env("NEXT", next);
    }
    Ok(match settings.netns {
        Some(netns) => inside(netns, &command),
        None => command,
    })
}

fn inside(netns: &Netns, command: &Command) -> Command {
    let mut wrapped = Command::new("ip");
    wrapped.args(["netns", "exec", &netns.name]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs().filter_map(|(key, value)| Some((key, value?))) {
        wrapped.env(key, value);
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}
