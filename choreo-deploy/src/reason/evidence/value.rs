//! The ends of values.

/// The longest distance in bytes to a closing quote or bracket, which keeps the work linear.
const WINDOW: usize = 4096;

/// A quotation mark with the backslashes before it, as in JSON inside JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Quote {
    backslashes: usize,
    mark: u8,
}

impl Quote {
    /// Returns the quote at the beginning of a text.
    pub(super) fn at_start(text: &str) -> Option<Self> {
        let backslashes = text.bytes().take(8).take_while(|b| *b == b'\\').count();
        let mark = *text.as_bytes().get(backslashes)?;
        is_mark(mark).then_some(Self { backslashes, mark })
    }

    /// Returns the quote at the end of a text.
    pub(super) fn at_end(text: &str) -> Option<Self> {
        let (mark, before) = text.as_bytes().split_last()?;
        let backslashes = before.iter().rev().take(8).take_while(|b| **b == b'\\');
        is_mark(*mark).then_some(Self {
            backslashes: backslashes.count(),
            mark: *mark,
        })
    }

    pub(super) fn len(self) -> usize {
        self.backslashes + 1
    }

    /// Returns the position of the closing quote in the following text, or the end of the line if there
    /// is none.
    pub(super) fn close(self, text: &str) -> usize {
        let mut backslashes = 0;
        for (at, byte) in text.bytes().enumerate().take(WINDOW) {
            if byte == self.mark && backslashes <= self.backslashes {
                return at - backslashes;
            }
            backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
        }
        line(text)
    }
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Returns the end of the line.
pub(super) fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Returns the end of a bare value: the next blank outside of quotes.
pub(super) fn bare(text: &str) -> usize {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            break;
        }
        at += c.len_utf8();
        if let Some(quote) = Quote::at_end(&text[..at]).filter(|_| c == '"' || c == '\'') {
            let close = at + quote.close(&text[at..]);
            at = (close + quote.len()).min(text.len());
            at = boundary(text, at);
        }
    }
    at
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Returns the end of a value in brackets, after the closing one, or the end of the line if there is
/// none.
pub(super) fn brackets(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().take(WINDOW) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    line(text)
}

/// Returns the end of a YAML block scalar (`|`, `>-`) at the beginning of a text: all following lines
/// that are indented deeper than its key.
pub(super) fn block(text: &str, indent: usize) -> Option<usize> {
    let header = &text[..line(text)];
    let marks = header.strip_prefix(['|', '>'])?.trim_end();
    if header.len() == text.len() || !marks.chars().all(|c| matches!(c, '+' | '-' | '1'..='9')) {
        return None;
    }
    let mut end = header.len();
    for next in text[header.len() + 1..].split_inclusive('\n') {
        let body = next.trim_start_matches(' ');
        if !body.trim_end().is_empty() && next.len() - body.len() <= indent {
            break;
        }
        end += next.trim_end_matches('\n').len() + 1;
    }
    Some(end.min(text.len()))
}

/// Returns the end of a PEM or SSH2 block at the beginning of a text, or the end of the text if the
/// block is cut off.
pub(super) fn pem(text: &str) -> Option<usize> {
    let is_start = ["-----BEGIN ", "---- BEGIN "]
        .iter()
        .any(|start| text.starts_with(start));
    is_start.then(|| pem_end(text).unwrap_or(text.len()))
}

/// Returns the end of the first line that closes a block.
pub(super) fn pem_end(text: &str) -> Option<usize> {
    let start = ["-----END ", "---- END "]
        .iter()
        .filter_map(|end| Some(text.find(end)? + end.len()))
        .min()?;
    let close = text[start..].find("----").map(|at| start + at + 4);
    let close = close.filter(|at| at - start < 80).unwrap_or(start);
    Some(text.len() - text[close..].trim_start_matches('-').len())
}

/// Returns the first bytes of a text, in whole characters.
pub(super) fn head(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns the last bytes of a text, in whole characters.
pub(super) fn tail(text: &str, bytes: usize) -> &str {
    &text[boundary(text, text.len().saturating_sub(bytes))..]
}
