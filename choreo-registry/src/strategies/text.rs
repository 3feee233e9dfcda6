//! Texts from regular expressions.

use proptest::strategy::Strategy;
use proptest::string::string_regex;

/// Texts that the expression matches. A string is also such a strategy, but parses the expression
/// again for each value, which takes ten times longer.
pub(super) fn like(pattern: &'static str) -> impl Strategy<Value = String> + use<> {
    string_regex(pattern).expect("the expressions of this module are constants that are tested")
}
