//! The SQL reader: any bytes, in any dialect, cut off or not; what it made of them is read again.
#![no_main]

use autospan_core::limits::ATTRIBUTE_BYTES_MAX;
use autospan_core::sql::{Dialect, SUMMARY_BYTES_MAX, Statement, TextPolicy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // The first byte chooses how the rest is read.
    let Some((how, sql)) = input.split_first() else { return };
    let dialect = if how & 1 == 0 { Dialect::PostgreSql } else { Dialect::MySql };
    let read = Statement::read(sql, dialect, TextPolicy::Sanitized, how & 2 != 0);
    let text = read.text.unwrap_or_default();
    assert!(text.len() <= ATTRIBUTE_BYTES_MAX && read.summary.len() <= SUMMARY_BYTES_MAX);
    let names = [&read.collection, &read.procedure];
    assert!(names.into_iter().flatten().all(|name| read.summary.contains(name.as_str())));
    // A text that was cut, be it in front of one name that did not fit, has lost more than literals.
    let is_whole = String::from_utf8_lossy(sql).len() < ATTRIBUTE_BYTES_MAX / 2;
    // A literal that was left would go now. What a list is may show behind the cut: then it is shortened now.
    let again = Statement::read(text.as_bytes(), dialect, TextPolicy::Sanitized, false);
    let shown = again.text.as_deref().unwrap_or_default();
    assert!(shown == text || !is_whole && text.starts_with(shown), "{shown}\n{text}");
    // Of what is no SQL, a list that was shortened may have held words of the summary; that generated SQL's does not is a property test.
    let commas = |bytes: &[u8]| bytes.iter().filter(|b| **b == b',').count();
    if is_whole && commas(sql) == commas(text.as_bytes()) {
        assert_eq!((again.summary, again.operation), (read.summary, read.operation));
    }
});
