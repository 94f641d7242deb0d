//! Small ELF files for tests and for the seeds of fuzzing.

/// Where the bytes of the file begin in memory, code and constants.
pub const CODE_BASE: u64 = 0x40_0000;
pub const CONSTANTS_BASE: u64 = 0x80_0000;
/// From the start of the code segment, and of the file.
pub const CODE_OFFSET: u64 = 0x40 + 2 * 0x38;

pub const X86_64: u16 = 62;
pub const AARCH64: u16 = 183;

/// A file with a code segment, whose first bytes are the file's headers, and a data segment.
#[derive(Clone, Debug)]
pub struct Image {
    pub machine: u16,
    pub code: Vec<u8>,
    pub constants: Vec<u8>,
    /// Of `.dynsym` and `.symtab`. An offset of `None` is an import; others count from the start of the code.
    pub exports: Vec<(String, Option<u64>, u64)>,
    pub symbols: Vec<(String, Option<u64>, u64)>,
    /// Further sections, which are in the data segment.
    pub sections: Vec<(&'static str, Vec<u8>)>,
}

impl Default for Image {
    fn default() -> Self {
        let (exports, symbols) = (Vec::new(), Vec::new());
        Self { machine: X86_64, code: vec![0xc3; 64], constants: Vec::new(), exports, symbols, sections: Vec::new() }
    }
}

/// A section before it has a place: name, `SHT_*`, section it refers to, bytes.
struct Part<'a>(&'a str, u32, u32, Vec<u8>);

impl Image {
    pub fn build(&self) -> Vec<u8> {
        let (dynsym, dynstr) = symbol_table(&self.exports);
        let (symtab, strtab) = symbol_table(&self.symbols);
        let mut parts = vec![
            Part("", 0, 0, Vec::new()),
            Part(".text", 1, 0, self.code.clone()),
            Part(".dynsym", 11, 3, dynsym),
            Part(".dynstr", 3, 0, dynstr),
            Part(".symtab", 2, 5, symtab),
            Part(".strtab", 3, 0, strtab),
            Part(".rodata", 1, 0, self.constants.clone()),
        ];
        parts.extend(self.sections.iter().map(|(name, bytes)| Part(name, 1, 0, bytes.clone())));
        let mut names = Vec::new();
        parts.push(Part(".shstrtab", 3, 0, Vec::new()));
        for part in &parts {
            names.extend(part.0.bytes().chain([0]));
        }
        parts.last_mut().expect("not empty").3 = names;
        self.lay_out(&parts)
    }

