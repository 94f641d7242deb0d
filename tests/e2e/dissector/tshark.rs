//! What tshark says of a capture.

use super::Dissector;
use anyhow::{Context, Result, ensure};
use autospan_core::protocol::Side;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// One message of one side, as far as the dissector knows what a message is.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) side: Side,
    pub(super) fields: Node,
}

impl Message {
    /// The first value of a field.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.fields.first(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.has(name)
    }
}

/// The messages of each connection in order, by the port of its client.
pub(super) fn read(file: &Path, dissector: &Dissector) -> Result<HashMap<u16, Vec<Message>>> {
    let frames = run(file, dissector)?;
    let mut connections = HashMap::<_, Vec<_>>::new();
    for frame in frames {
        let layers = frame.into_entry("_source").and_then(|source| source.into_entry("layers")).context("a frame")?;
        let tcp = layers.entry("tcp").context("TCP")?;
        let port = |name| -> Result<u16> { Ok(tcp.entry(name).and_then(Node::text).context("a port")?.parse()?) };
        let (source, destination) = (port("tcp.srcport")?, port("tcp.dstport")?);
        let (side, client) =
            if source == dissector.port { (Side::Response, destination) } else { (Side::Request, source) };
        let messages = connections.entry(client).or_default();
        if let Node::Entries(layers) = layers {
            let fields = layers.into_iter().filter(|(name, _)| name == dissector.layer).map(|(_, fields)| fields);
            messages.extend(fields.map(|fields| Message { side, fields }));
        }
    }
    Ok(connections)
}

fn run(file: &Path, dissector: &Dissector) -> Result<Vec<Node>> {
    let mut tshark = Command::new("tshark");
    // Nobody's own configuration, nor names of hosts.
    tshark.env("HOME", file.parent().context("a folder")?).args(["-n", "-r"]).arg(file);
    let decode = format!("tcp.port=={},{}", dissector.port, dissector.layer);
    tshark.args(["-d", &decode, "-T", "json", "-J", &format!("tcp {}", dissector.layer), "-Y", dissector.layer]);
    for preference in ["tcp.desegment_tcp_streams:TRUE"].iter().chain(dissector.preferences) {
        tshark.args(["-o", preference]);
    }
    let output = tshark.stdin(Stdio::null()).output().context("tshark")?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "tshark: {}\n{complaint}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("what tshark prints\n{complaint}"))
}

/// JSON in which a name may occur twice: fields of a message do.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Entries(Vec<(String, Node)>),
    Other,
}

impl Node {
    pub(super) fn entries(&self) -> &[(String, Self)] {
        if let Self::Entries(entries) = self { entries } else { &[] }
    }

    fn into_entry(self, name: &str) -> Option<Self> {
        let Self::Entries(entries) = self else { return None };
        entries.into_iter().find(|(of, _)| of == name).map(|(_, node)| node)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(of, _)| of == name).map(|(_, node)| node)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn has(&self, name: &str) -> bool {
        self.entries().iter().any(|(of, node)| of == name || node.has(name))
    }

    /// The first value of a field, however deep.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.entries().iter().find_map(|(of, node)| if of == name { node.text() } else { node.first(name) })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Entries(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }
}
