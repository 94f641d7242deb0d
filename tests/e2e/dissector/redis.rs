//! Redis: names and arguments of commands, replies, the word that starts an error.

use super::database;
use super::golden::Golden;
use super::tshark::{Message, Node};
use super::{Dissector, Exchanges};
use autospan_core::protocol::Side;
use autospan_core::sql::TextPolicy;
use std::collections::{HashMap, HashSet, VecDeque};

pub(super) const DISSECTOR: Dissector =
    Dissector { name: "redis", layer: "resp", port: 6379, preferences: &[], theirs, ours: database::ours };

const CONFIRMED: [&str; 6] = ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];
const MESSAGES: [&str; 3] = ["MESSAGE", "PMESSAGE", "SMESSAGE"];

fn theirs(golden: &Golden, messages: &[Message]) -> Exchanges {
    let of =
        |side| messages.iter().filter(move |message| message.side == side).flat_map(|message| values(&message.fields));
    let commands: Vec<_> = of(Side::Request).filter_map(command).collect();
    let expected = database::ours(golden).requests;
    // Without text, names are told.
    let is_off = golden.dialog.config.query_text == TextPolicy::Off;
    let requests = commands.iter().enumerate().map(|(i, command)| {
        let text = command.join(" ");
        let is_name = |expected: &str| is_off && text.to_ascii_uppercase().starts_with(expected);
        let expected = expected.get(i).filter(|expected| is_name(expected) || shows(expected, command));
        expected.cloned().unwrap_or(text)
    });
    Exchanges { requests: requests.collect(), responses: replies(&commands, of(Side::Response)) }
}

/// The values of a segment, each once: what goes on in the next segment comes again with that.
fn values(fields: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let whole = |node: &Node| {
        !node
            .entries()
            .iter()
            .any(|(name, node)| name == "_ws.expert" && node.entry("resp.reassembled_in_next_frame").is_some())
    };
    let values = fields.entries().iter().filter(|(name, _)| name != "_ws.expert");
    values.filter(move |(_, node)| whole(node)).map(|(name, node)| (name.as_str(), node))
}

/// Name and arguments, escaped. An inline command is no value: Wireshark sees a fragment in it.
fn command((name, node): (&str, &Node)) -> Option<Vec<String>> {
    let words = (name == "resp.array").then(|| node.entries().iter().filter_map(bulk).collect::<Vec<_>>())?;
    // Without a name, it is passed over.
    (!words.is_empty()).then_some(words)
}

fn bulk((name, node): &(String, Node)) -> Option<String> {
    let value = (name == "resp.bulk_string").then(|| node.entry("resp.bulk_string.value"))?;
    let digits = value.and_then(Node::text).unwrap_or_default().split(':').filter(|digits| !digits.is_empty());
    let bytes: Vec<_> = digits.filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect();
    Some(word(&String::from_utf8_lossy(&bytes)))
}

/// As redis-cli takes it, and then as an expectation escapes it.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !['"', '\'', '\\'].contains(&c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let quoted = |c: char| match c {
        '\n' | '\r' | '\t' | '"' | '\\' => c.escape_default().to_string(),
        c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
        c => c.to_string(),
    };
    database::escaped(&format!("\"{}\"", text.chars().map(quoted).collect::<String>()))
}

/// Whether the text is that of this command: `?` for a value, `...` for the rest.
fn shows(text: &str, command: &[String]) -> bool {
    let mut rest = text;
    for (i, argument) in command.iter().enumerate() {
        if i > 0 {
            match rest.strip_prefix(' ') {
                Some("...") => return true,
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        let is_word = |rest: &str, word: &str| {
            rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
                && rest.get(word.len()..).is_some_and(|behind| behind.is_empty() || behind.starts_with(' '))
        };
        rest = match () {
            () if is_word(rest, argument) => &rest[argument.len()..],
            () if i > 0 && is_word(rest, "?") => &rest[1..],
            () => return false,
        };
    }
    rest.is_empty()
}

/// One for each command: several confirmations are one, and messages of channels are none.
fn replies<'a>(commands: &[Vec<String>], values: impl Iterator<Item = (&'a str, &'a Node)>) -> Vec<String> {
    let mut left = confirmations(commands);
    let mut replies = Vec::new();
    let mut is_confirming = false;
    for (name, node) in values {
        let first = node.entries().iter().find_map(bulk).unwrap_or_default().to_ascii_uppercase();
        let is_about = |words: &[&str]| name == "resp.array" && words.contains(&&*first);
        if is_about(&MESSAGES) {
            continue;
        }
        if !is_confirming {
            replies.push(node.text().filter(|_| name == "resp.error").map_or_else(|| database::rows(0), error));
        }
        let confirmed = left.front_mut().filter(|left| is_about(&CONFIRMED) && **left > 1);
        is_confirming = confirmed.is_some();
        match confirmed {
            Some(left) => *left -= 1,
            None => drop(left.pop_front()),
        }
    }
    replies
}

/// By convention it starts with a word in upper case: <https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors>.
fn error(text: &str) -> String {
    let word = text.split(' ').next().filter(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()));
    database::error(word.unwrap_or("ERR"))
}

/// How many replies there are to each command: one for each channel.
fn confirmations(commands: &[Vec<String>]) -> VecDeque<usize> {
    let mut subscribed = HashMap::<_, HashSet<_>>::new();
    let of = |command: &Vec<String>| {
        let (name, channels) = command.split_first().map(|(name, channels)| (name.to_ascii_uppercase(), channels))?;
        let kind = CONFIRMED.contains(&&*name).then(|| name.replace("UN", ""))?;
        let subscribed = subscribed.entry(kind).or_default();
        match (name.contains("UN"), channels) {
            (true, []) => return Some(std::mem::take(subscribed).len()),
            (true, _) => subscribed.retain(|channel| !channels.contains(channel)),
            (false, _) => subscribed.extend(channels.iter().cloned()),
        }
        Some(channels.len())
    };
    commands.iter().map(of).map(|confirmations| confirmations.unwrap_or(1).max(1)).collect()
}
