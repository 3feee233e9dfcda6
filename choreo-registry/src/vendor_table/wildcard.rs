//! Patterns for user names and passwords.

/// Returns `true` if `text` matches `pattern`, in which `*` matches any number of characters, also
/// none, and `?` matches one byte. Linear in the text for each star, for any text.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // The position of the last star, and the position in the text at which its match began.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: simple, but exponential.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                defined(rest, text) || (!text.is_empty() && defined(pattern, &text[1..]))
            }
            ([p, pattern @ ..], [t, text @ ..]) => (*p == b'?' || p == t) && defined(pattern, text),
            _ => false,
        }
    }

    #[test]
    fn samples() {
        for (pattern, text, expected) in [
            ("robot$*", "robot$acme+ci", true),
            ("robot$*", "robot$", true),
            ("robot$*", "robot", false),
            ("*|*", "14498751|-futurama", true),
            ("*@*", "alice", false),
            ("????", "abcd", true),
            ("????", "abc", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_text_takes_no_time() {
        let text = "a".repeat(16 * 1024);
        assert!(!is_like("*a*a*a*a*b", &text));
    }

    proptest! {
        #[test]
        fn it_is_as_defined(pattern in "[ab*?]{0,8}", text in "[ab*?]{0,10}") {
            prop_assert_eq!(is_like(&pattern, &text), defined(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
