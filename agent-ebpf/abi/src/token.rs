//! Tokens that are derived instead of drawn: the kernel side and the engine agree on them without talking.

/// Token of the request on a stream of a connection with many streams at once (`stream`: its number, `connection`: its id
/// in the records). It stands for that request alone, whichever reads its bytes came in.
///
/// It may be that of another by the chance that two numbers of 64 bits are the same.
pub const fn of_stream(connection: u64, stream: u32) -> u64 {
    /// Of [splitmix64](https://prng.di.unimi.it/splitmix64.c), as are the steps below: one number in, one out, each another.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = connection.wrapping_add((stream as u64 + 1).wrapping_mul(STEP));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_connections_have_tokens_of_their_own() {
        let mut tokens = [0; 4 * 512];
        let connections = [1, 2, 1 << 63 | 1, 1 << 48 | 1];
        for (i, token) in tokens.iter_mut().enumerate() {
            *token = of_stream(connections[i % 4], (i / 4) as u32);
        }
        tokens.sort_unstable();
        assert!(tokens.windows(2).all(|two| two[0] != two[1]) && tokens[0] > u64::from(u32::MAX));
    }
}
