//! axum's server and reqwest's pooled client on tokio.
//!
//! GET /r/<n>?mode=<mode>&calls=<count>: each call downstream has a code of its own, drawn here; `code n` goes to the file that
//! the environment names, and nothing else links the two.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use futures_util::future::try_join_all;
use serde::Deserialize;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const SLEEP_MS_MAX: u64 = 20;
const ID: &str = "x-request-id";

type Failure = Box<dyn Error + Send + Sync>;

struct App {
    client: reqwest::Client,
    downstream: String,
    truth: File,
}

#[derive(Deserialize)]
struct Asked {
    mode: String,
    calls: usize,
}

impl App {
    fn draw(&self, n: u64) -> std::io::Result<String> {
        let code = fastrand::u64(..);
        (&self.truth).write_all(format!("{code:016x} {n}\n").as_bytes())?;
        Ok(format!("{}/d/{code:016x}", self.downstream))
    }

    async fn call(&self, n: u64, mode: &str, headers: &HeaderMap) -> Result<(), Failure> {
        if mode == "sleep" {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..SLEEP_MS_MAX))).await;
        }
        let mut request = self.client.get(self.draw(n)?);
        if let Some(id) = headers.get(ID) {
            request = request.header(ID, id);
        }
        request.send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }

    async fn run(&self, n: u64, asked: &Asked, headers: &HeaderMap) -> Result<(), Failure> {
        if asked.mode == "concurrent" {
            try_join_all((0..asked.calls).map(|_| self.call(n, &asked.mode, headers))).await?;
            return Ok(());
        }
        for _ in 0..asked.calls {
            self.call(n, &asked.mode, headers).await?;
        }
        Ok(())
    }
}

async fn serve(
    State(app): State<Arc<App>>,
    Path(n): Path<u64>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    match app.run(n, &asked, &headers).await {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let app = App {
        client: reqwest::Client::new(),
        downstream: std::env::var("DOWNSTREAM")?,
        truth: OpenOptions::new().append(true).create(true).open(std::env::var("TRUTH")?)?,
    };
    let address = format!("{}:{}", std::env::var("HOST")?, std::env::var("PORT")?);
    let router = Router::new().route("/r/{n}", get(serve)).with_state(Arc::new(app));
    axum::serve(tokio::net::TcpListener::bind(address).await?, router).await?;
    Ok(())
}
