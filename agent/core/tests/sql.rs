//! The SQL reader on any bytes, and on statements whose literals are marked.

use autospan_core::limits::ATTRIBUTE_BYTES_MAX;
use autospan_core::sql::{Backslashes, Dialect, SUMMARY_BYTES_MAX, Statement, Syntax, TextPolicy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const DIALECTS: [Dialect; 2] = [Dialect::PostgreSql, Dialect::MySql];

/// Stands in literals and comments, and nowhere else.
const MARK: char = 'Z';

fn sanitized(text: &[u8], syntax: impl Into<Syntax>, truncated: bool) -> Statement {
    Statement::read(text, syntax, TextPolicy::Sanitized, truncated)
}

/// What every reading keeps to.
fn check_limits(read: &Statement) {
    assert!(read.text.as_ref().is_none_or(|text| text.len() <= ATTRIBUTE_BYTES_MAX));
    assert!(read.summary.len() <= SUMMARY_BYTES_MAX);
    let names = [&read.collection, &read.procedure];
    assert!(names.into_iter().flatten().all(|name| read.summary.contains(name.as_str())));
    let operation = read.operation.as_deref();
    assert!(operation.is_none_or(|operation| read.summary.contains(operation) || read.summary.len() > 200));
}

/// Reading what was read changes nothing.
fn check_again(text: &[u8], dialect: Dialect, truncated: bool) {
    let read = sanitized(text, dialect, truncated);
    check_limits(&read);
    let shown = read.text.unwrap_or_default();
    let again = sanitized(shown.as_bytes(), dialect, false);
    let is_whole = String::from_utf8_lossy(text).len() < ATTRIBUTE_BYTES_MAX / 2;
    // What a list is may show behind the cut: then it is shortened now.
    let shown_again = again.text.as_deref().unwrap_or_default();
    let fits = shown_again == shown || !is_whole && shown.starts_with(shown_again);
    assert!(fits, "{shown_again:?}, not {shown:?}: {:?}", String::from_utf8_lossy(text));
    if is_whole {
        assert_eq!(again.summary, read.summary, "{:?}", String::from_utf8_lossy(text));
        assert_eq!(again.operation, read.operation, "{:?}", String::from_utf8_lossy(text));
    }
}

/// Words, marks and brackets of which SQL is made, in no order.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "select",
        "SELECT",
        "insert",
        "update",
        "delete",
        "merge",
        "with",
        "recursive",
        "values",
        "table",
        "from",
        "join",
        "into",
        "as",
        "in",
        "is",
        "not",
        "distinct",
        "true",
        "false",
        "null",
        "using",
        "set",
        "where",
        "on",
        "for",
        "of",
        "only",
        "create",
        "drop",
        "index",
        "view",
        "function",
        "explain",
        "prepare",
        "declare",
        "copy",
        "call",
        "use",
        "array",
        "exists",
        "lateral",
        "t",
        "u",
        "s.t",
        "\"q\"",
        "`q`",
        "a1",
        "_x",
        "E",
        "U&",
        "1",
        "-1",
        "2.5e-3",
        "0x1f",
        "'s'",
        "E'\\''",
        "$$s$$",
        "$t$",
        "$1",
        "?",
        ":n",
        "@v",
        "@",
        "::",
        ":",
        ".",
        ",",
        ";",
        "(",
        ")",
        "[",
        "]",
        "-",
        "--",
        "+",
        "*",
        "/",
        "/*",
        "*/",
        "/*!",
        "/*!50000 ",
        "#",
        "'",
        "\"",
        "`",
        "$",
        "\\",
        "\n",
        " ",
        " ",
        " ",
        "é",
        "\u{0}",
    ];
    vec(select(pieces.to_vec()), 0..60).prop_map(|pieces| pieces.concat())
}

/// The inside of a literal: marks among all that could be taken for its end.
fn inside() -> impl Strategy<Value = String> {
    let pieces =
        ["Z", "'", "\"", "`", "\\", "--", "/*", "*/", "#", "$", "$t$", "(", ")", ";", " ", "\n", " or ", ",", "Z Z"];
    vec(select(pieces.to_vec()), 0..8).prop_map(|pieces| pieces.concat())
}

