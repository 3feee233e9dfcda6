//! Suggestions for a word that is not known.

use std::fmt::Display;

/// The maximum number of known words in a message.
const LISTED: usize = 20;

/// Returns what to write instead of a word: `did you mean "orders"? use one of orders, report`.
pub(crate) fn instead(word: &str, known: impl IntoIterator<Item = impl Display>) -> String {
    let mut known: Vec<String> = known.into_iter().map(|known| known.to_string()).collect();
    if known.is_empty() {
        return "none exists".to_owned();
    }
    let near = known
        .iter()
        .map(|known| (distance(word, known), known))
        .filter(|(distance, known)| distance * 3 <= known.len())
        .min();
    let meant = near.map(|(_, known)| format!("did you mean {known:?}? "));
    let more = known.len().saturating_sub(LISTED);
    known.truncate(LISTED);
    let mut text = format!(
        "{}use one of {}",
        meant.unwrap_or_default(),
        known.join(", ")
    );
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Returns the number of characters to change to get from one word to the other. Case, `_` and `-` are
/// ignored, and a swap of two neighbours counts once.
fn distance(one: &str, other: &str) -> usize {
    let plain = |word: &str| -> Vec<char> {
        let kept = word.chars().take(64).filter(|c| !"_-".contains(*c));
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    let (one, other) = (plain(one), plain(other));
    let (mut before, mut last) = (Vec::new(), (0..=other.len()).collect::<Vec<_>>());
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let same = one[i - 1] == other[j - 1];
            let mut cost = (last[j - 1] + usize::from(!same)).min(last[j].min(row[j - 1]) + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                let swapped: &Vec<usize> = &before;
                cost = cost.min(swapped[j - 2] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_near_is_offered() {
        for (word, said) in [
            (
                "orderz",
                "did you mean \"orders\"? use one of orders, docker_config",
            ),
            (
                "ordesr",
                "did you mean \"orders\"? use one of orders, docker_config",
            ),
            (
                "docker-konfig",
                "did you mean \"docker_config\"? use one of orders, docker_config",
            ),
            (
                "Orders",
                "did you mean \"orders\"? use one of orders, docker_config",
            ),
            ("nobody", "use one of orders, docker_config"),
            ("", "use one of orders, docker_config"),
        ] {
            assert_eq!(instead(word, ["orders", "docker_config"]), said, "{word}");
        }
        assert_eq!(instead("orders", [""; 0]), "none exists");
        let many = (0..50).map(|number| format!("component-{number}"));
        assert!(instead("x", many).ends_with("component-19 and 30 more"));
    }
}
