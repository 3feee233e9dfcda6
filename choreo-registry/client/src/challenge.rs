//! `WWW-Authenticate`: the authentication that a registry requires.
//!
//! The grammar is that of [RFC 9110, section
//! 11](https://www.rfc-editor.org/rfc/rfc9110#section-11): any number of headers, any number of
//! challenges in each, names in any case, values as tokens or quoted strings. The sender of a
//! challenge controls all of its text. A header that violates the grammar is rejected as a whole,
//! because a guess at its meaning would decide where a credential is sent.
//!
//! There is one exception: an unquoted value may contain characters that a token may not, such as
//! the `:` and `/` of a URL. Registries write such values, and they have only one reading.

use std::{collections::BTreeMap, fmt};

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// One challenge: a scheme and its parameters, names in lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Challenge {
    scheme: String,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// The scheme in lower case: `basic`, `bearer`, `negotiate`.
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The value of a parameter; an empty value counts as absent.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl Challenge {
    /// Returns whether the parameters that decide where a credential is sent, and for which
    /// access, are ASCII.
    fn is_usable(&self) -> bool {
        let used = ["realm", "scope", "service"];
        self.scheme != "bearer"
            || used
                .iter()
                .filter_map(|name| self.parameter(name))
                .all(str::is_ascii)
    }
}

/// Writes the challenge in the form of a well-behaved server.
#[cfg(any(test, fuzzing))]
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        let mut separator = " ";
        for (name, value) in &self.parameters {
            let value = value.replace('\\', r"\\").replace('"', "\\\"");
            write!(f, "{separator}{name}=\"{value}\"")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// All challenges of a response, in order.
///
/// # Errors
///
/// If any header violates the grammar, repeats a parameter, or the headers exceed [`MAX_BYTES`] or
/// [`MAX_CHALLENGES`].
pub(crate) fn parse_all(headers: &HeaderMap) -> Result<Vec<Challenge>, ChallengeError> {
    let mut challenges = Vec::new();
    let mut bytes = 0;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        bytes += value.len();
        if bytes > MAX_BYTES {
            return Err(ChallengeError::TooLong);
        }
        // No encoding is defined for octets outside ASCII (RFC 9110, section 5.5). They pass as
        // Latin-1 inside quotes, in values that are not used.
        let text: String = value.as_bytes().iter().copied().map(char::from).collect();
        Parser { rest: &text }.challenges(&mut challenges)?;
    }
    if challenges.iter().any(|challenge| !challenge.is_usable()) {
        return Err(ChallengeError::NotAscii);
    }
    Ok(challenges)
}

/// The most bytes that all `WWW-Authenticate` headers of one response may have.
pub(crate) const MAX_BYTES: usize = 8 * 1024;

/// The most challenges that one response may have.
pub(crate) const MAX_CHALLENGES: usize = 8;

