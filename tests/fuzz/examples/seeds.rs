//! `cargo run --example seeds -- CORPUS`: seeds for every target, from the goldens.

use autospan_core::evlog::{Entry, write_header};
use autospan_fuzz::dialog::Dialog;
use autospan_fuzz::records::{Maker, script_of};
use autospan_fuzz::script;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let corpus = PathBuf::from(env::args_os().nth(1).expect("usage: seeds CORPUS"));
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/http1");
    for entry in fs::read_dir(goldens)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dialog") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            from_dialog(&corpus, &name, &Dialog::parse(&fs::read_to_string(&path)?))?;
        }
    }
    trace_contexts(&corpus)
}

fn from_dialog(corpus: &Path, name: &str, dialog: &Dialog) -> io::Result<()> {
    let script = [&[17][..], &script::encode(dialog)].concat();
    write(corpus, "http1", name, &script)?;
    let script = script_of(dialog);
    write(corpus, "engine", name, &script)?;
    let (mut evlog, mut records) = (Vec::new(), Vec::new());
    write_header(&mut evlog);
    Maker::default().play(&script, |entry| {
        entry.write(&mut evlog);
        if let Entry::Record(record) = entry {
            records.push(record.to_vec());
        }
    });
    write(corpus, "evlog", name, &evlog)?;
    for (i, record) in records.iter().take(4).enumerate() {
        write(corpus, "event", &format!("{name}-{i}"), record)?;
    }
    Ok(())
}

fn trace_contexts(corpus: &Path) -> io::Result<()> {
    let w3c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\0congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";
    let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like";
    let b3 = "\0\x0080f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";
    let multi = "\0\0\0463ac35c9f6413ad\0a2fb4a1d1a96d312";
    let jaeger = "\0\0\0\0\x003f5a:1b:0:1";
    for (name, text) in [("w3c", w3c), ("later", later), ("b3", b3), ("multi", multi), ("jaeger", jaeger)] {
        write(corpus, "trace_context", name, text.as_bytes())?;
    }
    Ok(())
}

fn write(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}
