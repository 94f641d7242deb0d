//! `standard_conforming_strings`: what a backslash is in a string.
//! <https://www.postgresql.org/docs/current/runtime-config-compatible.html#GUC-STANDARD-CONFORMING-STRINGS>

use crate::sql::{Backslashes, mentions};

const NAME: &[u8] = b"standard_conforming_strings";

/// Bytes of a `ParameterStatus` that are looked at: the name, `off`, and what ends both.
pub(super) const PARAMETER_BYTES_MAX: u32 = NAME.len() as u32 + 5;

/// Of a `ParameterStatus`. `None`: it is about something else.
pub(super) fn parameter(body: &[u8]) -> Option<Backslashes> {
    let value = body.strip_prefix(NAME)?.strip_prefix(b"\0")?;
    Some(match value {
        b"on\0" => Backslashes::Plain,
        b"off\0" => Backslashes::Escape,
        _ => Backslashes::Unknown,
    })
}

/// A statement may change it before the server says so.
pub(super) fn may_change(text: &[u8]) -> bool {
    mentions(text, NAME).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_says_what_a_backslash_is() {
        assert_eq!(parameter(b"standard_conforming_strings\0on\0"), Some(Backslashes::Plain));
        assert_eq!(parameter(b"standard_conforming_strings\0off\0"), Some(Backslashes::Escape));
        assert_eq!(parameter(b"standard_conforming_strings\0offi"), Some(Backslashes::Unknown));
        assert_eq!(parameter(b"client_encoding\0UTF8\0"), None);
    }

    #[test]
    fn statements_that_name_it_may_change_it() {
        assert!(may_change(b"SET Standard_Conforming_Strings TO off"));
        assert!(!may_change(b"SET standard_conforming_string"));
    }
}
