//! Stable HTTP semantic conventions. <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>