    fn lay_out(&self, parts: &[Part<'_>]) -> Vec<u8> {
        let (mut body, mut table, mut name) = (Vec::new(), Vec::new(), 0_u32);
        for Part(text, kind, link, bytes) in parts {
            let offset = CODE_OFFSET + body.len() as u64;
            let base = if *text == ".text" { CODE_BASE } else { CONSTANTS_BASE };
            table.extend([name, *kind].map(u32::to_le_bytes).concat());
            table.extend([2, base + offset, offset, bytes.len() as u64].map(u64::to_le_bytes).concat());
            table.extend([*link, 0].map(u32::to_le_bytes).concat());
            table.extend([8, if matches!(kind, 2 | 11) { 24 } else { 0 }].map(u64::to_le_bytes).concat());
            name += text.len() as u32 + 1;
            body.extend(bytes);
        }
        let end = CODE_OFFSET + body.len() as u64;
        let code_end = CODE_OFFSET + self.code.len() as u64;
        let header = self.header(end, parts.len() as u16);
        let segments =
            [segment(5, CODE_BASE, 0, code_end), segment(4, CONSTANTS_BASE + code_end, code_end, end - code_end)];
        [header, segments.concat(), body, table].concat()
    }

    fn header(&self, sections_at: u64, sections: u16) -> Vec<u8> {
        let ident = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let kind = [3, self.machine].map(u16::to_le_bytes).concat();
        let places = [CODE_BASE + CODE_OFFSET, 0x40, sections_at].map(u64::to_le_bytes).concat();
        let sizes = [0x40, 0x38, 2, 0x40, sections, sections - 1].map(u16::to_le_bytes).concat();
        [ident, kind, 1_u32.to_le_bytes().to_vec(), places, 0_u32.to_le_bytes().to_vec(), sizes].concat()
    }
}

fn segment(flags: u32, address: u64, offset: u64, size: u64) -> Vec<u8> {
    let words = [offset, address, address, size, size, 0x1000].map(u64::to_le_bytes).concat();
    [[1, flags].map(u32::to_le_bytes).concat(), words].concat()
}

/// Symbols and their strings.
fn symbol_table(symbols: &[(String, Option<u64>, u64)]) -> (Vec<u8>, Vec<u8>) {
    let (mut table, mut strings) = (vec![0; 24], vec![0]);
    for (name, offset, size) in symbols {
        const GLOBAL_FUNCTION: u8 = 0x12;
        table.extend((strings.len() as u32).to_le_bytes());
        table.extend([GLOBAL_FUNCTION, 0, u8::from(offset.is_some()), 0]);
        table.extend(
            [offset.map_or(0, |offset| CODE_BASE + CODE_OFFSET + offset), *size].map(u64::to_le_bytes).concat(),
        );
        strings.extend(name.bytes().chain([0]));
    }
    (table, strings)
}

/// `.go.buildinfo`, see the reader.
pub fn go_build_information(version: &str) -> Vec<u8> {
    let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
    section.resize(32, 0);
    section.push(version.len() as u8);
    section.extend(version.bytes());
    section
}

/// `.gopclntab` with two functions of equal size, 16 bytes after the start of the code; `text` as in the header.
pub fn go_functab(text: u64, names: [&str; 2], size: usize) -> Vec<u8> {
    const HEADER: u64 = 72;
    let strings = format!("\0{}\0{}\0", names[0], names[1]);
    let places = [1, 2 + names[0].len() as u32];
    let entries = HEADER + strings.len() as u64;
    let mut table = vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    table.extend([2, 0, text, HEADER, entries, entries, entries, entries].map(u64::to_le_bytes).concat());
    table.extend(strings.bytes());
    let [first, second, end] = [16, 16 + size as u32, 16 + 2 * size as u32];
    let words = [first, 20, second, 28, end, first, places[0], second, places[1]];
    table.extend(words.map(u32::to_le_bytes).concat());
    table
}

/// OpenSSL without its symbols.
pub fn openssl_without_symbols(version: &str, names: [&str; 3]) -> Image {
    let version = format!("{version} 1 Jul 2025");
    functions_with_names(&["\0For OpenSSL 3.0.0 and newer", &version, "../ssl/ssl_lib.c"], names, Image::default())
}

/// Three functions of 16 bytes that refer to names, and one that calls them; a table of where they begin. `others`: what else is
/// among the constants.
pub fn functions_with_names(others: &[&str], names: [&str; 3], base: Image) -> Image {
    let constants = others.iter().copied().chain(names).chain([""]).collect::<Vec<_>>();
    let constants = constants.join("\0").into_bytes();
    let sections = vec![(".eh_frame_hdr", vec![0xee; 12 + 8 * 4])];
    let mut image = Image { constants, sections, ..base };
    let file = image.build();
    let address = |bytes: &[u8]| {
        let place = file.windows(bytes.len()).position(|window| window == bytes).expect("it is in the file");
        CONSTANTS_BASE + place as u64
    };
    let start = CODE_BASE + CODE_OFFSET;
    let relative = |from: u64, to: u64| (to.wrapping_sub(from) as i32).to_le_bytes();
    let table = address(&[0xee; 12 + 8 * 4]);
    let mut entries = vec![1, 0x1b, 3, 0x3b, 0, 0, 0, 0, 4, 0, 0, 0];
    for (i, name) in names.iter().enumerate() {
        let at = 16 * i;
        image.code[at..at + 3].copy_from_slice(&[0x48, 0x8d, 0x15]);
        let name = address(format!("\0{name}\0").as_bytes()) + 1;
        image.code[at + 3..at + 7].copy_from_slice(&relative(start + at as u64 + 7, name));
        let call = 48 + 5 * i;
        image.code[call] = 0xe8;
        image.code[call + 1..call + 5].copy_from_slice(&relative(call as u64 + 5, at as u64));
    }
    for function in [0, 16, 32, 48] {
        entries.extend([relative(table, start + function), [0; 4]].concat());
    }
    image.sections[0].1 = entries;
    image
}
