//! Processes: which to trace, what they are called, what runs them.

mod container;
pub mod discovery;
mod environ;
pub mod naming;
pub mod resource;
pub mod runtime;
pub mod selector;
mod snapshot;
pub mod sockets;
pub mod table;

pub use discovery::Discovery;
pub use selector::Selector;
pub use snapshot::Snapshot;
pub use table::{Identity, Processes};

/// What an OTLP resource says: the service and its process. Shared by every span of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub service_name: String,
    /// All attributes, `service.name` included, sorted by key. Keys are semantic-convention names.
    pub attributes: Vec<(String, ResourceValue)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceValue {
    String(String),
    Int(i64),
    Strings(Vec<String>),
}

impl Resource {
    /// A resource that says no more than a name: for recordings, and for processes that were gone before they could be
    /// looked at.
    pub fn named(service_name: &str) -> Self {
        let attributes = vec![("service.name".to_owned(), ResourceValue::String(service_name.to_owned()))];
        Self { service_name: service_name.to_owned(), attributes }
    }
}
