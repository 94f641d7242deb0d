//! Dialogs and their expectations, as files have them.

#[path = "../../../agent/core/tests/ordered/dialog.rs"]
#[expect(dead_code, unreachable_pub, reason = "of a test of the parsers, which also cuts dialogs into pieces")]
mod dialog;

use anyhow::{Context, Result};
use autospan_core::protocol::Side;
pub(super) use dialog::{Dialog, Turn};
use rig::paths;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct Golden {
    pub(super) name: String,
    pub(super) dialog: Dialog,
    pub(super) excuse: Option<Excuse>,
    expectation: String,
}

/// Why Wireshark cannot judge a dialog.
pub(super) struct Excuse {
    /// What dialogs have in common.
    pub(super) reason: String,
    /// It can judge the other one.
    pub(super) of: Option<Side>,
    /// In the dialog. Gaps excuse themselves.
    pub(super) is_written: bool,
}

impl Excuse {
    /// `# dissector: REASON`, `# dissector: REASON: more about it`, or `# dissector of requests: REASON`.
    fn read(line: &str) -> Option<Self> {
        let (of, reason) = line.strip_prefix("# dissector")?.split_once(": ")?;
        let of = match of {
            "" => None,
            " of requests" => Some(Side::Request),
            " of responses" => Some(Side::Response),
            _ => return None,
        };
        Some(Self { reason: reason.split(':').next()?.to_owned(), of, is_written: true })
    }

    /// Who knows what a gap hides?
    fn of_gaps(dialog: &Dialog) -> Option<Self> {
        let has_gaps = dialog.turns.iter().any(|turn| matches!(turn, Turn::Gap { .. }));
        has_gaps.then(|| Self { reason: "with gaps".to_owned(), of: None, is_written: false })
    }
}

/// The folders of tests/golden with a probe for parsers whose responses come in order.
pub(super) fn protocols() -> Result<Vec<String>> {
    let folders = entries(&folder())?.into_iter().filter(|folder| folder.join("recovery.probe").exists());
    folders.map(|folder| name(&folder)).collect()
}

pub(super) fn of(protocol: &str) -> Result<Vec<Golden>> {
    let files = entries(&folder().join(protocol))?;
    let dialogs = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "dialog"));
    dialogs.map(|file| Golden::read(file)).collect()
}

fn folder() -> PathBuf {
    paths::repository().join("tests/golden")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Of a file, without its extension.
fn name(path: &Path) -> Result<String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    Ok(stem.with_context(|| path.display().to_string())?.to_owned())
}

impl Golden {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let expectation = path.with_extension("expect");
        let expectation = fs::read_to_string(&expectation).with_context(|| expectation.display().to_string())?;
        let dialog = Dialog::parse(&text);
        let excuse = text.lines().find_map(Excuse::read).or_else(|| Excuse::of_gaps(&dialog));
        Ok(Self { name: name(path)?, dialog, excuse, expectation })
    }

    /// Lines of the expectation about what one side (`>` or `<`) sent.
    pub(super) fn expected(&self, mark: char) -> impl Iterator<Item = &str> {
        self.expectation.lines().filter_map(move |line| line.strip_prefix(mark)?.strip_prefix(' '))
    }
}
