//! The goldens: `tests/golden/<protocol>/*.dialog`, each with what must come out of it.

use crate::dialog::Dialog;
use autospan_core::protocol::{Definition, PROTOCOLS};
use std::fs;
use std::path::{Path, PathBuf};

pub struct Golden {
    pub protocol: &'static Definition,
    pub path: PathBuf,
    pub dialog: Dialog,
}

impl Golden {
    /// Of the file, without its folder.
    pub fn name(&self) -> &str {
        self.path.file_stem().and_then(|stem| stem.to_str()).expect("a file name")
    }
}

/// Those of all protocols.
pub fn all() -> Vec<Golden> {
    PROTOCOLS.iter().flat_map(|protocol| of(protocol)).collect()
}

/// Those of one protocol, by name.
pub fn of(protocol: &'static Definition) -> Vec<Golden> {
    let files = fs::read_dir(folder(protocol)).expect("the golden folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "dialog")).collect();
    paths.sort();
    let read = |path: PathBuf| Golden { protocol, dialog: read(&path), path };
    paths.into_iter().map(read).collect()
}

/// An exchange that must be recognised whatever was lost before it: `recovery.probe`.
pub fn recovery(protocol: &'static Definition) -> Dialog {
    read(&folder(protocol).join("recovery.probe"))
}

fn folder(protocol: &Definition) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(protocol.name)
}

fn read(path: &Path) -> Dialog {
    Dialog::parse(&fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}
