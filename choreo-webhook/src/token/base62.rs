//! CRC-32 with the digits `0`-`9`, `A`-`Z`, `a`-`z`, as secret scanners expect it.

pub(super) const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62 to the power of 6 is more than 2 to the power of 32.
pub(super) const CHECKSUM_LENGTH: usize = 6;

/// Returns the CRC-32 (ISO-HDLC) of a text as six digits, the most significant first.
pub(super) fn checksum(text: &str) -> String {
    encode(crc32fast::hash(text.as_bytes()))
}

fn encode(number: u32) -> String {
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    let mut rest = number as usize;
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[rest % DIGITS.len()];
        rest /= DIGITS.len();
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_known_values() {
        assert_eq!(checksum("123456789"), "3jZRME");
        assert_eq!(encode(0), "000000");
        assert_eq!(encode(u32::MAX), "4gfFC3");
    }
}
