//! Searches long texts for bytes: in whole chunks without branches, so that the compiler can check
//! many bytes at once.

/// Returns the position of the first byte of this kind, or the length if there is none.
pub(crate) fn first(bytes: &[u8], is_kind: impl Fn(u8) -> bool) -> usize {
    let has_none = |chunk: &&[u8]| {
        let found = |found, byte: &u8| found | is_kind(*byte);
        !chunk.iter().fold(false, found)
    };
    let skipped = bytes.chunks_exact(CHUNK).take_while(has_none).count() * CHUNK;
    let rest = &bytes[skipped..];
    let at = rest.iter().position(|byte| is_kind(*byte));
    skipped + at.unwrap_or(rest.len())
}

const CHUNK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_stands() {
        for len in 0..70 {
            let mut bytes = vec![b'a'; len];
            assert_eq!(first(&bytes, |byte| byte == b'x'), len);
            for at in (0..len).rev() {
                bytes[at] = b'x';
                assert_eq!(first(&bytes, |byte| byte == b'x'), at);
            }
        }
    }
}
