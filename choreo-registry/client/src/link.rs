//! The `Link` header, which names the next page of a list
//! ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288#section-3)).

use http::{HeaderMap, header::LINK};

/// Returns the target of the first link with the relation `next`; `None` if there is none that can be
/// parsed.
pub(super) fn next(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(LINK).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .find_map(next_in)
}

fn next_in(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some(start) = rest.find('<') {
        let (target, after) = rest[start + 1..].split_once('>')?;
        let (is_next, after) = parameters(after);
        if is_next {
            return Some(target);
        }
        rest = after;
    }
    None
}

/// Reads the parameters of one link. Returns whether its relation is `next`, and the text after it.
fn parameters(mut rest: &str) -> (bool, &str) {
    let mut relation = None;
    loop {
        rest = rest.trim_start_matches(BLANK);
        let Some(parameter) = rest.strip_prefix(';') else {
            return (relation == Some(true), rest);
        };
        let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
        let (name, after) = parameter.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => value(after.trim_start_matches(BLANK)),
            None => ("", after),
        };
        if name.trim_matches(BLANK).eq_ignore_ascii_case("rel") && relation.is_none() {
            // Only the first one counts. It may contain several relations.
            let mut names = value.split_ascii_whitespace();
            relation = Some(names.any(|name| name.eq_ignore_ascii_case("next")));
        }
        rest = after;
    }
}

/// Returns a token or a quoted string, and the text after it.
fn value(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return (token.trim_end_matches(BLANK), rest);
    };
    let mut escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            '"' if !escaped => return (&quoted[..at], &quoted[at + 1..]),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (quoted, "")
}

const BLANK: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (LINK, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_link_to_the_next_page_is_found_however_it_is_written() {
        for values in [
            &[r#"</v2/a/tags/list?last=b&n=2>; rel="next""#][..],
            &["</v2/a/tags/list?last=b&n=2>;rel=next"],
            &[r#"  </v2/a/tags/list?last=b&n=2>  ;  REL = "Next" "#],
            &[r#"</v2/a/tags/list?last=b&n=2>; title="a;b, <c>"; rel="last next""#],
            &[r#"</first>; rel="first", </v2/a/tags/list?last=b&n=2>; rel="next""#],
            &[
                r#"</first>; rel="first""#,
                r#"</v2/a/tags/list?last=b&n=2>; rel="next""#,
            ],
            &[r#"</v2/a/tags/list?last=b&n=2>; rel="next"; rel="prev", </x>; rel="next""#],
            &[r#"</v2/a/tags/list?last=b&n=2>; title="\"quoted\""; rel="next""#],
        ] {
            assert_eq!(
                next(&of(values)),
                Some("/v2/a/tags/list?last=b&n=2"),
                "{values:?}"
            );
        }
    }

    #[test]
    fn other_links_are_none() {
        for value in [
            "",
            "</x>",
            "</x>; rel",
            r#"</x>; rel="nextpage""#,
            r#"</x>; rel="prev"; rel="next""#,
            r#"</x>; rev="next""#,
            r#"</x; rel="next""#,
            r#"/x; rel="next""#,
            r#"</x>; title="rel=next""#,
            r#"</x>, rel="next""#,
        ] {
            assert_eq!(next(&of(&[value])), None, "{value}");
        }
        assert_eq!(next(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd(value in "[<>;,=\" \\\\a-z]{0,40}") {
            if let Some(target) = next_in(&value) {
                let whole = format!("<{target}>");
                prop_assert!(value.contains(&whole));
            }
        }
    }
}