/// A literal or comment that a server reads as one token.
fn hidden(dialect: Dialect) -> BoxedStrategy<String> {
    let number = || select(vec!["7", "-77.7e7", "0x7Z", "7Z7", ".7", "+7"]).prop_map(String::from);
    let escaped = |text: String, quote: &str| text.replace('\\', "\\\\").replace(quote, &["\\", quote].concat());
    let doubled = |text: String, quote: &str| text.replace(quote, &[quote, quote].concat());
    let line = |mark: &'static str| inside().prop_map(move |text| [mark, &text.replace('\n', ""), "\n"].concat());
    match dialect {
        Dialect::PostgreSql => prop_oneof![
            number(),
            inside().prop_map(move |text| ["'", &doubled(text, "'"), "'"].concat()),
            inside().prop_map(move |text| ["E'", &escaped(text, "'"), "'"].concat()),
            (inside(), inside()).prop_map(move |(a, b)| [
                "e'",
                &escaped(a, "'"),
                "' \n '",
                &doubled(escaped(b, "\u{1}"), "'"),
                "'"
            ]
            .concat()),
            inside().prop_map(|text| ["$$", &text.replace('$', ""), "$$"].concat()),
            inside().prop_map(|text| ["$t$", &text.replace("$t$", " "), " $t$"].concat()),
            inside().prop_map(move |text| ["U&'", &doubled(text.replace('\\', ""), "'"), "'"].concat()),
            inside().prop_map(|text| [
                "/*",
                &text.replace("/*", "").replace("*/", "").replace('/', ""),
                "/* Z */ Z */"
            ]
            .concat()),
            // Behind it, a quote would go on with an E'…' in front.
            line("--").prop_map(|line| line + "="),
        ]
        .boxed(),
        Dialect::MySql => prop_oneof![
            number(),
            inside().prop_map(move |text| ["'", &escaped(text, "'"), "'"].concat()),
            inside().prop_map(move |text| ["\"", &escaped(text, "\""), "\""].concat()),
            inside().prop_map(move |text| ["_binary'", &doubled(escaped(text, "\u{1}"), "'"), "'"].concat()),
            inside().prop_map(|text| ["/* ", &text.replace("*/", " "), " */"].concat()),
            line("-- "),
            line("#"),
        ]
        .boxed(),
    }
}

/// A statement, with literals where an expression may be.
fn marked(dialect: Dialect) -> impl Strategy<Value = String> {
    with_literals(hidden(dialect))
}

/// The same with strings as they are where a backslash is not what it is by default.
fn marked_otherwise(dialect: Dialect) -> impl Strategy<Value = String> {
    let string = inside().prop_map(move |text| match dialect {
        Dialect::PostgreSql => ["'", &text.replace('\\', "\\\\").replace('\'', "\\'"), "'"].concat(),
        Dialect::MySql => ["'", &text.replace('\'', "''"), "'"].concat(),
    });
    with_literals(string.boxed())
}

fn with_literals(literal: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let shown = [
        "select",
        "a from t",
        "where b =",
        "and c in (",
        ")",
        "(",
        ",",
        "values (",
        "), (",
        "insert into t",
        "update t set a =",
        "like",
        "call p(",
        "copy t from stdin",
        "-",
        "+",
        "::text",
        "escape",
        "as x",
        "; delete from t where a <",
        "between",
        "limit",
    ];
    let piece = prop_oneof![select(shown.to_vec()).prop_map(String::from), literal];
    vec(piece, 1..12).prop_map(|pieces| pieces.join(" "))
}

