//! Every server behind TLS: what it says without is what it says here.

use crate::need::needs_root;
use crate::servers::{servers, started_after, started_before};
use anyhow::Result;
use rig::{App, Authority};

servers! {
    Some(&Authority::new()?);
    flask_gunicorn_sync = App::FlaskSync;
    flask_gunicorn_gthread = App::FlaskGthread;
    http_server = App::HttpServer;
    fastapi_uvicorn = App::FastApi;
    fastapi_uvicorn_uvloop = App::FastApiUvloop;
    aiohttp = App::Aiohttp;
    aiohttp_uvloop = App::AiohttpUvloop;
    node_https = App::NodeHttp;
    go_net_http = App::Go;
}
