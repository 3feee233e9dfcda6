//! The scope of a token: `repository:team/app:pull`.
//!
//! The grammar is that of [distribution's token
//! scopes](https://distribution.github.io/distribution/spec/auth/scope/):
//! `type[(class)]:name:actions`, several of them with blanks between. A name may contain a colon
//! (a port), so the type ends at the first colon and the actions begin after the last.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the scope of a challenge as this client requests it: each resource once, in order, with
/// read actions only.
///
/// A client that only reads never requests write access, whatever the challenge names, for any
/// type of resource. A scope of another form (`aws` of Amazon ECR Public) is requested unchanged.
/// Returns `None` if nothing is left. Token servers split scopes at any blank, so a word that
/// contains another blank is two words; a word with a control character is dropped.
pub(crate) fn for_reading(scope: &str) -> Option<String> {
    let mut repositories = BTreeMap::<(&str, &str), BTreeSet<&str>>::new();
    let mut others = BTreeSet::new();
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_graphic());
    for word in scope.split_ascii_whitespace().filter(is_word) {
        match parts(word) {
            Some((kind, name, actions)) => {
                let reads = actions.split(',').filter_map(|action| {
                    let is_all = action == "*" && is_repository(kind);
                    let action = if is_all { "pull" } else { action };
                    READING.iter().find(|reading| **reading == action).copied()
                });
                repositories.entry((kind, name)).or_default().extend(reads);
            }
            None => {
                others.insert(word);
            }
        }
    }
    let repositories = repositories
        .into_iter()
        .filter(|(_, actions)| !actions.is_empty())
        .map(|((kind, name), actions)| {
            let actions: Vec<_> = actions.into_iter().collect();
            format!("{kind}:{name}:{}", actions.join(","))
        });
    let words: Vec<_> = repositories
        .chain(others.into_iter().map(str::to_owned))
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The names of read actions: `pull` everywhere, and two more at Azure Container Registry, which
/// requires only `metadata_read` for listing tags.
const READING: [&str; 3] = ["content_read", "metadata_read", "pull"];

fn parts(word: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = word.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    Some((kind, name, actions))
}

fn is_repository(kind: &str) -> bool {
    kind == "repository" || kind.starts_with("repository(")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scopes_are_merged_and_ask_for_pulling_only() {
        let table = [
            ("repository:team/app:pull", "repository:team/app:pull"),
            ("repository:team/app:pull,push", "repository:team/app:pull"),
            ("repository:team/app:push,pull", "repository:team/app:pull"),
            ("repository:team/app:*", "repository:team/app:pull"),
            (
                "repository:b:pull repository:a:pull  repository:b:pull",
                "repository:a:pull repository:b:pull",
            ),
            (
                "repository(plugin):team/app:pull,push",
                "repository(plugin):team/app:pull",
            ),
            // The name has a port.
            (
                "repository:localhost:5000/app:pull",
                "repository:localhost:5000/app:pull",
            ),
            // Azure Container Registry, for tags/list.
            (
                "repository:team/app:metadata_read",
                "repository:team/app:metadata_read",
            ),
            (
                "repository:team/app:metadata_write,pull,metadata_read,delete",
                "repository:team/app:metadata_read,pull",
            ),
            ("aws", "aws"),
            ("registry:catalog:* repository:a:pull", "repository:a:pull"),
            // Other blanks, and other types of resources.
            (
                "a:b:pull\trepository:team/app:pull,push",
                "a:b:pull repository:team/app:pull",
            ),
            ("repository:a:push\tb:*\n aws", "aws b:*"),
            ("aws\u{1}b c\u{a0}d e", "e"),
            ("Repository:a:push,pull", "Repository:a:pull"),
            (
                "artifact-repository:a:push,delete,pull",
                "artifact-repository:a:pull",
            ),
            ("repository:a", "repository:a"),
        ];
        for (scope, expected) in table {
            assert_eq!(for_reading(scope).as_deref(), Some(expected), "{scope}");
        }
        for nothing in [
            "",
            "  ",
            "repository:a:push",
            "repository:a:delete,push",
            "registry:catalog:*",
            "Repository:a:push",
        ] {
            assert_eq!(for_reading(nothing), None, "{nothing}");
        }
    }

    proptest! {
        /// Guards that a requested scope is requested unchanged the next time, and never includes
        /// writing.
        #[test]
        fn reading_is_all_there_is(scope in "((repository|Repository|x-repository|registry):[ab:]{1,3}:(pull|push|\\*|delete|metadata_read)(,(pull|push|content_read))?[ \t\r\n\u{b}\u{c}\u{85}]){0,4}") {
            let Some(once) = for_reading(&scope) else { return Ok(()) };
            let again = for_reading(&once);
            prop_assert_eq!(again.as_ref(), Some(&once));
            let reads = |word: &str| {
                let (_, actions) = word.rsplit_once(':').unwrap();
                actions.split(',').all(|action| READING.contains(&action))
            };
            prop_assert!(once.split(' ').all(reads), "{}", once);
        }
    }
}
