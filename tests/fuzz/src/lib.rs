//! What the fuzz targets share: a byte script for what moves through connections, and the drivers of the tests.

#[path = "../../../agent/core/tests/ordered/dialog.rs"]
pub mod dialog;
#[path = "../../../agent/core/tests/ordered/driver.rs"]
pub mod driver;
// The shell's dependencies are too many to be built for fuzzing; these modules need few of them.
#[path = "../../../agent/src/elf/mod.rs"]
pub mod elf;
pub mod http2;
#[path = "../../../agent/src/replay/pcap/mod.rs"]
pub mod pcap;
pub mod probe;
pub mod records;
pub mod script;
#[path = "../../../agent/core/tests/ordered/transcript.rs"]
pub mod transcript;
