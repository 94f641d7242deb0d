//! Processes: which to trace, what they are called, what runs them.

/// What an OTLP resource says: the service and its process. Shared by every span of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub service_name: String,
    /// All attributes, `service.name` included, sorted by key. Keys are semantic-convention names.
    pub attributes: Vec<(String, ResourceValue)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceValue {
    String(String),
    Int(i64),
    Strings(Vec<String>),
}
