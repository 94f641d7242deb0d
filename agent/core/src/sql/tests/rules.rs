//! One rule at a time.

use crate::limits::ATTRIBUTE_BYTES_MAX;
use crate::sql::{Backslashes, Dialect, Statement, Syntax, TextPolicy};
use std::string::String;

fn read(sql: &str, dialect: Dialect, truncated: bool) -> Statement {
    Statement::read(sql.as_bytes(), dialect, TextPolicy::Sanitized, truncated)
}

fn text(sql: &str, dialect: Dialect) -> String {
    read(sql, dialect, false).text.unwrap_or_default()
}

fn postgresql(cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(text(sql, Dialect::PostgreSql), *expected, "{sql}");
    }
}

fn mysql(cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(text(sql, Dialect::MySql), *expected, "{sql}");
    }
}

fn summaries(cases: &[(&str, &str)], dialect: Dialect) {
    for (sql, expected) in cases {
        assert_eq!(read(sql, dialect, false).summary, *expected, "{sql}");
    }
}

#[test]
fn strings() {
    postgresql(&[
        ("a = 'it''s'b", "a = ?b"),
        (r"a = 'C:\' and b", "a = ? and b"),
        (r"a = E'it\'s' and b", "a = ? and b"),
        ("a = E'x'\n  'it\\'s' and b", "a = ? and b"),
        ("a = e'x' -- y\n'it\\'s' and b", "a = ? and b"),
        ("a = $$it's$$ and b = $t$ $$ $x$ $t$", "a = ? and b = ?"),
        (r#"a = U&'d\0061' and U&"d\0061" = "a b""#, r#"a = ? and U&"d\0061" = "a b""#),
        ("a = B'01' or a = x'1F' or a = N'y'", "a = ? or a = ? or a = ?"),
        ("a = 'x", "a = ?"),
        ("a = $t$x", "a = ?"),
        ("a = \"x", "a ="),
        ("a$b$c = $1", "a$b$c = $1"),
    ]);
    mysql(&[
        (r#"a = 'it\'s' and b = "say ""x"" \" y" and c"#, "a = ? and b = ? and c"),
        ("a = _utf8mb4'x' or a = n'x' or a = 0x1F or a = b'1'", "a = ? or a = ? or a = ? or a = ?"),
        ("`a``b` = 'x'", "`a``b` = ?"),
        ("a = \"x", "a = ?"),
        ("'root'@'%'", "?@?"),
    ]);
}

#[test]
fn strings_that_end_by_what_a_backslash_is() {
    let read = |sql: &str, syntax: Syntax| Statement::read(sql.as_bytes(), syntax, TextPolicy::Sanitized, false);
    let cases = |dialect, backslashes, may_quote_names, cases: &[(&str, &str)]| {
        for (sql, expected) in cases {
            let read = read(sql, Syntax { dialect, backslashes, may_quote_names });
            assert_eq!(read.text.as_deref(), Some(*expected), "{sql}");
        }
    };
    let (postgresql, mysql) = (Dialect::PostgreSql, Dialect::MySql);
    cases(
        postgresql,
        Backslashes::Escape,
        false,
        &[
            (r"a = 'it\'s' and b", "a = ? and b"),
            ("a = 'x'\n  'it\\'s' and b", "a = ? and b"),
            (r"a = N'it\'s' and b = X'1F'", "a = ? and b = ?"),
        ],
    );
    cases(
        postgresql,
        Backslashes::Unknown,
        false,
        &[
            (r"a = 'C:\\dir\\' and b = 'c\d' and e = 'it''s' and f", "a = ? and b = ? and e = ? and f"),
            (r"a = 'it\'s' and b", "a = ?"),
            (r"a = E'it\'s' and b", "a = ? and b"),
            (r"a like $1 escape '\' and b = 'c'", "a like $1 escape ?"),
        ],
    );
    cases(
        mysql,
        Backslashes::Plain,
        false,
        &[(r#"a = 'C:\' and b = "C:\" and c = _utf8'\'"#, "a = ? and b = ? and c = ?")],
    );
    cases(mysql, Backslashes::Unknown, false, &[(r#"a = "b\"c" and d"#, "a = ?"), (r"a = 'b\'c' and d", "a = ?")]);
    cases(
        mysql,
        Backslashes::Escape,
        true,
        &[(r#"a = 'it\'s' and "b" = "c\\" and d"#, "a = ? and ? = ? and d"), (r#"a = "b\" and c = 'd"e'"#, "a = ?")],
    );
    // What is behind it may act on others.
    let unknown = Syntax { backslashes: Backslashes::Unknown, ..postgresql.into() };
    let read = read(r"select a from t where b = 'it\'s' union select a from u", unknown);
    assert_eq!((read.summary.as_str(), read.collection), ("SELECT t", None));
}

#[test]
fn numbers() {
    let cases = [
        ("a=1 or a=-1.5e-3 or a = +.5", "a=? or a=? or a = ?"),
        ("a-1, a -1, (a)-1, 1-1", "a-?, a -?, (a)-?, ?-?"),
        ("select -1, -1 limit -1", "select ?, ? limit ?"),
        ("table_1.c2 = 0xAF + 1_000", "table_1.c2 = ? + ?"),
        ("a = 12abc and b", "a = ? and b"),
    ];
    postgresql(&cases);
    mysql(&cases);
    postgresql(&[("a[1:2] = $1::numeric(10,2)", "a[?:?] = $1::numeric(?,?)")]);
}

#[test]
fn placeholders_and_operators() {
    postgresql(&[
        ("a = $12 and b ? 'k' and c ?| array['x']", "a = $12 and b ? ? and c ?| array[?]"),
        ("a::int = :name and b := 1", "a::int = :name and b := ?"),
        ("a->>'k' @> '{}' and b #> '{c}'", "a->>? @> ? and b #> ?"),
    ]);
    mysql(&[("@v := @v + 1, @@global.x, ? , @'v'", "@v := @v + ?, @@global.x, ? , @?")]);
}

#[test]
fn comments() {
    postgresql(&[
        ("a -- it's\n= /* /* ' */ ' */ b", "a = b"),
        ("a /* x", "a"),
        ("a--1", "a"),
        ("/* c */ a", "a"),
        ("# a", "# a"),
    ]);
    mysql(&[
        ("a -- it's\n= # '\nb", "a = b"),
        ("a--1", "a-?"),
        ("a /* /* x */ = b", "a = b"),
        ("a /*+ HINT('x') */ = b", "a = b"),
        ("a /*!50000 = 'x' */ + b /*M! - c*/", "a = ? + b - c"),
        // Two signs that touch are a comment once a blank is behind them.
        ("a --/*! - b*/", "a - - - b"),
        // Servers that skip the hint read on after the first end.
        ("a /*! '*/ secret' */", "a"),
    ]);
}

#[test]
fn lists() {
    let cases = [
        ("a IN (1, 2, 'x', NULL)", "a IN (?)"),
        ("a NOT IN ( 1 , 2 )", "a NOT IN ( ? )"),
        ("(a, b) IN ((1, 2), (3, 4))", "(a, b) IN ((?, ?))"),
        ("a IN (1, 2, f(3))", "a IN (?, f(?))"),
        ("a IN (SELECT 1, 2)", "a IN (SELECT ?, ?)"),
        ("a IN (1, 2::b select c)", "a IN (?, ?::b select c)"),
        ("VALUES (1, 'a'), (2, NULL), (DEFAULT, ?) RETURNING b", "VALUES (?, ?) RETURNING b"),
        ("VALUES (1), (f(2)), (3)", "VALUES (?), (f(?)), (?)"),
        ("VALUES (DATE '2026-01-01'), (DATE '2026-01-02');", "VALUES (DATE ?);"),
        ("a = f(1, 2)", "a = f(?, ?)"),
        ("VALUES (1), (2), values (3)", "VALUES (?), values (?)"),
        ("a IN (1, [ 2) or b) and c", "a IN (?, [ ?) or b) and c"),
    ];
    postgresql(&cases);
    mysql(&cases);
}

#[test]
fn truth() {
    let cases = [
        ("a = TRUE and b = false", "a = ? and b = ?"),
        ("a IS TRUE and b IS NOT FALSE and NOT true", "a IS TRUE and b IS NOT FALSE and NOT ?"),
        ("a IS NULL", "a IS NULL"),
    ];
    postgresql(&cases);
}

#[test]
fn long_text_is_cut_between_tokens() {
    let columns = "column, ".repeat(1_000);
    let read = read(&["select ", &columns, "x from t"].concat(), Dialect::PostgreSql, false);
    let text = read.text.unwrap_or_default();
    assert!(text.len() <= 4_096 && text.len() > 4_080);
    assert!(text.ends_with("column") || text.ends_with("column,"));
    assert_eq!(read.summary, "SELECT t");
    let elements = "123, ".repeat(10_000);
    let sql = ["select a from t where b in (", &elements, "1) and c = 2"].concat();
    assert_eq!(super::rules::text(&sql, Dialect::MySql), "select a from t where b in (?) and c = ?");
}

#[test]
fn the_end_of_truncated_text() {
    let cases = [
        ("select a from b where c = 'sec", "select a from b where c = ?", "SELECT b"),
        ("select a from b where c = $s", "select a from b where c = ?", "SELECT b"),
        ("select a from b where c = 12", "select a from b where c = ?", "SELECT b"),
        ("select a from b, cu", "select a from b,", "SELECT b"),
        ("select a from b.c", "select a from b.", "SELECT"),
        ("select a from \"b\"", "select a from", "SELECT"),
        ("select a from \"b", "select a from", "SELECT"),
        ("select a from b c", "select a from b", "SELECT b"),
        ("select a from b where c = ?", "select a from b where c = ?", "SELECT b"),
        ("select a from b where c = $1", "select a from b where c =", "SELECT b"),
        ("select a from b /* x", "select a from b", "SELECT b"),
        ("insert into b values (1, 2), (3", "insert into b values (?, ?)", "INSERT b"),
        ("upd", "", ""),
    ];
    for (sql, text, summary) in cases {
        let read = read(sql, Dialect::PostgreSql, true);
        assert_eq!((read.text.as_deref().unwrap_or_default(), read.summary.as_str()), (text, summary), "{sql}");
        assert_eq!(read.collection, None, "{sql}");
    }
}

#[test]
fn names_that_are_no_targets() {
    let cases = [
        ("select a from generate_series(1, 3) g, s.f(2), t", "SELECT t"),
        ("select extract(year from a), substring(b from 1), trim(both from c) from t", "SELECT t"),
        ("select a is distinct from b, a is not distinct from c from t", "SELECT t"),
        ("select distinct a as from, b from t", "SELECT t"),
        ("select t.from from t", "SELECT t"),
        ("select a from t where b in (1) group by c, d order by e, f limit 1, 2", "SELECT t"),
        ("select a from t join u using (b, c), v", "SELECT t u v"),
        ("select a from t for update of t, u", "SELECT t"),
        ("select a from rows from (f(1), g(2)) x, t", "SELECT t"),
        ("select a from (t join u on t.a = u.b) join (values (1, 2)) v on true", "SELECT t u"),
        ("insert into t (a) values (1) on conflict (a) do update set b = 2", "INSERT t"),
        ("insert into t (a) select b from u on conflict do nothing", "INSERT t SELECT u"),
        (
            "merge into t using u on a = b when matched then update set c = 1 when not matched then insert (c) values (1)",
            "MERGE t u",
        ),
        ("merge into t using (select a from u) v on a = b when matched then delete", "MERGE t SELECT u"),
        ("delete from t using u, v where a = b", "DELETE t u v"),
        ("update only t set a = b.c from b where a is distinct from d", "UPDATE t b"),
        (
            "alter table t add column a int, add column b int references u on delete cascade on update set null",
            "ALTER TABLE t",
        ),
        ("grant select, insert on t to u", "GRANT"),
        ("create policy p on t for select using (a)", "CREATE POLICY p"),
        ("create function f() returns int as $$ select a from t $$ language sql; select 1", "CREATE FUNCTION f"),
        ("create user bob password 'x'", "CREATE USER"),
        ("select a from t where b = (table u)", "SELECT t"),
        ("values (1), (2)", "VALUES"),
        ("table t", "TABLE t"),
        ("hello from t", ""),
    ];
    summaries(&cases, Dialect::PostgreSql);
}

#[test]
fn queries_that_have_names() {
    let cases = [
        ("with c as (select a from t) select a from c join d on true", "SELECT t SELECT d"),
        ("with t as (select a from t) select a from t", "SELECT t SELECT"),
        ("with recursive c(n) as (select 1 union all select n + 1 from c) select n from c", "SELECT SELECT SELECT"),
        (
            "with a as (with b as (select 1 from x) select 1 from b), c as not materialized (select 1 from a) select 1 from a, b, c, s.a",
            "SELECT x SELECT SELECT SELECT b s.a",
        ),
        ("with \"C\" as (delete from t returning a) insert into u select a from \"C\"", "DELETE t INSERT u SELECT"),
        ("insert into t with c as (select a from u) select a from c", "INSERT t SELECT u SELECT"),
        ("create view v as with c as (select a from u) select a from c", "CREATE VIEW v SELECT u SELECT"),
        ("explain (analyze, buffers) with c as (select a from u) select a from c", "EXPLAIN SELECT u SELECT"),
        ("with c as (select 1) select a from c; select a from c", "SELECT SELECT SELECT c"),
    ];
    summaries(&cases, Dialect::PostgreSql);
}

#[test]
fn other_statements() {
    let cases = [
        ("BEGIN; select a from t; COMMIT", "BEGIN SELECT t COMMIT"),
        ("start transaction isolation level serializable", "START TRANSACTION"),
        ("set local x = 1", "SET"),
        ("fetch forward 10 from c", "FETCH"),
        ("close c", "CLOSE"),
        ("prepare p (int) as select a from t where b = $1", "PREPARE SELECT t"),
        ("execute p (1)", "EXECUTE"),
        ("deallocate all", "DEALLOCATE"),
        ("listen c", "LISTEN"),
        ("notify c, 'x'", "NOTIFY"),
        ("lock table only t, u in share mode", "LOCK t u"),
        ("vacuum (full, analyze) t (a), u", "VACUUM t u"),
        ("analyze verbose t", "ANALYZE t"),
        ("copy t (a, b) to stdout", "COPY t"),
        ("copy (select a from t) to stdout", "COPY SELECT t"),
        ("refresh materialized view concurrently v", "REFRESH MATERIALIZED VIEW v"),
        ("create unique index concurrently if not exists i on only t (a, b)", "CREATE INDEX i t"),
        ("create index on t (a)", "CREATE INDEX t"),
        ("create temp table t (a int references u)", "CREATE TABLE t"),
        ("create table t as select a from u", "CREATE TABLE t SELECT u"),
        ("drop index i, j", "DROP INDEX i j"),
        ("drop schema if exists s cascade", "DROP SCHEMA s"),
        ("alter default privileges grant select on tables to bob", "ALTER DEFAULT PRIVILEGES"),
        ("create event trigger e on ddl_command_end", "CREATE TRIGGER e"),
        ("create cast (a as b)", "CREATE"),
        ("create cast (a as", "CREATE"),
        ("select a into u from t", "SELECT u t"),
        ("call p(1)", "CALL p"),
    ];
    summaries(&cases, Dialect::PostgreSql);
    let cases = [
        ("insert ignore t set a = 1", "INSERT t"),
        ("replace into t select * from u", "REPLACE t SELECT u"),
        ("update low_priority t, u set a = 1", "UPDATE t u"),
        ("delete quick from t, u using t join u", "DELETE t u t u"),
        ("select straight_join a from t straight_join u use index for join (i) where 1", "SELECT t u"),
        ("select 1 from dual", "SELECT"),
        ("select a from t into outfile '/x'", "SELECT t"),
        ("load data local infile 'x' into table t (a, b)", "LOAD t"),
        ("rename table a to b, c to d", "RENAME TABLE a c"),
        ("prepare s from 'select 1'", "PREPARE"),
        ("create definer=`r`@`%` procedure p() begin select a from t; end", "CREATE PROCEDURE p"),
        ("describe t", "DESCRIBE t"),
        ("show full columns from t", "SHOW"),
        ("use d", "USE d"),
        ("unlock tables", "UNLOCK TABLES"),
        ("create table t like u", "CREATE TABLE t"),
    ];
    summaries(&cases, Dialect::MySql);
}

#[test]
fn a_summary_holds_whole_words() {
    let tables: std::vec::Vec<_> = (0..100).map(|i| std::format!("table_{i}")).collect();
    let read = read(&["select a from ", &tables.join(", ")].concat(), Dialect::PostgreSql, false);
    assert!(read.summary.len() <= 255);
    assert!(read.summary.split(' ').skip(1).zip(&tables).all(|(shown, table)| shown == table), "{}", read.summary);
    assert_eq!(read.operation.as_deref(), Some("SELECT"));
    assert_eq!(read.collection, None);
    let long = "x".repeat(300);
    let sql = ["select a from s.", &long, " join t on true"].concat();
    assert_eq!(super::rules::read(&sql, Dialect::PostgreSql, false).summary, "SELECT");
}

/// What is behind it counts for the summary and the operation all the same.
#[test]
fn a_text_ends_in_front_of_a_name_that_does_not_fit() {
    let long = "n".repeat(ATTRIBUTE_BYTES_MAX);
    let sql = ["select 2 from t join \"", &long, "\" u on true; create table v"].concat();
    let read = read(&sql, Dialect::PostgreSql, false);
    assert_eq!(read.text.as_deref(), Some("select ? from t join"));
    assert_eq!((read.summary.as_str(), read.operation), ("SELECT t", None));
}

#[test]
fn what_the_operator_wants() {
    let sql = b"SELECT  'x' FROM t -- c";
    let read = |policy| Statement::read(sql, Dialect::PostgreSql, policy, false);
    assert_eq!(read(TextPolicy::Verbatim).text.as_deref(), Some("SELECT  'x' FROM t -- c"));
    assert_eq!(read(TextPolicy::Off).text, None);
    assert!([TextPolicy::Verbatim, TextPolicy::Off].iter().all(|policy| read(*policy).summary == "SELECT t"));
    assert_eq!(Statement::unknown(None).text.as_deref(), Some("<unknown>"));
    assert!(read(TextPolicy::Sanitized).held_bytes() >= "SELECT ? FROM tSELECT tt".len());
}
