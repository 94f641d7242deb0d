//! Attributes of TLS. <https://opentelemetry.io/docs/specs/semconv/registry/attributes/tls/>

use crate::event::Tls;
use crate::span::Attribute;

/// What is known of it: nothing where the handshake was not seen.
pub(super) fn attributes(tls: Tls) -> impl Iterator<Item = Attribute> {
    let version = version(tls);
    let protocol = version.map(|_| Attribute::new("tls.protocol.name", "tls"));
    let version = version.map(|version| Attribute::new("tls.protocol.version", version));
    let cipher = cipher(tls.cipher).map(|cipher| Attribute::new("tls.cipher", cipher));
    [protocol, version, cipher].into_iter().flatten()
}

/// TLS 1.3 calls itself 1.2 in the field that older versions use, and has cipher suites of its own (RFC 8446, B.4).
fn version(Tls { version, cipher }: Tls) -> Option<&'static str> {
    Some(match (version, cipher >> 8) {
        (_, 0x13) => "1.3",
        (0x0303, _) => "1.2",
        (0x0302, _) => "1.1",
        (0x0301, _) => "1.0",
        _ => return None,
    })
}

/// Names of the IANA registry, for what is in use. <https://www.iana.org/assignments/tls-parameters>
fn cipher(suite: u16) -> Option<&'static str> {
    Some(match suite {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0x1304 => "TLS_AES_128_CCM_SHA256",
        0x1305 => "TLS_AES_128_CCM_8_SHA256",
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        0xccaa => "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xc009 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        0xc00a => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        0xc013 => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        0xc014 => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        0xc023 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        0xc024 => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
        0xc027 => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        0xc028 => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        0x009c => "TLS_RSA_WITH_AES_128_GCM_SHA256",
        0x009d => "TLS_RSA_WITH_AES_256_GCM_SHA384",
        0x009e => "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        0x009f => "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        0x002f => "TLS_RSA_WITH_AES_128_CBC_SHA",
        0x0035 => "TLS_RSA_WITH_AES_256_CBC_SHA",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Value;
    use alloc::vec::Vec;

    fn of(version: u16, cipher: u16) -> Vec<Value> {
        attributes(Tls { version, cipher }).map(|attribute| attribute.value).collect()
    }

    #[test]
    fn the_cipher_suite_tells_1_3_from_1_2() {
        let text = |text: &'static str| Value::String(text.into());
        assert_eq!(of(0x0303, 0x1302), [text("tls"), text("1.3"), text("TLS_AES_256_GCM_SHA384")]);
        assert_eq!(of(0x0303, 0xc030), [text("tls"), text("1.2"), text("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]);
    }

    #[test]
    fn an_unseen_handshake_says_nothing_and_an_unknown_suite_only_its_version() {
        assert!(of(0, 0).is_empty());
        assert_eq!(of(0x0303, 0xfefe).len(), 2);
    }
}
