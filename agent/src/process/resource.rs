//! From a process to the OTLP resource of its spans.
//! <https://opentelemetry.io/docs/specs/semconv/resource/>

use super::runtime::Runtime;
use super::snapshot::Snapshot;
use super::{Resource, ResourceValue};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes of an attribute's value.
const VALUE_BYTES_MAX: usize = 1_024;

/// The machine, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    /// `/etc/machine-id`; empty where there is none.
    pub id: String,
}

impl Host {
    pub fn read() -> Self {
        let line = |path| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        Self { name: line("/proc/sys/kernel/hostname"), id: line("/etc/machine-id") }
    }
}

/// Describes a service by its root process. What the target's own `OTEL_RESOURCE_ATTRIBUTES` say wins over what was
/// found. Command lines are left out: they hold credentials.
pub fn describe(service_name: &str, process: &Snapshot, runtime: &Runtime, host: &Host) -> Resource {
    let mut found = found(process, runtime, host);
    let given = process.environ.attributes.iter().filter(|(key, _)| key != "service.name");
    found.extend(given.map(|(key, value)| (key.clone(), ResourceValue::String(value.clone()))));
    found.insert("service.name".to_owned(), ResourceValue::String(service_name.to_owned()));
    Resource { service_name: service_name.to_owned(), attributes: found.into_iter().collect() }
}

fn found(process: &Snapshot, runtime: &Runtime, host: &Host) -> BTreeMap<String, ResourceValue> {
    let container = &process.container;
    let strings = [
        ("service.instance.id", instance_id(host, process)),
        ("process.executable.name", process.executable_name().to_owned()),
        ("process.executable.path", process.executable.to_string_lossy().into_owned()),
        ("process.runtime.name", runtime.language.runtime_name().unwrap_or_default().to_owned()),
        ("process.runtime.version", runtime.version.clone().unwrap_or_default()),
        ("host.name", host.name.clone()),
        ("host.id", host.id.clone()),
        ("os.type", "linux".to_owned()),
        ("container.id", container.id.clone().unwrap_or_default()),
        ("k8s.pod.uid", container.pod_uid.clone().unwrap_or_default()),
        ("telemetry.distro.name", env!("CARGO_PKG_NAME").to_owned()),
        ("telemetry.distro.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let present = strings.into_iter().filter(|(_, value)| !value.is_empty());
    let mut attributes: BTreeMap<_, _> =
        present.map(|(key, value)| (key.to_owned(), ResourceValue::String(cut(value)))).collect();
    attributes.insert("process.pid".to_owned(), ResourceValue::Int(i64::from(process.pid)));
    attributes
}

fn cut(mut value: String) -> String {
    if value.len() > VALUE_BYTES_MAX {
        let end = (0..=VALUE_BYTES_MAX).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
        value.truncate(end);
    }
    value
}

/// A UUID (version 8) of host, boot-relative start and pid: the same for every worker of a service and across restarts
/// of the agent.
fn instance_id(host: &Host, process: &Snapshot) -> String {
    let mut hash = Sha256::new();
    let container = process.container.id.as_deref().unwrap_or_default();
    for part in [host.id.as_str(), &host.name, container] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(process.pid.to_le_bytes());
    hash.update(process.start_ticks.to_le_bytes());
    let digest = hash.finalize();
    uuid(digest.first_chunk().copied().unwrap_or_default())
}

/// Text of a version 8 UUID (RFC 9562 section 5.8).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::super::runtime::Language;
    use super::*;

    fn host() -> Host {
        Host { name: "web-1".to_owned(), id: "abc".to_owned() }
    }

    fn own() -> Snapshot {
        Snapshot::read(std::process::id()).expect("this process is there")
    }

    fn value<'r>(resource: &'r Resource, key: &str) -> Option<&'r ResourceValue> {
        resource.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    #[test]
    fn attributes_are_sorted_and_say_who_it_is() {
        let runtime = Runtime { language: Language::CPython, version: Some("3.11".to_owned()), ..Runtime::default() };
        let resource = describe("orders", &own(), &runtime, &host());
        assert!(resource.attributes.is_sorted());
        let string = |text: &str| ResourceValue::String(text.to_owned());
        assert_eq!(value(&resource, "service.name"), Some(&string("orders")));
        assert_eq!(value(&resource, "process.pid"), Some(&ResourceValue::Int(i64::from(std::process::id()))));
        assert_eq!(value(&resource, "process.runtime.name"), Some(&string("cpython")));
        assert_eq!(value(&resource, "host.name"), Some(&string("web-1")));
        assert_eq!(value(&resource, "process.command_args"), None);
    }

    #[test]
    fn the_targets_own_attributes_win() {
        let mut process = own();
        process.environ.attributes =
            vec![("host.name".into(), "other".into()), ("service.name".into(), "no".into()), ("x".into(), "y".into())];
        let resource = describe("orders", &process, &Runtime::default(), &host());
        assert_eq!(value(&resource, "host.name"), Some(&ResourceValue::String("other".into())));
        assert_eq!(value(&resource, "x"), Some(&ResourceValue::String("y".into())));
        assert_eq!(resource.service_name, "orders");
        assert_eq!(value(&resource, "service.name"), Some(&ResourceValue::String("orders".into())));
    }

    #[test]
    fn instance_ids_are_stable_uuids() {
        let id = instance_id(&host(), &own());
        assert_eq!(id, instance_id(&host(), &own()));
        assert_eq!((id.len(), &id[14..15]), (36, "8"));
        assert_ne!(id, instance_id(&Host::default(), &own()));
    }
}
