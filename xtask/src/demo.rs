//! `cargo xtask demo`: a few real services with gentle traffic, and the agent watching them.

use crate::program::{cargo, run, target};
use crate::setup;
use anyhow::Result;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::geteuid;
use rig::service::Settings;
use rig::{Address, App, Client, Nginx, Service};
use std::process::Command;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End by itself after so many seconds; else at Ctrl-C.
    #[arg(long)]
    seconds: Option<u32>,
    /// Arguments for the agent, e.g. `-- --output json`.
    #[arg(last = true)]
    agent: Vec<String>,
}

/// Time between two requests of the demo's only client.
const PACE: Duration = Duration::from_millis(600);

pub(crate) fn demo(args: &Args) -> Result<()> {
    setup::install_for_demo()?;
    run(cargo().args(["build", "--release", "--package", "autospan", "--locked"]))?;
    let shop = Shop::open()?;
    println!("nginx → Flask → Express → Go at {}, FastAPI at {}", shop.front.address, shop.stock.address);
    // Ctrl-C reaches the agent as well, which ends by it; we stay to stop the services.
    // SAFETY: no handler code runs; ignoring a signal is always sound.
    unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }?;
    let entries = [shop.front.address.clone(), shop.stock.address.clone()];
    std::thread::spawn(move || visit(&entries));
    watch(args, &shop)
}

/// The services, stopped when dropped.
struct Shop {
    front: Nginx,
    stock: Service,
    behind: [Service; 3],
}

impl Shop {
    fn open() -> Result<Self> {
        let prices = named(App::Go, "prices", None)?;
        let cart = named(App::Express, "cart", Some(&prices.address))?;
        let checkout = named(App::FlaskGthread, "checkout", Some(&cart.address))?;
        let stock = named(App::FastApi, "stock", Some(&prices.address))?;
        Ok(Self { front: Nginx::before(&checkout.address)?, stock, behind: [checkout, cart, prices] })
    }

    fn ports(&self) -> impl Iterator<Item = u16> {
        let behind = self.behind.iter().map(Service::port);
        [self.front.port(), self.stock.port()].into_iter().chain(behind)
    }
}

fn named(app: App, name: &str, next: Option<&Address>) -> Result<Service> {
    let next = next.map(|next| next.url("/chain"));
    Service::start_with(
        app,
        &Settings { next, environment: vec![("OTEL_SERVICE_NAME", name.to_owned())], ..Default::default() },
    )
}

/// Requests at a pace that a reader can follow, until the process ends.
fn visit(entries: &[Address; 2]) {
    const ROUND: [(usize, &str); 6] =
        [(0, "/chain"), (1, "/chain"), (0, "/size/2000"), (0, "/slow?ms=120"), (1, "/hello"), (0, "/status/500")];
    for (entry, path) in ROUND.iter().cycle() {
        // The services end before us: then there is nobody to visit.
        if Client::connect(&entries[*entry]).and_then(|mut client| client.get(path)).is_err() {
            return;
        }
        std::thread::sleep(PACE);
    }
}

fn watch(args: &Args, shop: &Shop) -> Result<()> {
    let mut words: Vec<String> = Vec::new();
    if !geteuid().is_root() {
        words.push("sudo".into());
    }
    if let Some(seconds) = args.seconds {
        let timeout =
            ["timeout", "--foreground", "--preserve-status", "--signal=INT", &seconds.to_string()].map(Into::into);
        words.extend(timeout);
    }
    words.push(target().join("release/autospan").display().to_string());
    words.extend(shop.ports().flat_map(|port| ["--port".to_owned(), port.to_string()]));
    words.extend(args.agent.iter().cloned());
    let mut agent = Command::new(&words[0]);
    // Shown here, whatever the environment says about collectors.
    run(agent.args(&words[1..]).env_remove("OTEL_EXPORTER_OTLP_ENDPOINT"))
}
