use super::*;

const STRUCT: u32 = kind::STRUCT as u32;
const UNION: u32 = kind::UNION as u32;

/// Assembles BTF: strings are collected, types appended in the order of their ids.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn int(&mut self) -> &mut Self {
        let name = self.string("int");
        self.words(&[name, 1 << 24, 4, 32]);
        self
    }

    /// Members as (name, type, raw offset).
    fn composite(&mut self, kind: u32, name: &str, bit_fields: bool, members: &[(&str, u32, u32)]) -> &mut Self {
        let name = self.string(name);
        self.words(&[name, kind << 24 | u32::from(bit_fields) << 31 | members.len() as u32, 64]);
        for (name, target, offset) in members {
            let name = self.string(name);
            self.words(&[name, *target, *offset]);
        }
        self
    }

    fn through(&mut self, kind: u8, target: u32) -> &mut Self {
        self.words(&[0, u32::from(kind) << 24, target]);
        self
    }

    fn finish(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// `struct inner { int a; union { int b; int c; }; }; struct outer { int x; const inner y; int bits: 3; }`
fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.int(); // 1
    writer.composite(UNION, "", false, &[("b", 1, 0), ("c", 1, 0)]); // 2
    writer.composite(STRUCT, "inner", false, &[("a", 1, 0), ("", 2, 32)]); // 3
    writer.through(kind::CONST, 3); // 4
    writer.composite(STRUCT, "outer", true, &[("x", 1, 0), ("y", 4, 64), ("bits", 1, 3 << 24 | 128)]); // 5
    writer.finish()
}

#[test]
fn finds_members_through_anonymous_and_qualified_types() {
    let btf = Btf::parse(sample()).unwrap();
    assert_eq!(btf.offset("inner", "a"), Ok(0));
    assert_eq!(btf.offset("inner", "c"), Ok(4));
    assert_eq!(btf.offset("outer", "y"), Ok(8));
    assert_eq!(btf.offset("outer", "y.c"), Ok(12));
}

#[test]
fn says_what_is_missing() {
    let btf = Btf::parse(sample()).unwrap();
    assert_eq!(btf.offset("nobody", "a"), Err(BtfError::NoStruct("nobody".into())));
    assert_eq!(btf.offset("inner", "z"), Err(BtfError::NoMember("inner".into(), "z".into())));
    assert_eq!(btf.offset("inner", "a.b"), Err(BtfError::NoMember("inner".into(), "a.b".into())));
    assert_eq!(btf.offset("outer", "bits"), Err(BtfError::BitField("outer".into(), "bits".into())));
}

#[test]
fn of_two_structs_with_one_name_takes_the_one_with_the_member() {
    let mut writer = Writer::new();
    writer.int();
    writer.composite(STRUCT, "twin", false, &[("a", 1, 0)]);
    writer.composite(STRUCT, "twin", false, &[("pad", 1, 0), ("b", 1, 32)]);
    assert_eq!(Btf::parse(writer.finish()).unwrap().offset("twin", "b"), Ok(4));
}

#[test]
fn truncated_or_damaged_bytes_are_an_error_or_another_answer_never_a_panic() {
    let whole = sample();
    for len in 0..whole.len() {
        assert!(Btf::parse(whole[..len].to_vec()).is_err(), "{len} bytes of {} were enough", whole.len());
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            if let Ok(btf) = Btf::parse(damaged) {
                let _ = btf.offset("outer", "y.c");
            }
        }
    }
}

#[test]
fn types_that_lead_in_circles_end() {
    let mut writer = Writer::new();
    writer.through(kind::CONST, 2).through(kind::CONST, 1);
    writer.composite(STRUCT, "loop", false, &[("y", 1, 0), ("", 3, 0)]);
    let btf = Btf::parse(writer.finish()).unwrap();
    assert!(btf.offset("loop", "y.z").is_err());
    assert!(btf.offset("loop", "z").is_err());
}

#[test]
fn reads_the_running_kernel() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        println!("SKIP: this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(bytes).unwrap();
    // Fixed by assembly code and by the order that the kernel documents.
    assert_eq!(btf.offset("list_head", "prev"), Ok(8));
    assert_eq!(btf.offset("sock", "__sk_common"), Ok(0));
    let (dport, num) = (btf.offset("sock", "__sk_common.skc_dport"), btf.offset("sock", "__sk_common.skc_num"));
    assert_eq!(num.unwrap(), dport.unwrap() + 2);
}

/// Two anonymous members of the type before, over and over: as many ways to the innermost as fit into no lifetime.
#[test]
fn structs_that_hold_each_other_many_times_over() {
    let mut writer = Writer::new();
    writer.int();
    for id in 1..40 {
        writer.composite(STRUCT, if id == 39 { "outer" } else { "" }, false, &[("", id, 0); 8]);
    }
    let btf = Btf::parse(writer.finish()).expect("valid");
    assert!(matches!(btf.offset("outer", "nothing"), Err(BtfError::Malformed(_) | BtfError::NoMember(..))));
}
