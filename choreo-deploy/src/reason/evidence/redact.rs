//! Replaces secrets in one pass over a text.

use super::names::{self, Name};
use super::shapes;
use super::value::{self, Quote};

const HIDDEN: &str = "<redacted>";

/// The number of bytes of a word that are examined, which keeps the work linear.
const WORD: usize = 512;

/// Returns the redacted text. A first word that is cut is unknown, so it is hidden.
pub(super) fn redact(text: &str, is_cut: bool) -> String {
    let mut scanner = Scanner {
        text,
        at: 0,
        out: String::with_capacity(text.len()),
    };
    if is_cut {
        scanner.hide_to(text.find(char::is_whitespace).unwrap_or(text.len()));
    }
    // The beginning of a key may be cut off or in an earlier line.
    if let Some(end) = value::pem_end(text)
        && !text[..end].contains("BEGIN ")
    {
        scanner.hide_to(end);
    }
    while scanner.at < text.len() {
        scanner.step();
    }
    scanner.out
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    out: String,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn before(&self) -> &'a str {
        &self.text[..self.at]
    }

    fn previous(&self) -> Option<char> {
        self.before().chars().next_back()
    }

    fn show(&mut self, bytes: usize) {
        let shown = &self.rest()[..bytes];
        self.out.push_str(shown);
        self.at += bytes;
    }

    fn hide(&mut self, bytes: usize) {
        self.hide_to(self.at + bytes);
    }

    /// Hides the text up to a position.
    fn hide_to(&mut self, end: usize) {
        if end > self.at {
            if !self.out.ends_with(HIDDEN) {
                self.out.push_str(HIDDEN);
            }
            self.at = end;
        }
    }

    /// Shows or hides at least one character.
    fn step(&mut self) {
        let Some(next) = self.rest().chars().next() else {
            return;
        };
        if next == '-'
            && let Some(bytes) = value::pem(self.rest())
        {
            return self.hide(bytes);
        }
        let is_run_start = is_run(next) && !self.previous().is_some_and(is_run);
        if is_run_start && shapes::is_random_path(run(self.rest(), is_run)) {
            return self.hide(run(self.rest(), is_run).len());
        }
        let is_word_start = !self.previous().is_some_and(is_name);
        if is_word_start && (self.url() || self.user() || self.named()) {
            return;
        }
        let is_start = !self.previous().is_some_and(char::is_alphanumeric);
        if is_start
            && (next.is_ascii_alphanumeric() || next == '_')
            && let Some(bytes) = shapes::token(self.rest())
        {
            return self.hide(bytes);
        }
        if is_segment(next) && !self.previous().is_some_and(is_segment) {
            let segment = run(self.rest(), is_segment);
            if shapes::is_random(segment) || self.is_key(segment) {
                return self.hide(segment.len());
            }
        }
        if next.is_ascii_alphanumeric() {
            return self.show(run(self.rest(), |c| c.is_ascii_alphanumeric()).len());
        }
        self.show(next.len_utf8());
    }

    /// Returns `true` if a run is a long hexadecimal number that is not called an id.
    fn is_key(&self, segment: &str) -> bool {
        let before = self.before();
        let near = value::tail(before, 64);
        shapes::is_hex(segment) && !shapes::names_an_id(near)
    }

    /// Shows a URL without user information and query.
    fn url(&mut self) -> bool {
        let scheme = run(self.rest(), |c| {
            c.is_ascii_alphanumeric() || "+-.".contains(c)
        });
        let Some(rest) = self.rest()[scheme.len()..].strip_prefix("://") else {
            return false;
        };
        if scheme.is_empty() {
            return false;
        }
        self.show(scheme.len() + 3);
        let word = run(rest, |c| !c.is_whitespace() && !"\"'`<>\\".contains(c));
        let word = until_next_url(word);
        let host = without_user(word);
        self.at += word.len() - host.len();
        let path = host.find(['?', '#', ';']).unwrap_or(host.len());
        let end = self.at + path;
        while self.at < end {
            self.step_in_url(end);
        }
        let query = &host[path..];
        let closing = query
            .trim_end_matches([':', ')', ',', ';', '.', ']', '}'])
            .len();
        self.at += closing;
        self.show(query.len() - closing);
        true
    }

    /// Shows or hides a part of a URL's path.
    fn step_in_url(&mut self, end: usize) {
        let part = run(&self.text[self.at..end], |c| c != '/' && c != ':');
        let is_digest = self.before().ends_with("sha256:");
        let looks = shapes::token(part).is_some()
            || shapes::is_random(run(part, is_segment))
            || (shapes::is_hex(part) && !is_digest);
        if looks {
            self.hide(part.len());
        } else {
            self.show(part.len());
        }
        let sign = run(&self.text[self.at..end], |c| c == '/' || c == ':');
        self.show(sign.len());
    }

    /// Hides the user information of `user:password@host` without a scheme.
    fn user(&mut self) -> bool {
        let is_start = self
            .previous()
            .is_none_or(|c| c.is_whitespace() || "\"'`([{<=,;|".contains(c));
        if !is_start {
            return false;
        }
        let word = value::head(self.rest(), WORD);
        let word = run(word, |c| !c.is_whitespace() && !"\"'`<>".contains(c));
        let word = match word.find("://") {
            Some(at) => word[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric()),
            None => word,
        };
        let Some(at) = word
            .match_indices('@')
            .map(|(at, _)| at)
            .rfind(|at| !is_digest(&word[at + 1..]))
        else {
            return false;
        };
        let Some(colon) = word[..at].find(':').filter(|colon| colon + 1 < at) else {
            return false;
        };
        self.show(colon + 1);
        self.hide(at - colon - 1);
        true
    }

    /// Shows a name and, if it names a secret, hides its value.
    fn named(&mut self) -> bool {
        let name = run(value::head(self.rest(), names::LONGEST + 1), is_name);
        if name.is_empty() || name.len() > names::LONGEST {
            return false;
        }
        if is_user_flag(name) {
            return self.flag(name, |word| word.contains(':'));
        }
        if name == "-p" {
            return self.flag(name, shapes::is_likely_value);
        }
        if matches!(name.to_ascii_lowercase().as_str(), "basic" | "bearer") {
            return self.flag(name, |word| !names::is_sentence(word));
        }
        let Some(kind) = names::classify(name) else {
            return false;
        };
        let after = &self.rest()[name.len()..];
        if self.before().ends_with('<') && after.starts_with('>') {
            self.show(name.len() + 1);
            self.hide(self.rest().find('<').unwrap_or(self.rest().len()));
            return true;
        }
        match Sign::read(after) {
            Some(sign) => self.assigned(name, kind, &sign),
            None if name.starts_with('-') => self.flag(name, |word| !word.starts_with('-')),
            None => kind == Name::Sure && self.sentence(name),
        }
    }

    /// Shows a word and hides the next word if that is its value.
    fn flag(&mut self, name: &str, is_value: impl Fn(&str) -> bool) -> bool {
        let after = &self.rest()[name.len()..];
        let blanks = run(after, |c| c == ' ').len();
        let word = value::head(&after[blanks..], WORD);
        let word = &word[..value::bare(word)];
        if blanks == 0 || word.is_empty() || word == HIDDEN || !is_value(word) {
            return false;
        }
        self.show(name.len() + blanks);
        self.value(None);
        true
    }

    /// Hides the value in `password is hunter2`.
    fn sentence(&mut self, name: &str) -> bool {
        let after = &self.rest()[name.len()..];
        let Some(mut word) = after.strip_prefix(' ') else {
            return false;
        };
        for verb in ["is ", "was "] {
            word = word.strip_prefix(verb).unwrap_or(word);
        }
        let shown = self.rest().len() - word.len();
        let word = value::head(word, WORD);
        let is_value = shapes::is_likely_value(&word[..value::bare(word)]);
        if is_value {
            self.show(shown);
            self.value(None);
        }
        is_value
    }

    /// Hides the value after a name and a sign.
    fn assigned(&mut self, name: &str, kind: Name, sign: &Sign) -> bool {
        let enclosing = Quote::at_end(self.before()).filter(|_| !sign.closes_name);
        let start = name.len() + sign.length;
        let rest = &self.rest()[start..];
        let is_quoted = Quote::at_start(rest).is_some();
        let near = value::head(rest, WORD);
        let is_alone = self.starts_line() && !near[..value::line(near)].trim().contains(' ');
        let word = &near[..value::bare(near)];
        if kind == Name::Authorization {
            return self.authorization(start, is_alone || sign.is_equal);
        }
        let is_image = !sign.has_blank && self.before().ends_with('/');
        let is_sure = match kind {
            Name::Word => sign.is_equal || is_quoted || is_alone || shapes::is_likely_value(word),
            _ => {
                sign.is_equal
                    || sign.has_blank
                    || is_quoted
                    || shapes::is_likely_value(word)
                    || is_alone
            }
        };
        let is_open = rest.starts_with(['[', '{']) && kind == Name::Word && !sign.is_equal;
        if !is_sure || is_image || is_open || word.starts_with(HIDDEN) {
            return false;
        }
        self.show(start);
        if kind == Name::Cookie && !is_quoted {
            let end = enclosing.map_or(value::line(rest), |quote| quote.close(rest));
            self.hide(end);
        } else {
            self.value(enclosing);
        }
        true
    }

    /// Shows the scheme of an `Authorization` and hides its value.
    fn authorization(&mut self, start: usize, is_alone: bool) -> bool {
        let rest = &self.rest()[start..];
        let opening = run(rest, |c| "\"'[({\\`".contains(c)).len();
        let scheme = run(&rest[opening..], |c| c.is_ascii_alphanumeric());
        let after = &rest[opening + scheme.len()..];
        if names::is_scheme(scheme) && after.starts_with(' ') {
            let blanks = run(after, |c| c == ' ').len();
            self.show(start + opening + scheme.len() + blanks);
            let close = Quote::at_start(rest).map(|quote| quote.close(self.rest()));
            self.hide(close.unwrap_or_else(|| value::bare(self.rest())));
            return true;
        }
        let is_quoted = Quote::at_start(rest).is_some();
        let near = value::head(rest, WORD);
        // `Digest username="me", response="…"`.
        let parameter = run(after.trim_start_matches(' '), |c| c.is_ascii_alphanumeric());
        let has_parameters = after.trim_start_matches(' ')[parameter.len()..].starts_with('=');
        let is_value = is_alone
            || is_quoted
            || has_parameters
            || shapes::is_likely_value(&near[..value::bare(near)]);
        if is_value && !scheme.is_empty() {
            self.show(start);
            if is_quoted {
                self.value(None);
            } else {
                self.hide(value::line(rest));
            }
        }
        is_value && !scheme.is_empty()
    }

    /// Hides a value. Its quotes are shown.
    fn value(&mut self, enclosing: Option<Quote>) {
        let rest = self.rest();
        if let Some(quote) = Quote::at_start(rest) {
            self.show(quote.len());
            self.hide(quote.close(self.rest()));
        } else if let Some(end) = value::block(rest, self.indent()) {
            self.hide(end);
        } else if let Some(quote) = enclosing {
            self.hide(quote.close(rest));
        } else if rest.starts_with(['[', '{']) {
            self.hide(value::brackets(rest));
        } else {
            self.hide(value::bare(rest));
        }
    }

    /// Returns `true` if only signs precede a position in its line.
    fn starts_line(&self) -> bool {
        let near = value::tail(self.before(), 64);
        let line = near.rsplit('\n').next().unwrap_or_default();
        (line.len() < near.len() || near.len() == self.at) && !line.contains(char::is_alphanumeric)
    }

    /// Returns the number of blanks at the beginning of the line of a position.
    fn indent(&self) -> usize {
        let near = value::tail(self.before(), WORD);
        let line = near.rsplit('\n').next().unwrap_or_default();
        run(line, |c| c == ' ').len()
    }
}

