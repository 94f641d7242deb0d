//! Literal spans → what the terminal shows. `UPDATE=1` rewrites the files under `expect/`.

use super::*;
use crate::export::testing::{With, resource, server_span};
use autospan_core::span::{Attribute, Parent, SpanKind, Status};
use std::path::Path;
use std::time::Duration;

fn terminal(columns: usize, color: bool) -> Terminal {
    let style = Style { color, columns: Some(columns), zone: TimeZone::UTC };
    Terminal { style, ..Terminal::new(color, Output::new(std::io::sink()), Arc::default()) }
}

/// What is shown of these spans, all there at once.
fn shown(columns: usize, color: bool, spans: Vec<ExportSpan>) -> String {
    let mut terminal = terminal(columns, color);
    spans.into_iter().for_each(|span| terminal.pending.add(span, Instant::now()));
    let traces = terminal.pending.rest();
    terminal.rendered(&traces)
}

fn check(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/export/terminal/expect").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, expected, "{name} differs; UPDATE=1 rewrites it");
}

/// A gateway that calls two services and a third party.
fn checkout() -> Vec<ExportSpan> {
    let [gateway, orders, stock] = ["gateway", "orders", "stock"].map(resource);
    vec![
        server_span(&stock, 6, "/reserve").parent(5).at(4, 1_900).error(503),
        server_span(&orders, 5, "/reserve").client().parent(3).at(3, 2_300).error(503),
        server_span(&orders, 3, "/orders/42").parent(2).at(2, 7_600),
        server_span(&gateway, 2, "/orders/42").client().parent(1).at(1, 8_123),
        server_span(&gateway, 7, "/mail").client().parent(1).at(10, 812),
        server_span(&gateway, 1, "/checkout").at(0, 12_440),
    ]
}

fn in_trace(mut span: ExportSpan, id: u8) -> ExportSpan {
    span.span.trace_id = [id; 16];
    span
}

#[test]
fn a_trace_is_a_tree() {
    check("tree.txt", &shown(100, false, checkout()));
}

#[test]
fn calls_of_databases_say_what_they_ask() {
    let [shop, postgres] = ["shop", "postgres"].map(resource);
    let call = |resource, id, name: &'static str, attributes: &[(&'static str, &'static str)]| {
        let mut call = server_span(resource, id, "/").client().parent(1).at(u64::from(id), 700);
        call.span.name = name.into();
        call.span.attributes = attributes.iter().map(|(key, value)| Attribute::new(*key, *value)).collect();
        call
    };
    let sql = |text| [("db.system.name", "postgresql"), ("db.query.text", text)];
    let mut backend = call(&postgres, 4, "SELECT orders", &sql("SELECT * FROM orders WHERE id = ?"));
    backend.span.kind = SpanKind::Server;
    let mut failed = call(&shop, 5, "INSERT orders", &sql("INSERT INTO orders VALUES (?)"));
    failed.span.attributes.push(Attribute::new("error.type", "23505"));
    failed.span.status = Status::Error("".into());
    let redis = [("db.system.name", "redis"), ("db.query.text", "SET order:7 ?")];
    let spans = vec![
        server_span(&shop, 1, "/orders/7").at(0, 9_000),
        call(&shop, 2, "SELECT orders", &sql("SELECT * FROM orders WHERE id = ?")),
        call(&shop, 3, "SELECT orders", &sql("SELECT * FROM orders WHERE id = ?")),
        backend.parent(3),
        failed,
        call(&shop, 6, "SET", &redis),
    ];
    check("databases.txt", &shown(100, false, spans));
}

#[test]
fn colours_only_where_told() {
    check("tree-color.txt", &shown(100, true, checkout()));
    assert!(!shown(100, false, checkout()).contains('\x1b'));
}

#[test]
fn single_spans_are_a_list_and_trees_stand_apart() {
    let shop = resource("shop");
    let single = |id, ms| in_trace(server_span(&shop, id, "/").at(ms, 400), id);
    let tree = checkout().into_iter().map(|span| in_trace(span, 9));
    let spans = [single(21, 100), single(22, 101)].into_iter().chain(tree).chain([single(23, 102)]);
    check("list.txt", &shown(100, false, spans.collect()));
}

