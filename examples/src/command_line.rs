//! Input of the example programs: arguments, docker configs from files, and passwords from standard
//! input.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// Returns the arguments after the program's name. Invalid UTF-8 is replaced, so that the argument is
/// rejected; `std::env::args` would panic with its text.
pub fn arguments() -> impl Iterator<Item = String> {
    let arguments = std::env::args_os().skip(1);
    arguments.map(|argument| argument.to_string_lossy().into_owned())
}

/// Returns the contents of a file, which errors call `what`.
///
/// # Errors
///
/// Returns a message if the file cannot be read as text. The message does not repeat the path, because
/// a user may have passed the contents instead.
pub fn read_file(path: &str, what: &str) -> Result<Zeroizing<String>, String> {
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| format!("cannot read {what}: {error}"))
}

/// Returns all of standard input, without the line break that `echo` adds. An input that is too long for
/// a password is truncated to a length that is still too long.
///
/// # Errors
///
/// Returns a message if standard input cannot be read or is not UTF-8.
pub fn read_password(stdin: impl Read) -> Result<Zeroizing<String>, String> {
    let failed = |kind: io::ErrorKind| format!("cannot read the password: {kind}");
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT));
    let read = stdin.take(LIMIT as u64).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.kind()))?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // Truncated within a character.
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

/// Twice the length of the longest valid password.
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
