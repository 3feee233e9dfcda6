//! What a token is for: `repository:team/app:pull`.
//!
//! The grammar is that of [distribution's token
//! scopes](https://distribution.github.io/distribution/spec/auth/scope/):
//! `type[(class)]:name:actions`, several of them with blanks between. A name may hold a colon (a
//! port), so the type ends at the first one and the actions begin after the last.

use std::collections::{BTreeMap, BTreeSet};

/// The scope that a challenge names, as this client asks for it: each resource once, in order, and
/// of a repository nothing but `pull`.
///
/// A client that only reads never asks for a right to write, whatever a registry says. A scope of
/// another shape (`aws` of Amazon ECR Public, `registry:catalog:*`) is asked for as it stands.
/// `None` when nothing is left.
pub(crate) fn for_reading(scope: &str) -> Option<String> {
    let mut repositories = BTreeMap::<(&str, &str), BTreeSet<&str>>::new();
    let mut others = BTreeSet::new();
    for word in scope.split(' ').filter(|word| !word.is_empty()) {
        match parts(word) {
            Some((kind, name, actions)) if is_repository(kind) => {
                let reads = actions
                    .split(',')
                    .filter(|action| matches!(*action, "pull" | "*"));
                repositories
                    .entry((kind, name))
                    .or_default()
                    .extend(reads.map(|_| "pull"));
            }
            _ => {
                others.insert(word);
            }
        }
    }
    let repositories = repositories
        .into_iter()
        .filter(|(_, actions)| !actions.is_empty())
        .map(|((kind, name), _)| format!("{kind}:{name}:pull"));
    let words: Vec<_> = repositories
        .chain(others.into_iter().map(str::to_owned))
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

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
            ("aws", "aws"),
            ("registry:catalog:*", "registry:catalog:*"),
            (
                "registry:catalog:* repository:a:pull",
                "repository:a:pull registry:catalog:*",
            ),
            ("repository:a", "repository:a"),
        ];
        for (scope, expected) in table {
            assert_eq!(for_reading(scope).as_deref(), Some(expected), "{scope}");
        }
        for nothing in ["", "  ", "repository:a:push", "repository:a:delete,push"] {
            assert_eq!(for_reading(nothing), None, "{nothing}");
        }
    }

    proptest! {
        /// What was asked for once is asked for in the same way again, and never writes.
        #[test]
        fn reading_is_all_there_is(scope in "(repository:[ab:]{1,3}:(pull|push|\\*|delete)(,(pull|push))? ){0,4}") {
            let Some(once) = for_reading(&scope) else { return Ok(()) };
            let again = for_reading(&once);
            prop_assert_eq!(again.as_ref(), Some(&once));
            prop_assert!(once.split(' ').all(|word| word.ends_with(":pull")), "{}", once);
        }
    }
}
