//! The standard `OTEL_EXPORTER_OTLP_*` variables.
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use crate::export::environment::{Environment, InvalidVariable, Variable};
use crate::export::limits;
use std::path::PathBuf;
use std::time::Duration;

const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const COMPRESSION: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const INSECURE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
const CERTIFICATE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const CLIENT_CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
const CLIENT_KEY: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const GRPC_PORT: u16 = 4317;
const TRACES_PATH: &str = "v1/traces";

const PROTOCOLS: &str = "grpc or http/protobuf";
const ENDPOINTS: &str = "a URL such as http://localhost:4318 or https://collector.example:4317";

/// An OTLP receiver and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpConfig {
    /// Full URL; for HTTP with its path.
    pub endpoint: String,
    pub protocol: Protocol,
    pub headers: Headers,
    pub gzip: bool,
    /// For one attempt.
    pub timeout: Duration,
    /// How long a batch is tried again before it is dropped and counted.
    pub retry_for: Duration,
    pub tls: TlsFiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Headers of every export request. Values may be credentials: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

// === impl OtlpConfig ===

impl OtlpConfig {
    /// Reads the process's environment. Without an endpoint there it is the default one on this host.
    ///
    /// # Errors
    /// Names the first variable with a value that cannot be used.
    pub fn from_env() -> Result<Self, InvalidVariable> {
        Self::from_variables(Environment::process())
    }

    /// Whether the process's environment names an OTLP endpoint.
    pub fn endpoint_in_env() -> bool {
        ENDPOINT.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
    }

    pub(crate) fn from_variables(variables: Environment<'_>) -> Result<Self, InvalidVariable> {
        let endpoint = variables.first(&ENDPOINT)?;
        let insecure = variables.flag(&INSECURE)?.unwrap_or(false);
        let url = endpoint.as_ref().map(|endpoint| url(endpoint, insecure)).transpose()?;
        let protocol = protocol(variables, url.as_ref())?;
        Ok(Self {
            endpoint: full_endpoint(endpoint.map(|variable| variable.name), url, protocol),
            protocol,
            headers: variables.first(&HEADERS)?.map(|v| headers(&v)).transpose()?.unwrap_or_default(),
            gzip: variables.first(&COMPRESSION)?.map_or(Ok(false), |variable| gzip(&variable))?,
            timeout: variables.milliseconds(&TIMEOUT)?.unwrap_or(TIMEOUT_DEFAULT),
            retry_for: limits::RETRY_TIME_MAX,
            tls: TlsFiles::from_variables(variables)?,
        })
    }
}

/// The endpoint as a URL; one without a scheme gets it from `_INSECURE`.
fn url(endpoint: &Variable, insecure: bool) -> Result<reqwest::Url, InvalidVariable> {
    let value = &endpoint.value;
    let scheme = if insecure { "http" } else { "https" };
    let with_scheme = if value.contains("://") { value.clone() } else { format!("{scheme}://{value}") };
    let url = reqwest::Url::parse(&with_scheme).map_err(|error| endpoint.invalid(error.to_string(), ENDPOINTS))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(endpoint.invalid(format!("unknown scheme {}", url.scheme()), ENDPOINTS));
    }
    Ok(url)
}

/// The default is HTTP, as the specification recommends, except on the port that is assigned to OTLP over gRPC.
fn protocol(variables: Environment<'_>, url: Option<&reqwest::Url>) -> Result<Protocol, InvalidVariable> {
    let Some(variable) = variables.first(&PROTOCOL)? else {
        let grpc = url.is_some_and(|url| url.port() == Some(GRPC_PORT));
        return Ok(if grpc { Protocol::Grpc } else { Protocol::HttpProtobuf });
    };
    match variable.value.to_ascii_lowercase().as_str() {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        "http/json" => Err(variable.invalid("http/json is not supported", PROTOCOLS)),
        _ => Err(variable.invalid("unknown protocol", PROTOCOLS)),
    }
}

/// Over HTTP, the signal's path is added to the general endpoint, and never to one for traces alone.
fn full_endpoint(variable: Option<&'static str>, url: Option<reqwest::Url>, protocol: Protocol) -> String {
    let url = match (url, protocol) {
        (Some(url), _) => String::from(url),
        (None, Protocol::Grpc) => "http://localhost:4317/".into(),
        (None, Protocol::HttpProtobuf) => "http://localhost:4318/".into(),
    };
    match protocol {
        Protocol::HttpProtobuf if variable != Some(ENDPOINT[0]) => {
            format!("{}/{TRACES_PATH}", url.trim_end_matches('/'))
        }
        _ => url,
    }
}

fn gzip(variable: &Variable) -> Result<bool, InvalidVariable> {
    match variable.value.to_ascii_lowercase().as_str() {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(variable.invalid("unknown compression", "gzip or none")),
    }
}

/// `name=value,name=value` with percent-encoded values, as W3C Baggage has it.
fn headers(variable: &Variable) -> Result<Headers, InvalidVariable> {
    let accepted = "name=value pairs, separated by commas, values percent-encoded";
    let pairs = variable.value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let parse = |(i, pair): (usize, &str)| {
        header(pair).ok_or_else(|| variable.invalid(format!("pair {} is not a header", i + 1), accepted))
    };
    pairs.enumerate().map(parse).collect::<Result<_, _>>().map(Headers)
}

fn header(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let name = reqwest::header::HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    let value = percent_decoded(value.trim())?;
    reqwest::header::HeaderValue::from_str(&value).ok()?;
    Some((name.as_str().to_owned(), value))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

// === impl TlsFiles ===

impl TlsFiles {
    fn from_variables(variables: Environment<'_>) -> Result<Self, InvalidVariable> {
        let file = |names| Ok(variables.first(names)?.map(|variable| PathBuf::from(variable.value)));
        let tls = Self {
            certificate: file(&CERTIFICATE)?,
            client_certificate: file(&CLIENT_CERTIFICATE)?,
            client_key: file(&CLIENT_KEY)?,
        };
        let lonely = match (&tls.client_certificate, &tls.client_key) {
            (Some(_), None) => CLIENT_KEY[1],
            (None, Some(_)) => CLIENT_CERTIFICATE[1],
            _ => return Ok(tls),
        };
        let problem = "not set, but a client certificate needs its key, and the key its certificate".into();
        Err(InvalidVariable { variable: lonely, problem, accepted: "the path of a PEM file" })
    }
}

// === impl Headers ===

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
