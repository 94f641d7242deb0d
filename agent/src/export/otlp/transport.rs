//! The library's exporter, made so that each attempt is ours to see: no retries of its own, and HTTP through a client
//! that keeps the answer.

use super::attempt::Failure;
use super::config::{OtlpConfig, Protocol, TlsFiles};
use crate::export::ExportError;
use crate::export::counter::{Counter, Counters};
use crate::export::user_agent::user_agent;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{
    Compression, ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Why the last HTTP attempt failed; the library's error does not say enough to decide on a retry.
#[derive(Clone, Debug, Default)]
pub(super) struct LastFailure(Arc<Mutex<Option<Failure>>>);

#[derive(Debug)]
struct ObservedClient {
    client: reqwest::Client,
    failure: LastFailure,
    counters: Arc<Counters>,
}

pub(super) fn exporter(
    config: &OtlpConfig,
    failure: LastFailure,
    counters: Arc<Counters>,
) -> Result<SpanExporter, ExportError> {
    // An error means that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match config.protocol {
        Protocol::Grpc => grpc(config),
        Protocol::HttpProtobuf => http(config, failure, counters),
    }
}

fn grpc(config: &OtlpConfig) -> Result<SpanExporter, ExportError> {
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&config.endpoint)
        .with_timeout(config.timeout)
        .with_retry_policy(RetryPolicy::disabled())
        .with_metadata(MetadataMap::from_headers(named(header_map(config))));
    if config.gzip {
        builder = builder.with_compression(Compression::Gzip);
    }
    if config.endpoint.starts_with("https:") {
        builder = builder.with_tls_config(grpc_tls(&config.tls)?);
    }
    builder.build().map_err(ExportError::from)
}

fn grpc_tls(files: &TlsFiles) -> Result<ClientTlsConfig, ExportError> {
    let tls = match &files.certificate {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    Ok(match (&files.client_certificate, &files.client_key) {
        (Some(certificate), Some(key)) => tls.identity(Identity::from_pem(read(certificate)?, read(key)?)),
        _ => tls,
    })
}

fn http(config: &OtlpConfig, failure: LastFailure, counters: Arc<Counters>) -> Result<SpanExporter, ExportError> {
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_http_client(ObservedClient { client: http_client(config)?, failure, counters })
        .with_endpoint(&config.endpoint)
        .with_timeout(config.timeout)
        .with_retry_policy(RetryPolicy::disabled());
    if config.gzip {
        builder = builder.with_compression(Compression::Gzip);
    }
    builder.build().map_err(ExportError::from)
}

fn http_client(config: &OtlpConfig) -> Result<reqwest::Client, ExportError> {
    let mut builder = reqwest::Client::builder()
        .default_headers(header_map(config))
        .timeout(config.timeout)
        // Spans go where the operator said, not where an answer points.
        .redirect(reqwest::redirect::Policy::none());
    match &config.tls.certificate {
        Some(path) => {
            let trusted = reqwest::Certificate::from_pem_bundle(&read(path)?);
            builder = builder.tls_certs_only(trusted.map_err(|error| ExportError::unusable(path, &error))?);
        }
        // Without TLS there is no reason to fail on a host that has no certificates.
        None if !config.endpoint.starts_with("https:") => builder = builder.tls_certs_only([]),
        None => {}
    }
    if let (Some(certificate), Some(key)) = (&config.tls.client_certificate, &config.tls.client_key) {
        let pem = [read(certificate)?, read(key)?].join(&b'\n');
        let identity = reqwest::Identity::from_pem(&pem);
        builder = builder.identity(identity.map_err(|error| ExportError::unusable(certificate, &error))?);
    }
    builder.build().map_err(|error| ExportError::Transport { reason: Failure::chain(&error) })
}

/// With the name that this exporter is known by.
fn named(mut headers: HeaderMap) -> HeaderMap {
    headers.extend(HeaderValue::from_str(user_agent()).map(|value| (USER_AGENT, value)).ok());
    headers
}

/// Checked where they were parsed; what is not a header here was not one there.
fn header_map(config: &OtlpConfig) -> HeaderMap {
    let header = |(name, value): &(String, String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    config.headers.0.iter().filter_map(header).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, ExportError> {
    std::fs::read(path).map_err(|error| ExportError::unusable(path, &error))
}

// === impl ObservedClient ===

#[async_trait::async_trait]
impl HttpClient for ObservedClient {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        *request.headers_mut() = named(core::mem::take(request.headers_mut()));
        self.counters.add(Counter::Bytes, request.body().len() as u64);
        let answer = self.client.send_bytes(request).await;
        let failure = match &answer {
            Ok(response) => Failure::of_http_answer(response.status(), response.headers()),
            Err(error) => Some(Failure::of_http_error(error.as_ref())),
        };
        self.failure.set(failure);
        answer
    }
}

// === impl LastFailure ===

impl LastFailure {
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, failure: Option<Failure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

// === impl ExportError ===

impl ExportError {
    fn unusable(path: &Path, error: &dyn std::error::Error) -> Self {
        Self::File { path: path.to_owned(), reason: Failure::chain(error) }
    }
}

impl From<ExporterBuildError> for ExportError {
    fn from(error: ExporterBuildError) -> Self {
        Self::Transport { reason: error.to_string() }
    }
}
