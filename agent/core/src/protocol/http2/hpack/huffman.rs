//! The Huffman code of RFC 7541 appendix B. It is canonical: the lengths say it all.

use super::Fault;
use alloc::vec::Vec;

/// 256 bytes and the end of the string.
const SYMBOLS: usize = 257;
const EOS: u16 = 256;
const BITS_MAX: usize = 30;

/// Bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Codes of one length are consecutive numbers.
#[derive(Clone, Copy)]
struct Length {
    /// One past its last code, with the code's first bit as the highest of 32; 0 where there is no such code.
    limit: u64,
    /// Its first code.
    first: u32,
    /// Place of its first symbol in [`SORTED`].
    place: u16,
}

/// All symbols by length and value.
const SORTED: [u16; SYMBOLS] = sorted();
const BY_LENGTH: [Length; BITS_MAX + 1] = by_length();

const fn sorted() -> [u16; SYMBOLS] {
    let (mut out, mut place, mut bits) = ([0; SYMBOLS], 0, 0);
    while bits <= BITS_MAX {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == bits {
                out[place] = symbol as u16;
                place += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    out
}

const fn by_length() -> [Length; BITS_MAX + 1] {
    let mut out = [Length { limit: 0, first: 0, place: 0 }; BITS_MAX + 1];
    let (mut code, mut place, mut bits) = (0u32, 0usize, 1);
    while bits <= BITS_MAX {
        code <<= 1;
        let first = code;
        let start = place;
        while place < SYMBOLS && LENGTHS[SORTED[place] as usize] as usize == bits {
            code += 1;
            place += 1;
        }
        if place > start {
            out[bits] = Length { limit: (code as u64) << (32 - bits), first, place: start as u16 };
        }
        bits += 1;
    }
    // Every run of bits is a code or the start of one.
    assert!(code == 1 << BITS_MAX);
    out
}

/// The symbol at the top of 32 bits, and the bits of its code.
fn symbol(window: u32) -> (u16, usize) {
    let fits = |bits: &usize| u64::from(window) < BY_LENGTH[*bits].limit;
    let bits = (5..=BITS_MAX).find(fits).unwrap_or(BITS_MAX);
    let Length { first, place, .. } = BY_LENGTH[bits];
    let offset = (window >> (32 - bits)).wrapping_sub(first) as usize;
    (SORTED.get(usize::from(place) + offset).copied().unwrap_or(EOS), bits)
}

/// Appends the text that `bytes` stand for.
///
/// # Errors
/// `Huffman` for the code of the end, for padding of a byte or more, and for padding that is not all ones.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (mut buffer, mut left) = (0u64, 0usize);
    let mut bytes = bytes.iter();
    loop {
        while left <= 56
            && let Some(byte) = bytes.next()
        {
            buffer |= u64::from(*byte) << (56 - left);
            left += 8;
        }
        // Behind the end, ones: a code that is cut off looks like padding, or has too many bits.
        let window = (buffer >> 32) as u32 | u32::MAX.checked_shr(left as u32).unwrap_or(0);
        let (symbol, bits) = symbol(window);
        if bits > left {
            return if left < 8 && window == u32::MAX { Ok(()) } else { Err(Fault::Huffman) };
        }
        if symbol == EOS {
            return Err(Fault::Huffman);
        }
        out.push(symbol as u8);
        buffer <<= bits;
        left -= bits;
    }
}
