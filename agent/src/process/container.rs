//! Which container and pod a process runs in, as its cgroup path tells.

/// Ids found in a cgroup path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits, or the name that `ctr` and others gave.
    pub id: Option<String>,
    /// A Kubernetes pod's UID in its usual form, with dashes.
    pub pod_uid: Option<String>,
}

impl Container {
    /// Reads `/proc/<pid>/cgroup`: lines of `hierarchy:controllers:path`, for cgroup v1, v2 and the hybrid of both.
    pub fn parse(cgroup: &str) -> Self {
        let paths = cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        paths.fold(Self::default(), |found, path| Self {
            id: found.id.or_else(|| container_id(path)),
            pod_uid: found.pod_uid.or_else(|| pod_uid(path)),
        })
    }
}

/// The last path segment that is a container's: `<64hex>`, `docker-<64hex>.scope`, `cri-containerd-<64hex>.scope`,
/// `crio-<64hex>.scope`, `libpod-<64hex>`, and `ctr`'s `/default/<name>`.
fn container_id(path: &str) -> Option<String> {
    let hashed = path.rsplit('/').find_map(|segment| {
        let segment = segment.strip_suffix(".scope").unwrap_or(segment);
        let id = segment.rsplit(['-', ':']).next()?;
        is_hash(id).then(|| id.to_owned())
    });
    hashed.or_else(|| containerd_name(path))
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// containerd's own namespaces are paths of exactly two segments that no init system makes.
fn containerd_name(path: &str) -> Option<String> {
    let name = ["/default/", "/k8s.io/"].iter().find_map(|namespace| path.strip_prefix(namespace))?;
    (!name.is_empty() && !name.contains('/') && name.len() <= 128).then(|| name.to_owned())
}

/// `/kubepods/burstable/pod<uid>/…`, or systemd's `kubepods-burstable-pod<uid with underscores>.slice`.
fn pod_uid(path: &str) -> Option<String> {
    path.contains("kubepods").then_some(())?;
    path.split('/').find_map(|segment| {
        let segment = segment.strip_suffix(".slice").unwrap_or(segment);
        let uid = segment.rsplit_once("pod").map(|(_, uid)| uid.replace('_', "-"))?;
        is_uid(&uid).then_some(uid)
    })
}

/// A UUID, or the bare hash that static pods have.
fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(|b| b.is_ascii_hexdigit()).count();
    digits == 32 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const UID: &str = "0b6f1f1c-3f0c-4c38-8d3e-1d1b7c9a8f00";

    #[track_caller]
    fn check(cgroup: &str, id: Option<&str>, pod_uid: Option<&str>) {
        let expected = Container { id: id.map(str::to_owned), pod_uid: pod_uid.map(str::to_owned) };
        assert_eq!(Container::parse(cgroup), expected, "{cgroup}");
    }

    #[test]
    fn container_runtimes() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}/init.scope"),
            format!("/libpod_parent/libpod-{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/system.slice/containerd.service/kubepods:cri-containerd:{ID}"),
            format!("/crio-{ID}.scope"),
        ] {
            check(&format!("0::{path}\n"), Some(ID), None);
        }
        check("0::/default/web\n", Some("web"), None);
    }

    #[test]
    fn pods() {
        check(&format!("0::/kubepods/besteffort/pod{UID}/{ID}"), Some(ID), Some(UID));
        let slice = format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
        check(
            &format!("0::/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope"),
            Some(ID),
            Some(UID),
        );
        check("0::/kubepods/podnot-a-uid/x", None, None);
    }

    #[test]
    fn hybrid_hierarchies_and_plain_services() {
        check(&format!("12:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n"), Some(ID), None);
        for cgroup in ["0::/\n", "0::/system.slice/nginx.service\n", "0::/user.slice/user-1000.slice\n", "", ":::\n0"] {
            check(cgroup, None, None);
        }
    }
}
