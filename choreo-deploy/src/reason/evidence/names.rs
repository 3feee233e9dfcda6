//! Names of secret values.

/// The length in bytes of the longest name that is recognized.
pub(super) const LONGEST: usize = 128;

/// The certainty that a secret follows a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Name {
    /// `Authorization`: a scheme, which is shown, and a secret value.
    Authorization,
    /// `Cookie`: the rest of the line.
    Cookie,
    /// The text after the sign.
    Sure,
    /// A name that is also a word in sentences, such as `token: unexpected status`.
    Word,
}

const SURE: &[&str] = &[
    "accesskey",
    "accesstoken",
    "accountkey",
    "apikey",
    "clientsecret",
    "connectionstring",
    "dockercfg",
    "dockerconfigjson",
    "encryptionkey",
    "identitytoken",
    "keydata",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwort",
    "privatekey",
    "pwd",
    "refreshtoken",
    "registryconfig",
    "registrytoken",
    "secretkey",
    "sharedkey",
    "signingkey",
];

const WORDS: &[&str] = &[
    "auth",
    "credential",
    "credentials",
    "jwt",
    "key",
    "otp",
    "pass",
    "passwords",
    "secret",
    "session",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "token",
];

/// Further endings of names of secrets: `password_hash`, `TOKEN_2`.
const ENDINGS: &[&str] = &[
    "base64",
    "b64",
    "current",
    "data",
    "env",
    "hash",
    "new",
    "old",
    "plain",
    "plaintext",
    "previous",
    "raw",
    "string",
    "text",
    "value",
];

/// Returns the kind of secret that follows a name, if any.
pub(super) fn classify(name: &str) -> Option<Name> {
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let kind = kind(&plain).or_else(|| kind(without_ending(&plain)))?;
    let is_header = name.starts_with("x-") || name.starts_with("X-");
    if kind == Name::Word && (is_header || is_variable(name)) {
        return Some(Name::Sure);
    }
    Some(kind)
}

fn kind(plain: &str) -> Option<Name> {
    let ends = |words: &[&str]| words.iter().any(|word| plain.ends_with(word));
    if plain.ends_with("authorization") {
        Some(Name::Authorization)
    } else if plain.ends_with("cookie") || plain.ends_with("cookies") {
        Some(Name::Cookie)
    } else if ends(SURE) {
        Some(Name::Sure)
    } else {
        ends(WORDS).then_some(Name::Word)
    }
}

fn without_ending(plain: &str) -> &str {
    let plain = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    let ending = ENDINGS.iter().find_map(|ending| plain.strip_suffix(ending));
    ending
        .unwrap_or(plain)
        .trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Returns `true` for an identifier of a program (`client_secret`, `vaultToken`), and `false` for a
/// word or the name of an object (`orders-token`).
fn is_variable(name: &str) -> bool {
    let inner_capital = name
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    inner_capital || name.trim_matches('_').contains('_')
}

/// Returns `true` if a word is the scheme of an `Authorization` whose value is one word.
pub(super) fn is_scheme(word: &str) -> bool {
    ["basic", "bearer", "token", "apikey", "negotiate"]
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Words that follow `basic` and `bearer` in sentences and challenges.
pub(super) fn is_sentence(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_punctuation());
    [
        "access",
        "and",
        "auth",
        "authentication",
        "authorization",
        "challenge",
        "credential",
        "credentials",
        "error",
        "for",
        "header",
        "is",
        "login",
        "not",
        "only",
        "or",
        "realm",
        "scheme",
        "token",
        "tokens",
        "was",
    ]
    .contains(&word)
        || word.starts_with("realm=")
}
