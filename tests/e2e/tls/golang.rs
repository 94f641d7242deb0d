//! Go's own TLS, by toolchains from 1.21 to the newest, in each form that an executable comes in.

use super::{check_pair, check_tls};
use crate::chain::{Chain, check_all};
use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::service::{GoBuild, GoForm, Settings};
use rig::{Agent, App, Authority, Receiver, Service};

/// A service that calls another of the same build.
struct Pair {
    form: GoForm,
    last: Service,
    first: Service,
}

impl Pair {
    fn start(version: &'static str, form: GoForm, authority: &Authority) -> Result<Self> {
        let app = App::GoBuild(GoBuild { version, form });
        let last = Service::start_tls(app, authority)?;
        let settings = Settings { next: Some(last.url("/chain")), tls: Some(authority), ..Settings::default() };
        Ok(Self { form, first: Service::start_with(app, &settings)?, last })
    }

    fn check(&self, receiver: &Receiver) -> Result<()> {
        let chain: Chain = [&self.first, &self.last].map(Service::pids).into_iter().collect::<Result<_>>()?;
        for path in check_all(receiver, &|| self.first.connect(), &chain)? {
            check_tls(&path[0]);
            check_pair(&path[1], &path[2]);
        }
        Ok(())
    }
}

/// Servers and clients by one toolchain, in each form.
fn toolchain(version: &'static str, forms: &[GoForm]) -> Result<()> {
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let pairs: Vec<Pair> = forms.iter().map(|form| Pair::start(version, *form, &authority)).collect::<Result<_>>()?;
    let agent = Agent::start(&receiver)?;
    for pair in &pairs {
        pair.check(&receiver).with_context(|| format!("Go {version}, {:?}", pair.form))?;
    }
    agent.stop().map(drop)
}

const FIXED: [GoForm; 2] = [GoForm::Plain, GoForm::Stripped];
const ALL: [GoForm; 4] = [GoForm::Plain, GoForm::Stripped, GoForm::Pie, GoForm::StrippedPie];

#[test]
fn go_1_21() -> Result<()> {
    needs_root!();
    toolchain("1.21", &ALL)
}

#[test]
fn go_1_23() -> Result<()> {
    needs_root!();
    toolchain("1.23", &FIXED)
}

#[test]
fn go_1_25() -> Result<()> {
    needs_root!();
    toolchain("1.25", &FIXED)
}

#[test]
fn go_1_27() -> Result<()> {
    needs_root!();
    toolchain("1.27", &ALL)
}
