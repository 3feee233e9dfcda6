//! What the programs have in common: arguments, a docker config from a file, and a password from
//! standard input.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// The arguments behind the program's name. What is not UTF-8 in them is replaced, and so refused
/// where it stands; `std::env::args` would panic, and show it.
pub fn arguments() -> impl Iterator<Item = String> {
    let arguments = std::env::args_os().skip(1);
    arguments.map(|argument| argument.to_string_lossy().into_owned())
}

/// The contents of a file, which is called `what` in errors.
///
/// # Errors
///
/// When it cannot be read as text. The path is not repeated: somebody may have put the contents in its
/// place.
pub fn read_file(path: &str, what: &str) -> Result<Zeroizing<String>, String> {
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| format!("cannot read {what}: {error}"))
}

/// All of standard input, without the line break that `echo` adds.
///
/// # Errors
///
/// When it cannot be read, or is not UTF-8. Too long a password is cut, and still too long.
pub fn read_password(stdin: impl Read) -> Result<Zeroizing<String>, String> {
    let failed = |kind: io::ErrorKind| format!("cannot read the password: {kind}");
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT));
    let read = stdin.take(LIMIT as u64).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.kind()))?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() && bytes.len() == LIMIT => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("it is valid up to there")
        }
        Err(_) => return Err(failed(io::ErrorKind::InvalidData)),
    };
    let text = match text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => text,
    };
    Ok(Zeroizing::new(text.to_owned()))
}

/// Twice the longest password: more is refused without being kept.
const LIMIT: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_of_the_password_is_not_of_it() {
        for (typed, password) in [
            ("a b\n", "a b"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("", ""),
        ] {
            assert_eq!(*read_password(typed.as_bytes()).unwrap(), password);
        }
    }

    #[test]
    fn too_much_is_cut_and_what_is_no_text_is_refused() {
        let long = format!("x{}", "é".repeat(LIMIT));
        let password = read_password(long.as_bytes()).unwrap();
        assert_eq!(*password, long[..LIMIT - 1]);
        let error = read_password(&b"hunter2\xff"[..]).unwrap_err();
        assert_eq!(error, "cannot read the password: invalid data");
        assert!(read_password(&b"hunter2\xc3"[..]).is_err());
    }
}
