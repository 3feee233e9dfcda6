//! The place of what is written in the order of all that is written to a target.

use std::fmt;
use std::str::FromStr;

use choreo_deploy::deployment::Generation;

/// What is written after the generation of what was taken back.
const SUFFIX: &str = "-taken-back";

/// A generation, or the state it was taken back to, which comes after it and before the next one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Stamp {
    pub(crate) generation: Generation,
    pub(crate) is_taken_back: bool,
}

impl Stamp {
    /// Of what is applied or removed.
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            is_taken_back: false,
        }
    }

    /// Of what takes a generation back.
    pub(crate) fn taking_back(generation: Generation) -> Self {
        Self {
            generation,
            is_taken_back: true,
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.is_taken_back { SUFFIX } else { "" };
        write!(f, "{}{suffix}", self.generation)
    }
}

impl FromStr for Stamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (generation, is_taken_back) = match text.strip_suffix(SUFFIX) {
            Some(generation) => (generation, true),
            None => (text, false),
        };
        Ok(Self {
            generation: generation.parse().map_err(|_| ())?,
            is_taken_back,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_comes_between_two_generations() {
        let generation = |number| Generation::new(0, number);
        let order = [
            Stamp::new(generation(6)),
            Stamp::taking_back(generation(6)),
            Stamp::new(generation(7)),
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
        for stamp in order {
            assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }
        assert_eq!(order[1].to_string(), "0.6-taken-back");
    }
}
