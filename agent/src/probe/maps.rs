//! The executable files that a process maps, from `/proc/<pid>/maps`.

use super::libraries::FileId;
use crate::process::runtime::is_gevent;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of `/proc/<pid>/maps` that are read: 65,530 mappings, the kernel's default limit, with long paths.
const MAPS_BYTES_MAX: u64 = 16 << 20;
/// Files of one process that are looked at.
const FILES_MAX: usize = 4_096;

/// A file as `/proc/<pid>/maps` names it: device and inode number. Not always what `stat` says of the same file.
pub(super) type MapKey = (u64, u64);

/// An executable mapping of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) key: MapKey,
    /// `START-END` in hexadecimal, as in `/proc/<pid>/map_files`.
    range: String,
    /// Address, and what is there: the file from this offset on.
    pub(super) start: u64,
    pub(super) offset: u64,
    /// As the process sees it; with ` (deleted)` where that is so.
    path: PathBuf,
}

/// A file that was opened, and whether it is still what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) id: FileId,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Executable file mappings of a process, each file once. None where the process is gone.
pub(super) fn read(pid: u32) -> Vec<Mapping> {
    match File::open(format!("/proc/{pid}/maps")) {
        Ok(file) => parse(BufReader::new(file.take(MAPS_BYTES_MAX))),
        Err(_) => Vec::new(),
    }
}

fn parse(mut maps: impl BufRead) -> Vec<Mapping> {
    let (mut mappings, mut seen, mut line) = (Vec::new(), HashSet::new(), Vec::new());
    while mappings.len() < FILES_MAX && maps.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        mappings.extend(parse_line(line.trim_ascii_end()).filter(|mapping| seen.insert(mapping.key)));
        line.clear();
    }
    mappings
}

/// `7f0c2000-7f0c4000 r-xp 00001000 08:01 1234    /usr/lib/libssl.so.3`, see proc_pid_maps(5).
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut field = || std::str::from_utf8(fields.next()?).ok();
    let (range, flags, offset, device, inode) = (field()?, field()?, field()?, field()?, field()?);
    let path = fields.next()?.trim_ascii_start();
    let (major, minor) = device.split_once(':')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = range.split_once('-')?;
    let (start, end) = (number(start)?, number(end)?);
    let key = (number(major)? << 32 | number(minor)?, inode.parse().ok()?);
    let is_file = key.1 != 0 && path.starts_with(b"/");
    let offset = number(offset)?;
    (is_file && flags.as_bytes().get(2) == Some(&b'x')).then(|| Mapping {
        key,
        // Without the zeros that `maps` puts before the low addresses of executables that are not position-independent.
        range: format!("{start:x}-{end:x}"),
        start,
        offset,
        path: PathBuf::from(std::ffi::OsStr::from_bytes(path)),
    })
}

// === impl Mapping ===

impl Mapping {
    /// Is this the loader of musl, which is its C library too?
    pub(super) fn is_musl(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default().as_bytes();
        name.starts_with(b"ld-musl-") || name.starts_with(b"libc.musl-")
    }

    pub(super) fn is_gevent(&self) -> bool {
        is_gevent(&self.path)
    }

    /// A path to the mapped file, whatever is at its own path now.
    pub(super) fn find(&self, pid: u32) -> Option<(PathBuf, Stamp)> {
        let by_range = PathBuf::from(format!("/proc/{pid}/map_files/{}", self.range));
        if let Some(stamp) = Stamp::of(&by_range, None) {
            return Some((by_range, stamp));
        }
        // Those without CAP_CHECKPOINT_RESTORE see no map_files. The path may be another file's by now, or a link out of
        // the process's root.
        let by_path = PathBuf::from(format!("/proc/{pid}/root")).join(self.path.strip_prefix("/").ok()?);
        let stamp = Stamp::of(&by_path, Some(self.key))?;
        Some((by_path, stamp))
    }
}

// === impl Stamp ===

