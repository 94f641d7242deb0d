//! The kernel programs as bytes: the object inside this binary, or a file in its place.

use std::path::{Path, PathBuf};

use autospan_abi::ABI_VERSION;
use object::{Object, ObjectSection, ObjectSymbol};
use sha2::{Digest, Sha256};

use super::KernelError;

#[cfg(target_arch = "x86_64")]
macro_rules! committed {
    ($suffix:literal) => {
        concat!("../../bpf/autospan-x86_64.", $suffix)
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! committed {
    ($suffix:literal) => {
        concat!("../../bpf/autospan-aarch64.", $suffix)
    };
}

/// Aligned, since it is parsed in place.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!(committed!("bpf.o"));
static EMBEDDED_SHA256: &str = include_str!(committed!("bpf.o.sha256"));

/// Names an object to load instead of the embedded one: tests of a fresh build.
const OBJECT_VARIABLE: &str = "AUTOSPAN_BPF_OBJECT";

/// The object to load.
///
/// # Errors
/// The file cannot be read, the bytes are damaged, or they speak another ABI than this agent.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<u8>, KernelError> {
    let from_environment = || std::env::var_os(OBJECT_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let bytes = match path.map(Path::to_path_buf).or_else(from_environment) {
        Some(path) => std::fs::read(&path).map_err(|source| KernelError::ObjectFile { path, source })?,
        None => embedded()?,
    };
    check_abi(&bytes)?;
    Ok(bytes)
}

fn embedded() -> Result<Vec<u8>, KernelError> {
    let sha256: String = Sha256::digest(EMBEDDED).iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 == EMBEDDED_SHA256.trim() {
        Ok(EMBEDDED.to_vec())
    } else {
        Err(KernelError::Object(format!("its sha256 is {sha256}, not {}", EMBEDDED_SHA256.trim())))
    }
}

fn check_abi(bytes: &[u8]) -> Result<(), KernelError> {
    let version = abi_version(bytes).ok_or_else(|| KernelError::Object("it does not say its ABI version".into()))?;
    if version == ABI_VERSION {
        Ok(())
    } else {
        Err(KernelError::Object(format!("it speaks ABI version {version}, this agent {ABI_VERSION}")))
    }
}

/// Value of the symbol `AUTOSPAN_ABI`.
fn abi_version(bytes: &[u8]) -> Option<u32> {
    let file = object::File::parse(bytes).ok()?;
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok("AUTOSPAN_ABI"))?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let start = usize::try_from(symbol.address().checked_sub(section.address())?).ok()?;
    let value = section.data().ok()?.get(start..start.checked_add(4)?)?;
    Some(u32::from_le_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_object_is_whole_and_speaks_our_abi() {
        check_abi(&embedded().unwrap()).unwrap();
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert!(check_abi(b"").is_err());
        assert!(check_abi(&[0x7f; 64]).is_err());
        assert!(check_abi(&EMBEDDED[..EMBEDDED.len() / 2]).is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Some(Path::new("/nonexistent/autospan.o"))).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/autospan.o"), "{error}");
    }
}
