//! What a target's environment says about its service: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and a few names of
//! applications. Everything else in there is the target's own business and is not kept.
//! <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>

/// Attributes taken from one `OTEL_RESOURCE_ATTRIBUTES`.
const ATTRIBUTES_MAX: usize = 64;
/// Bytes of an attribute's key or value; a longer pair is left out.
const TEXT_BYTES_MAX: usize = 1_024;

/// The variables that name a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environ {
    /// `OTEL_SERVICE_NAME`, not empty.
    pub service_name: Option<String>,
    /// Pairs of `OTEL_RESOURCE_ATTRIBUTES`, decoded, in order; keys may repeat (the last one counts).
    pub attributes: Vec<(String, String)>,
    /// `FLASK_APP`.
    pub flask_app: Option<String>,
}

impl Environ {
    /// Reads an environment block: `NAME=value`, each ended by a NUL. What is not UTF-8 is passed over.
    pub fn parse(block: &[u8]) -> Self {
        let mut environ = Self::default();
        let entries = block.split(|&b| b == 0).filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='));
        for (name, value) in entries.filter(|(_, value)| !value.is_empty()) {
            match name {
                "OTEL_SERVICE_NAME" => environ.service_name = bounded(value),
                "OTEL_RESOURCE_ATTRIBUTES" => environ.attributes = parse_attributes(value),
                "FLASK_APP" => environ.flask_app = bounded(value),
                _ => {}
            }
        }
        environ
    }

    /// The value that counts for `key` in `OTEL_RESOURCE_ATTRIBUTES`.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The service's name as its operator gave it.
    pub fn explicit_name(&self) -> Option<&str> {
        self.service_name.as_deref().or_else(|| self.attribute("service.name")).filter(|name| !name.trim().is_empty())
    }
}

fn bounded(text: &str) -> Option<String> {
    (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned())
}

/// `key1=value1,key2=value2`, both percent-encoded. As the specification asks, one pair that cannot be decoded voids the
/// whole value.
fn parse_attributes(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).take(ATTRIBUTES_MAX);
    let decoded: Option<Vec<_>> = pairs.map(parse_pair).collect();
    let mut attributes = decoded.unwrap_or_default();
    attributes.retain(|(key, value)| key.len() <= TEXT_BYTES_MAX && value.len() <= TEXT_BYTES_MAX);
    attributes
}

fn parse_pair(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=')?;
    let key = percent_decode(key.trim())?;
    (!key.is_empty()).then_some(())?;
    Some((key, percent_decode(value.trim())?))
}

/// `None` where an escape is incomplete or the result is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (escape, tail) = rest.split_first_chunk::<2>()?;
        let [high, low] = escape.map(|digit| char::from(digit).to_digit(16));
        decoded.push((high? << 4 | low?) as u8);
        rest = tail;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(text: &str) -> Vec<(String, String)> {
        Environ::parse(format!("OTEL_RESOURCE_ATTRIBUTES={text}\0").as_bytes()).attributes
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_service_name_variable_wins_over_the_attribute() {
        let environ = Environ::parse(b"PATH=/bin\0OTEL_RESOURCE_ATTRIBUTES=service.name=a\0OTEL_SERVICE_NAME=b\0");
        assert_eq!(environ.explicit_name(), Some("b"));
        let environ = Environ::parse(b"OTEL_SERVICE_NAME=\0OTEL_RESOURCE_ATTRIBUTES=service.name=a");
        assert_eq!(environ.explicit_name(), Some("a"));
        assert_eq!(Environ::parse(b"\xff\xfe=1\0broken\0OTEL_SERVICE_NAME=\xff\0").explicit_name(), None);
    }

    #[test]
    fn attributes_are_percent_decoded() {
        assert_eq!(
            attributes("service.namespace = shop , deployment.environment.name=a%2Cb%3Dc%20d,x="),
            pairs(&[("service.namespace", "shop"), ("deployment.environment.name", "a,b=c d"), ("x", "")])
        );
        assert_eq!(attributes("a=1,a=2,"), pairs(&[("a", "1"), ("a", "2")]));
    }

    #[test]
    fn a_pair_that_cannot_be_decoded_voids_the_value() {
        for text in ["a=1,b", "a=%zz", "a=1,b=%4", "=1", "a=%ff"] {
            assert_eq!(attributes(text), [], "{text}");
        }
    }

    #[test]
    fn nothing_grows_past_its_limit() {
        let many: Vec<String> = (0..1_000).map(|i| format!("k{i}=v")).collect();
        assert_eq!(attributes(&many.join(",")).len(), ATTRIBUTES_MAX);
        assert_eq!(attributes(&format!("a={},b=1", "x".repeat(10_000))), pairs(&[("b", "1")]));
    }
}