#[test]
fn long_targets_are_cut_and_the_result_stays() {
    let name = "a-service-with-a-name-that-is-much-longer-than-any-screen-has-room-for";
    let path = format!("/道/{}", "long/".repeat(60));
    let service = resource(name);
    let spans =
        vec![server_span(&service, 1, &path).at(0, 5_000).error(500), server_span(&service, 2, &path).parent(1)];
    let text = shown(100, false, spans);
    check("long.txt", &text);
    assert!(text.lines().all(|line| text::width(line) <= 100));
}

#[test]
fn deep_traces_stay_on_the_screen() {
    let service = resource("deep");
    let spans = (1..=40).map(|id| server_span(&service, id, "/deeper").parent(id - 1).at(u64::from(id), 1_000));
    let text = shown(100, false, spans.collect());
    assert_eq!(text.lines().count(), 42, "a header, an empty line and 40 spans");
    assert!(text.lines().all(|line| text::width(line) <= 100), "{text}");
}

#[test]
fn a_ring_of_parents_is_shown() {
    let service = resource("ring");
    let spans = vec![server_span(&service, 1, "/a").parent(2), server_span(&service, 2, "/b").parent(1)];
    let text = shown(100, false, spans);
    assert!(text.contains("/a") && text.contains("/b"), "{text}");
}

#[test]
fn nothing_from_outside_commands_the_terminal() {
    let evil = "\x1b[2J\x1b]52;c;cm0gLXJm\x07\u{9b}31m\r\n\u{202e}";
    let mut span = server_span(&resource(evil), 1, evil).error(500);
    for attribute in &mut span.span.attributes {
        attribute.value = evil.to_owned().into();
    }
    span.span.name = evil.to_owned().into();
    let text = shown(100, false, vec![span]);
    let unsafe_char = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(unsafe_char), "{text:?}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn a_trace_is_complete_when_its_root_ended_and_nothing_comes() {
    let ms = Duration::from_millis;
    let start = Instant::now();
    let shop = resource("shop");
    let mut pending = Pending::default();

    pending.add(server_span(&shop, 2, "/child").parent(1), start);
    assert!(pending.complete(start + ms(1_900)).is_empty(), "the root may still run");
    pending.add(server_span(&shop, 1, "/root"), start + ms(1_900));
    assert_eq!(pending.deadline(), Some(start + ms(2_200)));
    assert!(pending.complete(start + ms(2_199)).is_empty());
    let [trace] = &pending.complete(start + ms(2_200))[..] else { panic!("one trace is complete") };
    assert_eq!((trace.spans.len(), trace.late), (2, false));

    pending.add(server_span(&shop, 3, "/late").parent(1), start + ms(5_000));
    let [trace] = &pending.complete(start + ms(5_300))[..] else { panic!("a late span waits no longer") };
    assert!(trace.late);
    assert_eq!(pending.deadline(), None);
}

#[test]
fn a_trace_without_a_root_is_shown_after_a_while() {
    let start = Instant::now();
    let mut pending = Pending::default();
    pending.add(server_span(&resource("shop"), 2, "/child").parent(1), start);
    assert_eq!(pending.complete(start + Duration::from_secs(2)).len(), 1);
}

#[test]
fn a_parent_from_a_header_is_not_waited_for() {
    let start = Instant::now();
    let mut pending = Pending::default();
    let mut span = server_span(&resource("shop"), 2, "/");
    span.span.parent = Some(Parent { span_id: [7; 8], remote: true });
    pending.add(span, start);
    assert_eq!(pending.complete(start + Duration::from_millis(300)).len(), 1);
}

#[test]
fn a_late_span_says_so() {
    let start = Instant::now();
    let mut terminal = terminal(100, false);
    let shop = resource("shop");
    terminal.pending.add(server_span(&shop, 1, "/"), start);
    terminal.pending.rest();
    terminal.pending.add(server_span(&shop, 2, "/slow").parent(1), start);
    let traces = terminal.pending.rest();
    check("late.txt", &terminal.rendered(&traces));
}