/// No mark is seen, wherever the text is cut.
fn check_hidden(sql: &str, syntax: impl Into<Syntax>) {
    let syntax = syntax.into();
    for end in 0..=sql.len() {
        for truncated in [true, false] {
            let read = sanitized(&sql.as_bytes()[..end], syntax, truncated);
            let shown = [read.text, Some(read.summary), read.collection, read.procedure].into_iter().flatten();
            let shown = shown.collect::<Vec<_>>().concat();
            assert!(!shown.contains([MARK, '7']), "{:?}\n{shown}", &sql[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..200), truncated: bool) {
        for dialect in DIALECTS {
            check_again(&bytes, dialect, truncated);
            for policy in [TextPolicy::Verbatim, TextPolicy::Off] {
                check_limits(&Statement::read(&bytes, dialect, policy, truncated));
            }
        }
    }

    #[test]
    fn reading_is_idempotent(sql in soup(), truncated: bool) {
        for dialect in DIALECTS {
            check_again(sql.as_bytes(), dialect, truncated);
        }
    }

    #[test]
    fn long_text_is_read_again(sql in vec(soup(), 0..100)) {
        for dialect in DIALECTS {
            check_again(sql.join(" ").as_bytes(), dialect, false);
        }
    }

    #[test]
    fn no_literal_of_postgresql_is_shown(sql in marked(Dialect::PostgreSql)) {
        check_hidden(&sql, Dialect::PostgreSql);
    }

    #[test]
    fn no_literal_of_mysql_is_shown(sql in marked(Dialect::MySql)) {
        check_hidden(&sql, Dialect::MySql);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_literal_is_shown_whatever_a_backslash_is(
        postgresql in marked(Dialect::PostgreSql),
        postgresql_escapes in marked_otherwise(Dialect::PostgreSql),
        mysql in marked(Dialect::MySql),
        mysql_plain in marked_otherwise(Dialect::MySql),
        may_quote_names: bool,
    ) {
        let read_as = |dialect, backslashes| Syntax { dialect, backslashes, may_quote_names };
        let of_postgresql = |backslashes| Syntax { may_quote_names: false, ..read_as(Dialect::PostgreSql, backslashes) };
        check_hidden(&postgresql, of_postgresql(Backslashes::Unknown));
        check_hidden(&postgresql_escapes, of_postgresql(Backslashes::Unknown));
        check_hidden(&postgresql_escapes, of_postgresql(Backslashes::Escape));
        check_hidden(&mysql, read_as(Dialect::MySql, Backslashes::Unknown));
        check_hidden(&mysql_plain, read_as(Dialect::MySql, Backslashes::Unknown));
        check_hidden(&mysql_plain, read_as(Dialect::MySql, Backslashes::Plain));
    }
}

/// A summary of the start is a start of the summary.
#[test]
fn what_is_cut_off_is_not_guessed() {
    let statements = [
        "with c as (select a from s.t join u using (b)) insert into \"v\" (a) select a from c, w where a in (1, 2); update x set a = 1",
        "delete from t using u where a is distinct from b returning c",
        "create unique index i on t (a)",
        "start transaction; call s.p(1, 'x'); commit",
        "explain analyze select a from (select b from t) u left join lateral (select c from v) w on true",
    ];
    for (sql, dialect) in statements.iter().flat_map(|sql| DIALECTS.map(|dialect| (sql, dialect))) {
        let whole = sanitized(sql.as_bytes(), dialect, false).summary;
        for end in 0..sql.len() {
            let start = sanitized(&sql.as_bytes()[..end], dialect, true).summary;
            assert!(whole.starts_with(&start), "{}: {start:?}, not of {whole:?}", &sql[..end]);
        }
    }
}

/// Each would take minutes if anything were read again and again.
#[test]
fn time_is_linear() {
    const BYTES: usize = 1 << 19;
    let pieces = [
        "(",
        ")",
        "/*",
        "/*!",
        "/*!*/",
        "*/",
        "--",
        "-- \n",
        "$a",
        "$aa$",
        "$",
        "'",
        "E'a'\n",
        "\\'",
        "\"",
        "`",
        "a.",
        "a,",
        "with a as (",
        "in (1,",
        "values (1),(",
        "in (f(",
        "from t,",
        "from (",
        "select ",
        "?",
        "1e",
        ";",
        "with recursive a as (select 1),",
        ":a",
        "é",
        "\u{0}",
    ];
    for (piece, dialect) in pieces.iter().flat_map(|piece| DIALECTS.map(|dialect| (piece, dialect))) {
        check_limits(&sanitized(piece.repeat(BYTES / piece.len()).as_bytes(), dialect, true));
    }
}