/// The reason why a `WWW-Authenticate` header is rejected. It never contains a byte of the header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ChallengeError {
    DuplicateParameter,
    Grammar,
    NotAscii,
    TooLong,
    TooMany,
    UnterminatedQuote,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateParameter => "a parameter appears twice",
            Self::Grammar => "it does not follow the grammar of RFC 9110",
            Self::NotAscii => "it has a character outside ASCII",
            Self::TooLong => "it is longer than 8 KiB",
            Self::TooMany => "it has more than 8 challenges",
            Self::UnterminatedQuote => "a quoted value has no end",
        })
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn challenges(&mut self, into: &mut Vec<Challenge>) -> Result<(), ChallengeError> {
        loop {
            self.skip_commas();
            if self.rest.is_empty() {
                return Ok(());
            }
            if into.len() == MAX_CHALLENGES {
                return Err(ChallengeError::TooMany);
            }
            into.push(self.challenge()?);
        }
    }

    fn challenge(&mut self) -> Result<Challenge, ChallengeError> {
        let scheme = self.token()?.to_ascii_lowercase();
        let mut parameters = BTreeMap::new();
        if !self.rest.is_empty() && !self.rest.starts_with([' ', '\t', ',']) {
            return Err(ChallengeError::Grammar);
        }
        self.skip_space();
        if !self.token68() {
            while let Some((name, value)) = self.next_parameter()? {
                if parameters.insert(name, value).is_some() {
                    return Err(ChallengeError::DuplicateParameter);
                }
            }
        }
        Ok(Challenge { scheme, parameters })
    }

    /// Skips `abc==`, the alternative to parameters after a scheme (RFC 9110, section 11.2). The
    /// supported schemes do not use it.
    fn token68(&mut self) -> bool {
        let is_token68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let after = self.rest.trim_start_matches(is_token68);
        if after.len() == self.rest.len() {
            return false;
        }
        let after = after
            .trim_start_matches('=')
            .trim_start_matches([' ', '\t']);
        let ends = after.is_empty() || after.starts_with(',');
        if ends {
            self.rest = after;
        }
        ends
    }

    /// Returns the next `name = value`, or `None` at the next challenge or the end.
    fn next_parameter(&mut self) -> Result<Option<(String, String)>, ChallengeError> {
        let before = self.rest;
        self.skip_commas();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        self.skip_space();
        let Some(value) = self.rest.strip_prefix('=') else {
            self.rest = before;
            // A name without `=` is the next scheme, which requires a comma before it.
            return if before.trim_start().starts_with(',') {
                Ok(None)
            } else {
                Err(ChallengeError::Grammar)
            };
        };
        self.rest = value;
        self.skip_space();
        let value = if self.rest.starts_with('"') {
            self.quoted()?
        } else {
            self.unquoted().to_owned()
        };
        self.skip_space();
        if !self.rest.is_empty() && !self.rest.starts_with(',') {
            return Err(ChallengeError::Grammar);
        }
        Ok(Some((name.to_ascii_lowercase(), value)))
    }

    fn quoted(&mut self) -> Result<String, ChallengeError> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(value);
                }
                '\\' => value.push(
                    characters
                        .next()
                        .ok_or(ChallengeError::UnterminatedQuote)?
                        .1,
                ),
                other => value.push(other),
            }
        }
        Err(ChallengeError::UnterminatedQuote)
    }

    fn token(&mut self) -> Result<&'a str, ChallengeError> {
        let token = self.token_or_empty();
        if token.is_empty() {
            Err(ChallengeError::Grammar)
        } else {
            Ok(token)
        }
    }

    fn token_or_empty(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !is_token_character(c))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    /// Reads an unquoted value: everything up to a blank or a comma. A character that begins a
    /// quoted value, an escape or another separator ends it, and the parameter then violates the
    /// grammar.
    fn unquoted(&mut self) -> &'a str {
        // Quotes of the wrong kind: only a token may begin with one.
        if self.rest.starts_with('\'') {
            return self.token_or_empty();
        }
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_graphic() || ",;\"\\".contains(c))
            .unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        value
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn skip_commas(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }
}