impl Stamp {
    /// Of a regular file; of this one, if it must be a certain one.
    fn of(path: &Path, key: Option<MapKey>) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
        let is_wanted = key.is_none_or(|key| key == map_key(&metadata));
        let is_overlay = is_wanted && statfs(path).is_ok_and(|fs| fs.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        is_wanted.then(|| Self::new(&metadata, is_overlay))
    }

    fn new(metadata: &Metadata, is_overlay: bool) -> Self {
        let mut stamp = Self {
            id: FileId { dev: metadata.dev(), inode: metadata.ino() },
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        if is_overlay {
            stamp.id.dev = stamp.fingerprint();
        }
        stamp
    }

    /// Is the open file the one that was found?
    pub(super) fn is_of(&self, file: &File) -> bool {
        let same = |metadata: Metadata| {
            let now = Self::new(&metadata, false);
            Self { id: self.id, ..now } == *self && now.id.inode == self.id.inode
        };
        file.metadata().is_ok_and(same)
    }

    /// Containers of one image share its files, but each mount of an overlay has a device number of its own. A probe
    /// belongs to the file below, whose inode number and times `stat` gives through every overlay: attached once for each
    /// container, it would be hit that many times.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.size, self.modified, self.changed).hash(&mut hasher);
        hasher.finish()
    }
}

/// What `/proc/<pid>/maps` says of a file, on most file systems.
fn map_key(metadata: &Metadata) -> MapKey {
    let device = metadata.dev();
    (u64::from(libc::major(device)) << 32 | u64::from(libc::minor(device)), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let text = "55d0-55d1 r--p 00000000 08:01 7                          /usr/bin/a\n\
                    55d1-55d2 r-xp 00001000 08:01 7                          /usr/bin/a\n\
                    55d2-55d3 r-xp 00002000 08:01 7                          /usr/bin/a\n\
                    7f00-7f01 r-xp 00000000 00:1f 18446744073709551615       /a b/lib ssl.so (deleted)\n\
                    7f01-7f02 rwxp 00000000 00:00 0\n\
                    7ffe-7fff r-xp 00000000 00:00 0                          [vdso]\n\
                    7f02-7f03 r-xp 00000000 zz:01 9                          /not/a/device\n\
                    ../..-7f3 r-xp 00000000 08:01 9                          /not/a/range\n\
                    00400000-00b1d000 r-xp 00000000 08:01 8                  /opt/node\n\
                    7f03-7f04 r-xp";
        let mappings = parse(text.as_bytes());
        let seen: Vec<_> = mappings.iter().map(|m| (m.key, m.range.as_str(), m.path.to_str())).collect();
        assert_eq!(
            seen,
            [
                ((8 << 32 | 1, 7), "55d1-55d2", Some("/usr/bin/a")),
                ((0x1f, u64::MAX), "7f00-7f01", Some("/a b/lib ssl.so (deleted)")),
                ((8 << 32 | 1, 8), "400000-b1d000", Some("/opt/node")),
            ]
        );
    }

    #[test]
    fn own_executable() {
        let own = std::env::current_exe().expect("own path");
        let mappings = read(std::process::id());
        let mapping = mappings.iter().find(|mapping| mapping.path == own).expect("it is mapped");
        let (path, stamp) = mapping.find(std::process::id()).expect("it is there");
        let metadata = fs::metadata(&own).expect("its metadata");
        assert_eq!(stamp.id.inode, metadata.ino());
        assert!(stamp.is_of(&File::open(path).expect("it can be opened")));
        assert!(!stamp.is_of(&File::open("/proc/self/maps").expect("another file")));
    }

    #[test]
    fn files_of_overlays_have_one_identity() {
        let metadata = fs::metadata(std::env::current_exe().expect("own path")).expect("its metadata");
        let stamp = Stamp::new(&metadata, true);
        assert_ne!(stamp.id.dev, metadata.dev());
        assert_eq!(stamp.id.inode, metadata.ino());
        let later = Stamp { changed: (0, 0), ..stamp };
        assert_ne!(later.fingerprint(), stamp.fingerprint());
    }
}
