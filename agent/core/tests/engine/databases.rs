//! Clients of databases on an event loop: who waits in a queue for a connection is not seen.

use crate::world::{Conn, World};
use crate::{OK, get};
use autospan_abi::{Role, Trail};
use autospan_core::fact::Threads;
use autospan_core::limits::GUESSES_AWAITED_MAX;

const CLIENT: Conn = 20;
const OTHER: Conn = 21;
/// Requests, each alone, that must have made a call.
const SEEN_FIRST: usize = 8;
/// More than wait for the end of a request.
const MANY: usize = GUESSES_AWAITED_MAX + 500;

/// A simple query of PostgreSQL's.
fn query(text: &str) -> String {
    format!("Q\0\0\0{}{text}\0", char::from(text.len() as u8 + 5))
}

const COMPLETE: &str = "C\0\0\0\x0dSELECT 1\0";
const FAILED: &str = "E\0\0\0\x0dC23505\0\0\0";
const READY: &str = "Z\0\0\0\x05I";
const STARTUP: &str = "\0\0\0\x12\0\x03\0\0user\0app\0\0";
const LOGGED_IN: &str = "R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

fn answer() -> String {
    COMPLETE.to_owned() + READY
}

/// A query of MySQL's, and its answer.
fn com_query(text: &str) -> String {
    format!("{}\0\0\0\x03{text}", char::from(text.len() as u8 + 1))
}

const MYSQL_OK: &str = "\x07\0\0\x01\0\x01\0\x02\0\0\0";

fn world() -> World {
    let mut world = World::new();
    world.process(1, Threads::Owned);
    world.trail = Trail::Turn;
    for connection in 10..13 {
        world.server(1, connection, 50_000 + connection as u16);
    }
    world.client(1, CLIENT, 40_000);
    world.client(1, OTHER, 40_001);
    world
}

/// Asks by turns.
fn ask(world: &mut World, connection: Conn, trail: Trail, query: &str, answer: &str) {
    world.trail = trail;
    world.write(100, connection, query);
    world.read(100, connection, answer);
    world.trail = Trail::Turn;
}

/// A request that asks several times on one connection; but for the first time it may be anybody.
fn queries(world: &mut World, seconds: usize) {
    world.read(100, 10, &get("/a"));
    ask(world, CLIENT, Trail::Turn, &query("SELECT a FROM first"), &answer());
    (0..seconds).for_each(|_| ask(world, CLIENT, Trail::Reuse, &query("SELECT a FROM second"), &answer()));
    world.write(100, 10, OK);
    world.settle();
}

fn two_queries(world: &mut World) {
    queries(world, 1);
}

/// The trees from the last request to `path` on.
fn behind(world: &mut World, path: &str) -> String {
    let trees = world.trees();
    trees.rsplit_once(&format!("server GET {path} ")).map(|(_, last)| last.to_owned()).expect("a request")
}

fn count(world: &mut World, line: &str) -> usize {
    let trees = world.trees();
    trees.lines().filter(|found| found.starts_with(line) && !found.trim().is_empty()).count()
}

#[test]
fn a_login_is_no_call_that_a_process_makes_by_itself() {
    let mut world = world();
    ask(&mut world, CLIENT, Trail::Turn, STARTUP, LOGGED_IN);
    (0..SEEN_FIRST + 3).for_each(|_| two_queries(&mut world));
    assert_eq!(count(&mut world, "  client SELECT second"), 3, "{}", world.trees());
}

/// A failure is known before the end of its answer, behind which the connection is used again.
fn behind_a_failure(others: usize) -> String {
    let mut world = world();
    (0..SEEN_FIRST).for_each(|_| queries(&mut world, 2));
    world.read(100, 10, &get("/fails"));
    ask(&mut world, CLIENT, Trail::Turn, &query("SELECT a FROM first"), FAILED);
    world.write(100, 10, OK);
    for other in 0..=others {
        world.read(100, 10 + other as Conn, &get(&format!("/next/{other}")));
    }
    world.read(100, CLIENT, READY);
    for _ in 0..2 {
        ask(&mut world, CLIENT, Trail::Reuse, &query("SELECT a FROM second"), &answer());
    }
    (0..=others).for_each(|other| world.write(100, 10 + other as Conn, OK));
    let trees = world.trees();
    trees.split_once("/fails").map(|(_, rest)| rest.to_owned()).expect("it failed")
}