/// The sign between a name and a value.
struct Sign {
    length: usize,
    is_equal: bool,
    has_blank: bool,
    closes_name: bool,
}

impl Sign {
    fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let quote = Quote::at_start(rest);
        if let Some(quote) = quote {
            rest = &rest[quote.len()..];
            rest = rest.strip_prefix(']').unwrap_or(rest);
        }
        rest = trim_blanks(rest);
        let sign = ["=>", ":=", "==", "=", ":"]
            .iter()
            .find(|sign| rest.starts_with(**sign))?;
        let value = trim_blanks(&rest[sign.len()..]);
        let has_blank = value.len() < rest.len() - sign.len();
        Some(Self {
            length: text.len() - value.len(),
            is_equal: sign.contains('='),
            has_blank,
            closes_name: quote.is_some(),
        })
    }
}

fn trim_blanks(text: &str) -> &str {
    &text[run(value::head(text, 64), |c| c == ' ').len()..]
}

fn is_user_flag(name: &str) -> bool {
    matches!(name, "-u" | "-U" | "--user" | "--proxy-user")
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || "_-.".contains(c)
}

fn is_segment(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-+".contains(c)
}

fn is_run(c: char) -> bool {
    is_segment(c) || c == '/'
}

/// Returns the leading characters of a text that match.
fn run(text: &str, is: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !is(c)).unwrap_or(text.len())]
}

