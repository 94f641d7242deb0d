//! Environment variables, read strictly: a value that cannot be used is an error that names the variable and what it
//! takes, never a silent default.

use std::ffi::OsString;
use std::time::Duration;

/// A variable that cannot be used. The value itself is not shown: it may be a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}; it takes {accepted}")]
pub struct InvalidVariable {
    pub variable: &'static str,
    pub problem: String,
    /// What would be accepted.
    pub accepted: &'static str,
}

/// Where variables are looked up: the process's environment, or a table in tests.
#[derive(Clone, Copy)]
pub(crate) struct Environment<'a>(pub(crate) &'a dyn Fn(&str) -> Option<OsString>);

/// A variable that is set, and not to the empty string, which OpenTelemetry takes as unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

// === impl Environment ===

impl Environment<'_> {
    pub(crate) fn process() -> Environment<'static> {
        Environment(&|name| std::env::var_os(name))
    }

    pub(crate) fn get(&self, name: &'static str) -> Result<Option<Variable>, InvalidVariable> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        let invalid = |_| InvalidVariable { variable: name, problem: "not UTF-8".into(), accepted: "UTF-8 text" };
        let value = value.into_string().map_err(invalid)?.trim().to_owned();
        Ok((!value.is_empty()).then_some(Variable { name, value }))
    }

    /// The first of these that is set: most specific first.
    pub(crate) fn first(&self, names: &[&'static str]) -> Result<Option<Variable>, InvalidVariable> {
        for name in names {
            if let Some(variable) = self.get(name)? {
                return Ok(Some(variable));
            }
        }
        Ok(None)
    }

    pub(crate) fn milliseconds(&self, names: &[&'static str]) -> Result<Option<Duration>, InvalidVariable> {
        let Some(variable) = self.first(names)? else { return Ok(None) };
        variable.number("milliseconds, as a whole number from 1").map(|ms| Some(Duration::from_millis(ms)))
    }

    pub(crate) fn count(&self, name: &'static str) -> Result<Option<usize>, InvalidVariable> {
        let Some(variable) = self.get(name)? else { return Ok(None) };
        let accepted = "a number of spans from 1";
        let count = usize::try_from(variable.number(accepted)?);
        count.map(Some).map_err(|_| variable.invalid("out of range", accepted))
    }

    pub(crate) fn flag(&self, names: &[&'static str]) -> Result<Option<bool>, InvalidVariable> {
        let Some(variable) = self.first(names)? else { return Ok(None) };
        match variable.value.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(variable.invalid("neither true nor false", "true or false")),
        }
    }
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

// === impl Variable ===

impl Variable {
    pub(crate) fn invalid(&self, problem: impl Into<String>, accepted: &'static str) -> InvalidVariable {
        InvalidVariable { variable: self.name, problem: problem.into(), accepted }
    }

    fn number(&self, accepted: &'static str) -> Result<u64, InvalidVariable> {
        match self.value.parse() {
            Ok(0) => Err(self.invalid("zero", accepted)),
            Ok(number) => Ok(number),
            Err(_) => Err(self.invalid("not a number", accepted)),
        }
    }
}