#[test]
fn the_only_request_waited_for_the_end_of_an_answer_to_an_earlier_one() {
    let trees = behind_a_failure(0);
    let both = "  client SELECT second  - [turn]\n".repeat(2);
    assert!(trees.contains(&format!("/next/0 200 [entry]\n{both}")), "{trees}");
}

#[test]
fn of_two_requests_nobody_knows_which_waited_for_that() {
    let trees = behind_a_failure(1);
    assert!(trees.contains("\nclient SELECT second"), "{trees}");
}

/// Each request waits for another service, asks on the connection, is answered at once, and asks again behind that. The next request is
/// there by then.
fn behind_the_response(trail: Trail) -> String {
    let mut world = world();
    for n in 0..3 * SEEN_FIRST {
        world.read(100, 10, &get("/a"));
        world.write(100, OTHER, &get("/slow"));
        if n > 0 {
            world.read(100, CLIENT, &answer());
            ask(&mut world, CLIENT, trail, &query("SELECT a FROM second"), &answer());
        }
        world.read(100, OTHER, OK);
        world.write(100, CLIENT, &query("SELECT a FROM first"));
        world.write(100, 10, OK);
    }
    world.trees()
}

#[test]
fn what_goes_on_behind_a_response_is_not_the_next_requests() {
    for trail in [Trail::Reuse, Trail::ReuseAtOnce, Trail::Turn] {
        let trees = behind_the_response(trail);
        assert!(
            trees.contains("\nclient SELECT second") && !trees.contains("  client SELECT second"),
            "{trail:?}: {trees}"
        );
    }
}

/// Asks in the turn of an answer while a request that needs no more of the database is there, then answers that request, before the
/// query's own answer comes or behind it.
fn in_the_turn_of_its_answer(world: &mut World, text: &str, waits: bool) {
    world.read(100, 10, &get("/last"));
    ask(world, CLIENT, Trail::Turn, &query("SELECT a FROM first"), &answer());
    world.trail = Trail::Reuse;
    world.write(100, CLIENT, &query(text));
    if waits {
        world.read(100, CLIENT, &answer());
        world.write(100, 10, OK);
    } else {
        world.write(100, 10, OK);
        world.read(100, CLIENT, &answer());
    }
    world.trail = Trail::Turn;
    world.settle();
}

#[test]
fn a_call_that_no_response_waited_for_may_be_nobodys() {
    for waits in [true, false] {
        let mut world = world();
        (0..SEEN_FIRST).for_each(|_| two_queries(&mut world));
        in_the_turn_of_its_answer(&mut world, "SELECT a FROM second", waits);
        assert_eq!(behind(&mut world, "/last").contains("\n  client SELECT second"), waits, "{}", world.trees());
        // Whoever leaves work behind does so again.
        two_queries(&mut world);
        assert_eq!(behind(&mut world, "/a").contains("\n  client SELECT second"), waits, "{}", world.trees());
    }
}

#[test]
fn of_one_call_more_than_requests_make_nobody_knows_which_it_is() {
    let mut world = world();
    (0..SEEN_FIRST).for_each(|_| two_queries(&mut world));
    queries(&mut world, 2);
    assert_eq!(behind(&mut world, "/a").matches("\nclient SELECT second  - [ambiguous]").count(), 2);
    // They make so many now.
    queries(&mut world, 2);
    assert_eq!(behind(&mut world, "/a").matches("\n  client SELECT second").count(), 2, "{}", world.trees());
}

#[test]
fn a_request_may_make_more_calls_than_can_wait_for_its_end() {
    let mut world = world();
    queries(&mut world, MANY);
    (1..SEEN_FIRST).for_each(|_| two_queries(&mut world));
    world.read(100, 10, &get("/many"));
    ask(&mut world, CLIENT, Trail::Turn, &query("SELECT a FROM first"), &answer());
    for _ in 0..MANY {
        ask(&mut world, CLIENT, Trail::Reuse, &query("SELECT a FROM second"), &answer());
        world.now += 1_000_000;
        world.engine.tick(world.now);
    }
    world.write(100, 10, OK);
    world.settle();
    assert_eq!(behind(&mut world, "/many").matches("\n  client SELECT second").count(), MANY);
}