/// Returns a word up to the separator before another URL.
fn until_next_url(word: &str) -> &str {
    let Some(at) = word.find("://") else {
        return word;
    };
    let scheme =
        word[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c));
    match scheme.char_indices().next_back() {
        Some((end, ',' | ';' | '|')) => &word[..end],
        _ => word,
    }
}

/// Returns the text after the user information. A password may contain a slash, a question mark or a
/// hash, and then the apparent port is not a number.
fn without_user(word: &str) -> &str {
    let end = word.find(['/', '?', '#']).unwrap_or(word.len());
    let (authority, tail) = word.split_at(end);
    if let Some((_, host)) = authority.rsplit_once('@') {
        return &word[authority.len() - host.len()..];
    }
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let Some((_, host)) = tail.rsplit_once('@').filter(|(_, host)| !is_digest(host)) else {
        return word;
    };
    let is_password = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !is_port(port) && !authority.starts_with('['));
    // The text after the `@` of a version in a path ends in a number.
    let name = run(host, |c| c.is_alphanumeric() || "-.".contains(c));
    let is_host = name.rsplit_once('.').is_some_and(|(_, top)| {
        !top.is_empty() && top.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    if is_password || is_host || !authority.contains('.') {
        host
    } else {
        word
    }
}

/// Returns `true` if a text begins with a digest, which also follows an `@`.
fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with("sha") && hex.bytes().take(32).all(|byte| byte.is_ascii_hexdigit())
    })
}
