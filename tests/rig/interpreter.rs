//! The CPythons that services and clients run on, all of one version and with the same packages.

use crate::paths;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpreter {
    /// Debian's, stripped, with a shared OpenSSL.
    #[default]
    Debian,
    /// Built from source as pyenv does it: with symbols, and a shared OpenSSL.
    Built,
    /// As the standalone builds are that uv downloads: stripped, with OpenSSL linked in.
    Standalone,
}

impl Interpreter {
    /// Runs a program of the packages.
    pub(crate) fn program(self, name: &str) -> Result<Command> {
        if self == Self::Debian {
            return Ok(Command::new(paths::installed(&format!("venv/bin/{name}"))?));
        }
        let mut command = self.python()?;
        command.args(["-m", name]);
        Ok(command)
    }

    pub(crate) fn script(self, path: &Path) -> Result<Command> {
        let mut command = self.python()?;
        command.arg(path);
        Ok(command)
    }

    fn python(self) -> Result<Command> {
        let own = match self {
            Self::Debian => return Ok(Command::new(paths::installed("venv/bin/python")?)),
            Self::Built => "cpython/built/bin/python3",
            Self::Standalone => "cpython/standalone/bin/python3",
        };
        let mut command = Command::new(paths::installed(own)?);
        let version = fs::read_dir(paths::installed("venv/lib")?)?.next().context("an empty virtual environment")??;
        command.env("PYTHONPATH", version.path().join("site-packages"));
        Ok(command)
    }
}
