//! What a failed attempt means: whether trying again can help, and when.
//! <https://opentelemetry.io/docs/specs/otlp/#failures>

use opentelemetry_sdk::error::OTelSdkError;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::error::Error;
use std::time::Duration;

/// Longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) retry: Retry,
    /// For the log: what went wrong.
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    Backoff,
    After(Duration),
}

impl Failure {
    pub(super) fn timeout(timeout: Duration) -> Self {
        Self { retry: Retry::Backoff, reason: format!("no answer within {timeout:?}") }
    }

    pub(super) fn of_http_error(error: &(dyn Error + 'static)) -> Self {
        // The outermost says no more than that the request failed, and the endpoint once again.
        Self { retry: Retry::Backoff, reason: Self::chain(error.source().unwrap_or(error)) }
    }

    /// None where the answer is a success.
    pub(super) fn of_http_answer(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status.is_success() {
            return None;
        }
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let retry = match (status.as_u16(), after) {
            (429 | 503, Some(seconds)) => Retry::After(Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            (429 | 502 | 503 | 504, _) => Retry::Backoff,
            _ => Retry::Never,
        };
        Some(Self { retry, reason: format!("HTTP status {status}") })
    }

    /// The library reports a failed gRPC call as text only. The status code in it decides.
    pub(super) fn of_grpc(error: &OTelSdkError) -> Self {
        let OTelSdkError::InternalFailure(text) = error else {
            return Self { retry: Retry::Never, reason: error.to_string() };
        };
        let Some((_, status)) = text.split_once("gRPC code: ") else {
            return Self { retry: Retry::Never, reason: text.clone() };
        };
        let code = status.split(':').next().unwrap_or_default();
        let retryable = [
            "Cancelled",
            "DeadlineExceeded",
            "Aborted",
            "OutOfRange",
            "Unavailable",
            "DataLoss",
            // Without RetryInfo the specification says never, but whether there was one is not to be seen here.
            "ResourceExhausted",
        ];
        let retry = if retryable.contains(&code) { Retry::Backoff } else { Retry::Never };
        Self { retry, reason: format!("gRPC status {status}") }
    }

    /// An error with its sources, which say what really happened.
    pub(super) fn chain(error: &(dyn Error + '_)) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_answers() {
        let after = |seconds| HeaderMap::from_iter([(RETRY_AFTER, seconds)]);
        let retry = |status: u16, headers: &HeaderMap| {
            Failure::of_http_answer(StatusCode::from_u16(status).unwrap(), headers).map(|failure| failure.retry)
        };
        let none = HeaderMap::new();
        assert_eq!(retry(200, &none), None);
        assert_eq!(retry(202, &none), None);
        for status in [429, 502, 503, 504] {
            assert_eq!(retry(status, &none), Some(Retry::Backoff), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413, 500, 501] {
            assert_eq!(retry(status, &none), Some(Retry::Never), "{status}");
        }
        assert_eq!(retry(503, &after("3".parse().unwrap())), Some(Retry::After(Duration::from_secs(3))));
        assert_eq!(retry(429, &after("86400".parse().unwrap())), Some(Retry::After(RETRY_AFTER_MAX)));
        assert_eq!(retry(503, &after("soon".parse().unwrap())), Some(Retry::Backoff));
        assert_eq!(retry(400, &after("3".parse().unwrap())), Some(Retry::Never));
    }

    #[test]
    fn grpc_codes() {
        let retry = |code: &str| {
            let text = format!("TonicTracesClient export failed with gRPC code: {code}: transport error");
            Failure::of_grpc(&OTelSdkError::InternalFailure(text)).retry
        };
        assert_eq!(retry("Unavailable"), Retry::Backoff);
        assert_eq!(retry("DeadlineExceeded"), Retry::Backoff);
        assert_eq!(retry("Unauthenticated"), Retry::Never);
        assert_eq!(retry("Unimplemented"), Retry::Never);
    }
}
