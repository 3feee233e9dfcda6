use super::*;
use crate::test_macros::assert_texts;

#[test]
fn fields_have_bounds_and_refusals_say_what_to_do() {
    let of = |username: &str, password: &str| {
        let made = Credential::new(username, password);
        made.map(drop).map_err(|error| error.to_string())
    };
    let refused = |why: &str| Err(why.to_owned());
    for sound in ["a", "robot$acme+ci", "acme/alice", "1|-x", "a@b", "é", " "] {
        assert_eq!(of(sound, "x"), Ok(()), "{sound}");
    }
    assert_eq!(of(&"a".repeat(255), &"x".repeat(16 * 1024)), Ok(()));
    assert_eq!(
        of("alice", ""),
        refused("password is empty: enter the password or token, or choose public access")
    );
    assert_eq!(
        of("alice", &"x".repeat(16 * 1024 + 1)),
        refused("password is longer than 16 KiB: check what was pasted")
    );
    for password in ["\0", "\0hunter2", "hunter2\0"] {
        assert_eq!(
            of("alice", password),
            refused(
                "password begins or ends with a NUL character: enter it without, for tools \
                 disagree on it"
            )
        );
        assert!(Password::new(password).is_err());
    }
    assert_eq!(of("alice", "hunter\x002"), Ok(()));
    assert_eq!(
        of("a:b", "x"),
        refused(
            "user name contains a colon: Basic authentication cannot carry it, check that the \
             password is in its own field"
        )
    );
    for username in ["a\n", "\u{7f}", "a\0b"] {
        assert_eq!(
            of(username, "x"),
            refused("user name contains a line break or another control character: remove it")
        );
    }
    assert_eq!(
        of("", "x"),
        refused("user name is empty: enter the name that goes with the password or token")
    );
    assert_eq!(
        of(&"a".repeat(256), "x"),
        refused("user name is longer than 255 bytes: check what was pasted")
    );
}

#[test]
fn basic_is_the_base64_of_both() {
    let credential = Credential::new("alice", "hunter2").unwrap();
    let basic = credential.expose_basic();
    assert_eq!(*basic, "YWxpY2U6aHVudGVyMg==");
    // It never grew, so no copy of it is left in freed memory.
    assert_eq!(basic.capacity(), basic.len());
    assert_eq!(credential.expires_at(), None);
    let until: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let copy = credential.with_expiry(until).clone_secret();
    assert_eq!(copy.username(), "alice");
    assert_eq!(copy.expose_password(), "hunter2");
    assert_eq!(copy.expires_at(), Some(until));
}

#[test]
fn debug_shows_no_password_in_either_field() {
    let shown = |username: &str, password: &str| {
        let credential = Credential::new(username, password).unwrap();
        format!("{credential:?}")
    };
    let with = |username: &str| {
        format!("Credential {{ username: {username:?}, password: [redacted], expires_at: None }}")
    };
    for (username, password, is_shown) in [
        ("alice", "hunter2", true),
        ("dop_v1_0123", "dop_v1_0123", false),
        ("admin", "admin", false),
        ("my-hunter2-name", "hunter2", false),
        ("01234567", "x01234567x", false),
        ("x01234567x", "01234567y", false),
        ("0123456", "x0123456x", true),
        ("0123456x", "0123456y", true),
        // "alice:hunter2hunter2" in base64, with and without padding; "alice:other".
        ("YWxpY2U6aHVudGVyMmh1bnRlcjI=", "hunter2hunter2", false),
        ("YWxpY2U6aHVudGVyMmh1bnRlcjI", "hunter2hunter2", false),
        ("YWxpY2U6b3RoZXI=", "hunter2hunter2", true),
    ] {
        let expected = with(if is_shown { username } else { "[redacted]" });
        assert_eq!(shown(username, password), expected, "{username} {password}");
    }
    let password: Password = "hunter2".parse().unwrap();
    assert_eq!(format!("{:?}", password.clone_secret()), "[redacted]");
    assert_eq!(password.clone_secret().expose(), "hunter2");
    let until: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let credential = Credential::new("alice", "hunter2").unwrap();
    assert!(format!("{:?}", credential.with_expiry(until)).contains("2030-01-01T00:00:00Z"));
}

#[test]
fn each_variant_of_the_error_has_its_text() {
    use CredentialError as E;

    assert_texts! { E:
        E::PasswordEmpty = E::PasswordEmpty =>
            "password is empty: enter the password or token, or choose public access";
        E::PasswordNul = E::PasswordNul =>
            "password begins or ends with a NUL character: enter it without, for tools disagree on \
             it";
        E::PasswordTooLong = E::PasswordTooLong =>
            "password is longer than 16 KiB: check what was pasted";
        E::UsernameColon = E::UsernameColon =>
            "user name contains a colon: Basic authentication cannot carry it, check that the \
             password is in its own field";
        E::UsernameControlCharacter = E::UsernameControlCharacter =>
            "user name contains a line break or another control character: remove it";
        E::UsernameEmpty = E::UsernameEmpty =>
            "user name is empty: enter the name that goes with the password or token";
        E::UsernameTooLong = E::UsernameTooLong =>
            "user name is longer than 255 bytes: check what was pasted";
    }
}