/// `tchar` of [RFC 9110, section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2).
fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn parse(values: &[&str]) -> Result<Vec<Challenge>, ChallengeError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        parse_all(&headers)
    }

    /// `scheme name=value;name=value`, challenges joined by ` | `: short enough for a table.
    fn summary(values: &[&str]) -> String {
        match parse(values) {
            Err(error) => format!("refused: {error:?}"),
            Ok(challenges) => challenges
                .iter()
                .map(|challenge| {
                    let parameters: Vec<_> = challenge
                        .parameters
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect();
                    format!("{} {}", challenge.scheme, parameters.join(";"))
                        .trim_end()
                        .to_owned()
                })
                .collect::<Vec<_>>()
                .join(" | "),
        }
    }

    #[test]
    fn challenges_in_every_spelling_seen_in_the_wild() {
        let table: &[(&[&str], &str)] = &[
            (
                &[r#"Bearer realm="u",service="s",scope="a:b:c,d""#],
                "bearer realm=u;scope=a:b:c,d;service=s",
            ),
            (&[r#"BEARER REALM="u""#], "bearer realm=u"),
            (&[r#"bEaReR rEaLm="u""#], "bearer realm=u"),
            (&["Bearer realm=https://a/t"], "bearer realm=https://a/t"),
            (
                &["Bearer realm=https://a/t?x=1&y=2,service=s"],
                "bearer realm=https://a/t?x=1&y=2;service=s",
            ),
            (&[r#"Bearer realm=https://a/t"x""#], "refused: Grammar"),
            (&[r"Bearer realm=https://a\b"], "refused: Grammar"),
            (&["Bearer realm=https://a/t;service=s"], "refused: Grammar"),
            (&["Bearer realm='u'"], "bearer realm='u'"),
            (&["Bearer realm=plain"], "bearer realm=plain"),
            (
                &[r#"Bearer realm="u" , service = "s""#],
                "bearer realm=u;service=s",
            ),
            (
                &["Bearer\trealm=\"u\"\t,\tservice=\"s\""],
                "bearer realm=u;service=s",
            ),
            (
                &[r#"Basic realm="x", Bearer realm="u""#],
                "basic realm=x | bearer realm=u",
            ),
            (
                &[r#"Basic realm="x""#, r#"Bearer realm="u""#],
                "basic realm=x | bearer realm=u",
            ),
            (
                &[r#"Negotiate, Basic realm="x""#],
                "negotiate | basic realm=x",
            ),
            (
                &[r#"Negotiate abc==, Bearer realm="u""#],
                "negotiate | bearer realm=u",
            ),
            (
                &[r#"Negotiate YWJj, Bearer realm="u""#],
                "negotiate | bearer realm=u",
            ),
            (&["Negotiate abc=="], "negotiate"),
            (
                &[r#"Bearer realm="u",service="",scope="""#],
                "bearer realm=u;scope=;service=",
            ),
            (&[r#"Bearer realm="u";service="s""#], "refused: Grammar"),
            (&[r#"Bearer realm="u"#], "refused: UnterminatedQuote"),
            (&[r#"Bearer realm="u\"#], "refused: UnterminatedQuote"),
            (&[r#" Bearer realm="u""#], "bearer realm=u"),
            (&["Bearer realm='https://a/t'"], "refused: Grammar"),
            (
                &[r#"Bearer realm="u",,service="s""#],
                "bearer realm=u;service=s",
            ),
            (&[r#"Bearer realm="u","#], "bearer realm=u"),
            (&[r#"Bearer realm="a\"b\\c""#], r#"bearer realm=a"b\c"#),
            (&[r#"Bearer realm="/token""#], "bearer realm=/token"),
            (
                &[r#"Bearer realm="u",realm="v""#],
                "refused: DuplicateParameter",
            ),
            (
                &[r#"Bearer realm="u",REALM="v""#],
                "refused: DuplicateParameter",
            ),
            (&[r#"Bearer realm="u" service="s""#], "refused: Grammar"),
            (&[r#"Bearer="u""#], "refused: Grammar"),
            (&["Basic"], "basic"),
            (&[""], ""),
            (&[",,,"], ""),
            (&[], ""),
        ];
        for (headers, expected) in table {
            assert_eq!(summary(headers), *expected, "{headers:?}");
        }
    }

    #[test]
    fn an_empty_parameter_counts_as_absent() {
        let challenges = parse(&[r#"Bearer realm="u",service="""#]).unwrap();
        assert_eq!(challenges[0].parameter("realm"), Some("u"));
        assert_eq!(challenges[0].parameter("service"), None);
        assert_eq!(challenges[0].parameter("scope"), None);
    }

    #[test]
    fn limits_hold_and_the_values_below_them_pass() {
        let eight = vec!["Basic"; MAX_CHALLENGES];
        assert_eq!(parse(&eight).unwrap().len(), MAX_CHALLENGES);
        assert_eq!(
            parse(&["Basic"; MAX_CHALLENGES + 1]),
            Err(ChallengeError::TooMany)
        );

        let long = |len: usize| {
            format!(
                r#"Bearer realm="{}""#,
                "a".repeat(len - r#"Bearer realm="""#.len())
            )
        };
        assert!(parse(&[&long(MAX_BYTES)]).is_ok());
        assert_eq!(parse(&[&long(MAX_BYTES + 1)]), Err(ChallengeError::TooLong));
        assert_eq!(
            parse(&[&long(MAX_BYTES), "Basic"]),
            Err(ChallengeError::TooLong)
        );
    }

    #[test]
    fn bytes_outside_ascii_are_refused_where_they_decide_and_passed_over_elsewhere() {
        let parse = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(value).unwrap());
            let parsed = parse_all(&headers)?;
            Ok(parsed.iter().map(|one| one.scheme().to_owned()).collect())
        };
        for (value, expected) in [
            (
                &b"Basic realm=\"D\xe9p\xf4t\""[..],
                Ok(vec!["basic".to_owned()]),
            ),
            (
                "Bearer realm=\"/t\",error_description=\"refusé\"".as_bytes(),
                Ok(vec!["bearer".to_owned()]),
            ),
            (b"Bearer realm=\"\xff\"", Err(ChallengeError::NotAscii)),
            (
                b"Bearer realm=\"/t\",service=\"\xe9\"",
                Err(ChallengeError::NotAscii),
            ),
            (
                b"Bearer realm=\"/t\",scope=\"\xe9\"",
                Err(ChallengeError::NotAscii),
            ),
            (b"Basic realm=D\xe9p\xf4t", Err(ChallengeError::Grammar)),
            (b"B\xe9 realm=x", Err(ChallengeError::Grammar)),
        ] {
            assert_eq!(parse(value), expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(text in "[ -~\t]{0,200}") {
            let _ = parse(&[&text]);
        }

        /// Guards that the parameters of a well-formed header are read back exactly, with any
        /// values.
        #[test]
        fn quoted_values_come_back(realm in "[ -~]{0,60}", service in "[ -~]{0,60}") {
            let parameters = [("realm".to_owned(), realm), ("service".to_owned(), service)].into();
            let challenge = Challenge { scheme: "bearer".to_owned(), parameters };
            prop_assert_eq!(parse(&[&challenge.to_string()]), Ok(vec![challenge]));
        }
    }
}
