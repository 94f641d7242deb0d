//! Many requests at once on a connection, and losses among them: an answer is its own request's or nobody's.

use crate::world::{World, text};
use autospan_abi::Direction;

const REDIS: u64 = 20;

fn command(words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    let mut out = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| out.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    out
}

/// A client's connection that was opened before the agent.
fn joined() -> World {
    let mut world = World::new();
    world.client(1, REDIS, 40_000);
    world
}

fn ask(world: &mut World, commands: &[&str]) {
    world.write(100, REDIS, &commands.iter().map(|words| command(words)).collect::<String>());
}

/// The spans in their order: text and error.
fn spans(world: &mut World) -> Vec<String> {
    world.settle();
    world.spans.sort_by_key(|span| span.start_unix_ns);
    let line = |span| {
        let error = text(span, "error.type").unwrap_or("ok");
        format!("{} {error}", text(span, "db.query.text").unwrap_or("-"))
    };
    world.spans.iter().map(line).collect()
}

#[test]
fn each_of_many_has_its_answer() {
    let mut world = joined();
    ask(&mut world, &["SET a 1", "GET b", "LPUSH a 2"]);
    world.read(100, REDIS, "+OK\r\n$-1\r\n-WRONGTYPE a\r\n");
    assert_eq!(spans(&mut world), ["SET a ? ok", "GET b ok", "LPUSH a ? WRONGTYPE"]);
}

#[test]
fn answers_to_what_was_asked_before_the_agent_are_nobodys_once_all_have_come() {
    let mut world = joined();
    ask(&mut world, &["GET a"]);
    // Two that nobody saw, then its own.
    world.read(100, REDIS, "-ERR 1\r\n-ERR 2\r\n-ERR a\r\n");
    ask(&mut world, &["GET b"]);
    world.read(100, REDIS, "$1\r\nb\r\n");
    ask(&mut world, &["GET c"]);
    world.read(100, REDIS, "-WRONGTYPE c\r\n");
    let spans = spans(&mut world);
    assert_eq!(spans[spans.len() - 2..], ["GET b ok", "GET c WRONGTYPE"], "{spans:?}");
}

#[test]
fn behind_answers_that_were_lost_each_has_its_own_again() {
    let mut world = joined();
    ask(&mut world, &["GET a", "GET b"]);
    world.lossy = true;
    world.read(100, REDIS, "$1\r\na\r\n$1\r\nb\r\n");
    world.lossy = false;
    ask(&mut world, &["GET c", "GET d"]);
    world.read(100, REDIS, "-ERR c\r\n-ERR d\r\n");
    ask(&mut world, &["GET e", "GET f"]);
    world.read(100, REDIS, "$1\r\ne\r\n-WRONGTYPE f\r\n");
    let spans = spans(&mut world);
    assert_eq!(spans[spans.len() - 2..], ["GET e ok", "GET f WRONGTYPE"], "{spans:?}");
    assert!(spans.iter().all(|span| !span.starts_with("GET a") && !span.starts_with("GET b")), "{spans:?}");
    assert_eq!(spans.len() as u64 + world.counter("dropped.response_lost"), 6);
}

#[test]
fn behind_requests_that_were_not_copied_no_answer_is_anothers() {
    let mut world = joined();
    let commands: String = ["GET a", "GET b", "GET c"].map(command).concat();
    // The last two were not copied.
    let copied = command("GET a").len();
    world.transfer(100, REDIS, Direction::Outbound, &commands.as_bytes()[..copied], commands.len());
    ask(&mut world, &["GET d"]);
    world.read(100, REDIS, "$1\r\na\r\n-ERR b\r\n-ERR c\r\n$1\r\nd\r\n");
    ask(&mut world, &["GET e", "GET f"]);
    world.read(100, REDIS, "$1\r\ne\r\n-WRONGTYPE f\r\n");
    assert_eq!(spans(&mut world), ["GET a ok", "GET e ok", "GET f WRONGTYPE"]);
    // What was lost is counted by its answers.
    assert_eq!(world.counter("dropped.request_lost"), 3);
}

#[test]
fn an_inline_ping_is_known_by_its_answer() {
    let mut world = joined();
    world.write(100, REDIS, "PING\r\n");
    world.read(100, REDIS, "+PONG\r\n");
    world.write(100, REDIS, "GET a\r\n");
    world.read(100, REDIS, "-WRONGTYPE a\r\n");
    assert_eq!(spans(&mut world), ["PING ok", "GET a WRONGTYPE"]);
}