/// A client has a queue of its own, whatever a pool beside it has to spare.
fn beside_an_idle_pool(by_itself: bool) -> String {
    let mut world = world();
    world.read(100, 10, &get("/a"));
    for other in 30..33 {
        world.client(1, other, 42_000 + other as u16);
        ask(&mut world, other, Trail::Turn, &query("SELECT a FROM pool"), &answer());
    }
    world.write(100, 10, OK);
    world.settle();
    if by_itself {
        ask(&mut world, CLIENT, Trail::Turn, &query("SELECT a FROM beat"), &answer());
        world.settle();
    }
    in_the_turn_of_its_answer(&mut world, "SELECT a FROM beat", true);
    world.trees()
}

#[test]
fn a_timer_may_wait_for_one_connection_while_others_are_idle() {
    for by_itself in [true, false] {
        let trees = beside_an_idle_pool(by_itself);
        assert_eq!(trees.contains("\n  client SELECT beat  - [turn]"), !by_itself, "{trees}");
    }
}

/// A request goes on at once by the connection of an answer, while another one waits for a call of its own, or for nothing that
/// is seen.
fn at_once(query: &str, answer: &str, other_waits: bool) -> String {
    let mut world = world();
    world.read(100, 11, &get("/other"));
    if other_waits {
        world.write(100, OTHER, &get("/slow"));
    }
    world.read(100, 10, &get("/a"));
    ask(&mut world, CLIENT, Trail::Turn, query, answer);
    ask(&mut world, CLIENT, Trail::ReuseAtOnce, query, answer);
    world.write(100, 10, OK);
    world.trees()
}

#[test]
fn a_pool_of_postgresql_calls_who_waited_in_the_answer_and_not_from_a_tick() {
    let query = query("SELECT a FROM first");
    assert!(at_once(&query, &answer(), true).contains("SELECT first  - [turn]\n  client SELECT first  - [turn]"));
    let trees = at_once(&query, &answer(), false);
    assert!(trees.contains("\nclient SELECT first  - [ambiguous]"), "{trees}");
}

#[test]
fn a_pool_of_mysql_calls_who_waited_from_a_tick() {
    let trees = at_once(&com_query("SELECT a FROM first"), MYSQL_OK, true);
    assert!(trees.contains("\nclient SELECT first  - [ambiguous]"), "{trees}");
}

/// A connection is made for one request, and used while another waits for a call of its own, or for nothing that is seen.
fn on_a_new_connection(other_waits: bool, calls: usize) -> String {
    let mut world = world();
    world.connect(1, 30, 41_000);
    world.read(100, 11, &get("/other"));
    if other_waits {
        world.write(100, OTHER, &get("/slow"));
    }
    world.read(100, 10, &get("/a"));
    ask(&mut world, 30, Trail::Turn, STARTUP, LOGGED_IN);
    for _ in 0..calls {
        ask(&mut world, 30, Trail::Reuse, &query("SELECT a FROM first"), &answer());
    }
    world.write(100, 10, OK);
    world.trees()
}

#[test]
fn a_new_connection_is_for_who_needed_one() {
    let trees = on_a_new_connection(true, 1);
    assert!(trees.contains("\n  client SELECT first  - [turn]"), "{trees}");
    let trees = on_a_new_connection(false, 1);
    assert!(trees.contains("\nclient SELECT first  - [ambiguous]"), "it may have waited: {trees}");
    let trees = on_a_new_connection(true, 2);
    assert!(trees.contains("\nclient SELECT first  - [ambiguous]"), "it may have been given back: {trees}");
}

/// A request that sends two commands from an immediate.
fn two_commands(world: &mut World, second: &str) {
    world.read(100, 10, &get("/a"));
    for key in ["cart:1", second] {
        let command = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len());
        ask(world, CLIENT, Trail::Reuse, &command, "$-1\r\n");
    }
    world.write(100, 10, OK);
    world.settle();
}

