use super::*;
use crate::export::BatchConfig;
use std::ffi::OsString;

fn lookup<T>(variables: &[(&str, &str)], read: impl Fn(Environment<'_>) -> T) -> T {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    read(Environment(&find))
}

fn config(variables: &[(&str, &str)]) -> OtlpConfig {
    lookup(variables, OtlpConfig::from_variables).expect("valid variables")
}

fn error(variables: &[(&str, &str)]) -> String {
    lookup(variables, OtlpConfig::from_variables).expect_err("an invalid variable").to_string()
}

#[test]
fn endpoints_and_protocols() {
    use Protocol::{Grpc, HttpProtobuf};
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
    let insecure = "OTEL_EXPORTER_OTLP_INSECURE";
    #[rustfmt::skip]
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, Protocol);
    let table: &[Row] = &[
        (&[], "http://localhost:4318/v1/traces", HttpProtobuf),
        (&[(protocol, "grpc")], "http://localhost:4317/", Grpc),
        (&[(general, "")], "http://localhost:4318/v1/traces", HttpProtobuf),
        (&[(general, "http://c:4318")], "http://c:4318/v1/traces", HttpProtobuf),
        (&[(general, "http://c:4318/")], "http://c:4318/v1/traces", HttpProtobuf),
        (&[(general, "https://c/otlp/")], "https://c/otlp/v1/traces", HttpProtobuf),
        (&[(traces, "http://c:4318")], "http://c:4318/", HttpProtobuf),
        (&[(traces, "http://c:4318/x"), (general, "http://d")], "http://c:4318/x", HttpProtobuf),
        (&[(general, "http://c:4317")], "http://c:4317/", Grpc),
        (&[(general, "http://c:4317"), (protocol, "http/protobuf")], "http://c:4317/v1/traces", HttpProtobuf),
        (&[(general, "http://c:4318"), (protocol, "GRPC")], "http://c:4318/", Grpc),
        (
            &[(protocol, "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")],
            "http://localhost:4318/v1/traces",
            HttpProtobuf,
        ),
        (&[(general, "c:4317")], "https://c:4317/", Grpc),
        (&[(general, "c:4317"), (insecure, "TRUE")], "http://c:4317/", Grpc),
        (&[(general, "https://c:4317"), (insecure, "true")], "https://c:4317/", Grpc),
    ];
    for (variables, endpoint, protocol) in table {
        let config = config(variables);
        assert_eq!((config.endpoint.as_str(), config.protocol), (*endpoint, *protocol), "{variables:?}");
    }
}

#[test]
fn the_rest_of_the_variables() {
    let config = config(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Basic%20YTpi, x-tenant = a%2Cb "),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
    ]);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(config.headers.0, [header("authorization", "Basic YTpi"), header("x-tenant", "a,b")]);
    assert!(config.gzip);
    assert_eq!(config.timeout, Duration::from_millis(2500));
    assert_eq!(config.tls.certificate, Some(PathBuf::from("/etc/ca.pem")));
}

#[test]
fn what_cannot_be_used_is_named() {
    #[rustfmt::skip]
    let table = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL: http/json is not supported; it takes grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp", "OTEL_EXPORTER_OTLP_PROTOCOL: unknown protocol; it takes grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "OTEL_EXPORTER_OTLP_COMPRESSION: unknown compression; it takes gzip or none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT: not a number; it takes milliseconds, as a whole number from 1"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes", "OTEL_EXPORTER_OTLP_INSECURE: neither true nor false; it takes true or false"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c", "OTEL_EXPORTER_OTLP_ENDPOINT: unknown scheme ftp; it takes a URL such as http://localhost:4318 or https://collector.example:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "OTEL_EXPORTER_OTLP_ENDPOINT: empty host; it takes a URL such as http://localhost:4318 or https://collector.example:4317"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: not set, but a client certificate needs its key, and the key its certificate; it takes the path of a PEM file"),
    ];
    for (variable, value, message) in table {
        assert_eq!(error(&[(variable, value)]), message);
    }
}

#[test]
fn a_secret_is_never_shown() {
    let headers = "OTEL_EXPORTER_OTLP_HEADERS";
    for value in ["authorization=s3cret", "x=%zzs3cret", "s3cret", "a=b,na me=s3cret", "x=%s3cret%é"] {
        let shown = match lookup(&[(headers, value)], OtlpConfig::from_variables) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn batches() {
    let batch = |variables: &[(&str, &str)]| lookup(variables, BatchConfig::from_variables);
    assert_eq!(batch(&[]), Ok(BatchConfig::default()));
    let small = batch(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_SCHEDULE_DELAY", "50")]).unwrap();
    assert_eq!((small.queue_spans_max, small.batch_spans_max, small.delay), (100, 100, Duration::from_millis(50)));
    let huge = batch(&[("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615")]).unwrap();
    assert_eq!(huge.queue_spans_max, limits::QUEUE_SPANS_CEILING);
    let zero = batch(&[("OTEL_BSP_MAX_QUEUE_SIZE", "0")]).unwrap_err();
    assert_eq!(zero.to_string(), "OTEL_BSP_MAX_QUEUE_SIZE: zero; it takes a number of spans from 1");
}
