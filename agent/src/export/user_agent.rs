//! How the exporter names itself, so that a collector on a traced host does not answer each export with another span.

use autospan_core::span::{Span, Value};
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

/// `User-Agent` of every export request. It has a part drawn anew by each run, so that no client of a traced service can
/// hide behind it.
pub(super) fn user_agent() -> &'static str {
    static USER_AGENT: OnceLock<String> = OnceLock::new();
    USER_AGENT.get_or_init(|| {
        let run = RandomState::new().hash_one(std::process::id());
        format!("{}/{} run/{run:016x}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    })
}

/// Is this span one of an export request of this very process, wherever it was seen on its way?
pub fn is_own_export(span: &Span) -> bool {
    let Some(Value::String(value)) = span.attribute("user_agent.original") else { return false };
    // The gRPC library appends its own name.
    value.strip_prefix(user_agent()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing;
    use autospan_core::span::Attribute;

    #[test]
    fn only_requests_of_this_run_are_own_exports() {
        let mut span = testing::server_span(&testing::resource("orders"), 1, "/v1/traces").span;
        assert!(!is_own_export(&span));
        span.attributes = vec![Attribute::new("user_agent.original", "autospan/0.1.0")];
        assert!(!is_own_export(&span));
        for (suffix, own) in [("", true), (" tonic/0.14.9", true), ("0", false)] {
            span.attributes = vec![Attribute::new("user_agent.original", format!("{}{suffix}", user_agent()))];
            assert_eq!(is_own_export(&span), own, "{suffix:?}");
        }
    }
}
