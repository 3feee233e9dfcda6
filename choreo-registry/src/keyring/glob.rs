//! Patterns of Go's [`filepath.Match`](https://pkg.go.dev/path/filepath#Match) on Unix: `*`, `?`,
//! classes such as `[a-z]` and `[^a-z]`, and `\` to escape a character.

/// Returns `true` if the whole name matches. A malformed pattern matches nothing.
///
/// Matching returns to the last `*` only, so the time is at most the product of both lengths.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Where to continue if the text after the last `*` does not match here.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, name));
            pattern = rest;
            continue;
        }
        let step = match (pattern, name) {
            ([], []) => return true,
            // The usual case: two literal bytes.
            ([literal, pattern_rest @ ..], [byte, name_rest @ ..])
                if literal == byte && !is_special(*literal) =>
            {
                (pattern, name) = (pattern_rest, name_rest);
                continue;
            }
            ([], _) => Some(None),
            _ => one(pattern, name),
        };
        let Some(step) = step else {
            return false;
        };
        if let Some((pattern_rest, name_rest)) = step {
            (pattern, name) = (pattern_rest, name_rest);
            continue;
        }
        // The `*` matches one more byte, but never a separator.
        match retry {
            Some((after_star, [byte, name_rest @ ..])) if *byte != b'/' => {
                retry = Some((after_star, name_rest));
                (pattern, name) = (after_star, name_rest);
            }
            _ => return false,
        }
    }
}

/// Returns `true` if a pattern can match something other than itself.
pub(super) fn is_glob(pattern: &[u8]) -> bool {
    pattern.iter().copied().any(is_special)
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

type Rests<'p, 'n> = (&'p [u8], &'n [u8]);

/// Matches the pattern's first element with the name's first character. The outer `None` is a
/// malformed pattern, the inner one a mismatch.
fn one<'p, 'n>(pattern: &'p [u8], name: &'n [u8]) -> Option<Option<Rests<'p, 'n>>> {
    match pattern {
        [b'?', rest @ ..] => {
            let (_, after) = character(name);
            Some((!name.is_empty() && name[0] != b'/').then_some((rest, after)))
        }
        [b'[', class @ ..] => {
            let (wanted, after) = character(name);
            let (hit, rest) = in_class(class, wanted)?;
            Some((hit && !name.is_empty()).then_some((rest, after)))
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] if pattern != b"\\" => {
            let hit = name.first() == Some(literal);
            Some(hit.then(|| (rest, &name[1..])))
        }
        _ => None,
    }
}

/// Reads a class after its `[`; returns `None` if it is malformed.
fn in_class(class: &[u8], wanted: char) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut hit = false;
    let mut is_first = true;
    loop {
        if let [b']', after @ ..] = rest
            && !is_first
        {
            return Some((hit != negated, after));
        }
        let (low, after) = class_character(rest)?;
        let (high, after) = match after {
            [b'-', after @ ..] => class_character(after)?,
            _ => (low, after),
        };
        hit |= (low..=high).contains(&wanted);
        is_first = false;
        rest = after;
    }
}

/// Reads one end of a range; something must follow it, at least the `]` of the class.
fn class_character(text: &[u8]) -> Option<(char, &[u8])> {
    let text = match text {
        [] | [b'-' | b']', ..] => return None,
        [b'\\', rest @ ..] => rest,
        _ => text,
    };
    let (character, rest) = character(text);
    let is_invalid = character == char::REPLACEMENT_CHARACTER && text.len() == rest.len() + 1;
    (!rest.is_empty() && !is_invalid).then_some((character, rest))
}

/// `utf8.DecodeRune`: returns the replacement character and one byte for invalid UTF-8.
fn character(text: &[u8]) -> (char, &[u8]) {
    let head = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(character) => (character, &text[character.len_utf8()..]),
        None => (
            char::REPLACEMENT_CHARACTER,
            text.get(1..).unwrap_or_default(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_at_the_end_is_a_mistake() {
        assert!(matches(br"a\\", br"a\"));
        assert!(!matches(br"a\", br"a\"));
        assert!(!matches(br"\", br"\"));
    }
}