#[test]
fn commands_of_redis_are_habits_by_the_first_word_of_their_key() {
    let mut world = world();
    world.shared.insert(CLIENT);
    (0..2 * SEEN_FIRST).for_each(|n| two_commands(&mut world, &format!("name:{n}")));
    two_commands(&mut world, "stock:1");
    let trees = world.trees();
    let (before, last) = trees.rsplit_once("server GET /a").expect("a request");
    assert!(before.ends_with("  client GET  - [turn]\n  client GET  - [turn]\n"), "{trees}");
    assert_eq!(last.matches("\n  client GET").count(), 1, "{trees}");
}

/// `statement` is executed, whose text was not seen.
fn execute(statement: &str) -> String {
    let bind = format!("B\0\0\0{}\0{statement}\0\0\0\0\0\0\0", char::from(statement.len() as u8 + 12));
    bind + "E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"
}

/// A request that executes what was prepared before the agent came, on a connection that is used again at once. How many have a parent?
fn executes(world: &mut World, connection: Conn, statement: &str) -> usize {
    let before = count(world, "  client postgresql");
    world.read(100, 10, &get("/a"));
    ask(world, connection, Trail::Turn, &query("SELECT a FROM first"), &answer());
    ask(world, connection, Trail::Reuse, &execute(statement), &format!("2\0\0\0\x04{}", answer()));
    world.write(100, 10, OK);
    world.settle();
    count(world, "  client postgresql") - before
}

#[test]
fn what_was_prepared_before_the_agent_is_a_habit_by_connection_and_name() {
    let mut world = world();
    let learning: usize = (0..SEEN_FIRST).map(|_| executes(&mut world, CLIENT, "s1")).sum();
    assert_eq!((learning, executes(&mut world, CLIENT, "s1")), (0, 1), "{}", world.trees());
    assert_eq!(executes(&mut world, CLIENT, "s2"), 0, "another statement: {}", world.trees());
    assert_eq!(executes(&mut world, OTHER, "s1"), 0, "another session's: {}", world.trees());
    assert_eq!(executes(&mut world, CLIENT, "s1"), 1, "{}", world.trees());
}

/// Inside TLS, on a connection that is older than the agent, the first answer is not seen (ADR 12). Who goes on with it carries nothing, and
/// who goes on behind that has the answer to nobody's call.
#[test]
fn what_follows_an_answer_that_was_not_seen_is_no_call_that_a_process_makes_by_itself() {
    let mut world = world();
    let (older, get_name) = (22, "*2\r\n$3\r\nGET\r\n$6\r\nname:0\r\n");
    world.tls_before_the_agent(1, older, Role::Client, 40_002);
    world.shared.extend([CLIENT, older]);
    world.read(100, 10, &get("/older"));
    for _ in 0..2 {
        world.write(101, older, get_name);
        world.read(101, older, "$-1\r\n");
    }
    world.write(100, 10, OK);
    world.settle();
    (0..SEEN_FIRST + 1).for_each(|n| two_commands(&mut world, &format!("name:{n}")));
    let trees = world.trees();
    assert!(trees.ends_with("  client GET  - [turn]\n  client GET  - [turn]\n"), "{trees}");
}

#[test]
fn each_of_many_on_a_unix_socket_is_joined_once_it_is_known_how_far_its_ends_are_apart() {
    let mut world = World::new();
    world.unix(1, 20, 30, Role::Client);
    world.unix(2, 30, 20, Role::Server);
    let set = |n: usize| format!("*2\r\n$3\r\nGET\r\n${}\r\n{}\r\n", n, "k".repeat(n));
    // Sent before the agent came to the server.
    world.write(100, 20, &set(9));
    world.read(100, 20, "$-1\r\n");
    for n in 1..6 {
        [n, n + 1].iter().for_each(|n| world.write(100, 20, &set(*n)));
        [n, n + 1].iter().for_each(|n| world.read(200, 30, &set(*n)));
        world.write(200, 30, "$-1\r\n$-1\r\n");
        world.read(100, 20, "$-1\r\n$-1\r\n");
        world.settle();
    }
    let trees = world.trees();
    let joined = "client GET  - [no_request]\n  server GET  - [join]\n";
    assert!(trees.ends_with(&joined.repeat(4)), "{trees}");
}
