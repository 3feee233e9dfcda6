//! Removes control sequences of terminals and commands of CI systems.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

const ESCAPE: char = '\u{1b}';

/// Returns one line: line ends and tabs become blanks, and the end has none.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    if !text
        .chars()
        .any(|c| is_removed(c) || is_line_end(c) || c == '\t')
    {
        return Cow::Borrowed(text);
    }
    Cow::Owned(lines(text).replace('\n', " ").trim_end().to_owned())
}

/// Returns lines that end in `\n`, without control sequences. Tabs become blanks.
pub(super) fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ESCAPE => skip_escape(&mut rest),
            // A carriage return alone would overwrite the line.
            '\r' if rest.peek() == Some(&'\n') => {}
            '\t' => out.push(' '),
            c if is_line_end(c) => out.push('\n'),
            c if is_removed(c) => {}
            c => out.push(c),
        }
    }
    out
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Skips the sequence after ESC: a control sequence to its final byte, a control string to its
/// terminator, or one character (ECMA-48, 5.3 to 5.6). An unterminated string is not skipped, so that
/// it hides nothing; without its ESC it is harmless.
fn skip_escape(rest: &mut Peekable<Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
            rest.next_if(|c| matches!(c, '@'..='~'));
        }
        Some(']' | 'P' | '_' | '^' | 'X') => {
            let mut ahead = rest.clone();
            let end = ahead.find(|c| matches!(c, '\u{7}' | '\u{9c}' | '\n' | &ESCAPE));
            match end {
                Some(ESCAPE) if ahead.next_if_eq(&'\\').is_some() => *rest = ahead,
                Some('\u{7}' | '\u{9c}') => *rest = ahead,
                _ => {
                    rest.next();
                }
            }
        }
        Some(' '..='~') => {
            rest.next();
        }
        _ => {}
    }
}

/// Returns `true` for control characters, and for characters that are invisible or change the text
/// direction (<https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing>).
fn is_removed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Breaks the commands that CI systems read from a log: `::name::` at the beginning of a line
/// (GitHub), `##[` (older GitHub), `##vso[` (Azure) and `##teamcity[`.
pub(super) fn without_commands(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        out.push_str(&line[..line.len() - start.len()]);
        let start = match start.strip_prefix("::") {
            Some(rest) => {
                out.push_str(": :");
                rest
            }
            None => start,
        };
        out.push_str(&start.replace("##", "# #"));
    }
    out
}
