//! The place of what is written in the order of all that is written to a target.

use std::fmt;
use std::str::FromStr;

use choreo_deploy::backend::Intent;
use choreo_deploy::deployment::Generation;

/// A generation, and what comes first and last within it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Stamp {
    pub(crate) generation: Generation,
    pub(crate) rank: Rank,
}

/// The order within a generation.
///
/// What is deployed by a tag is applied again by the digest that was observed, at the same generation.
/// A worker that has lost its claim and does not know it may still apply the tag: it is stale then.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Rank {
    /// Applied by a tag.
    ByTag,
    /// Applied by a digest, or removed.
    Pinned,
    /// The state that the generation was taken back to.
    TakenBack,
}

impl Rank {
    /// What is written after the generation.
    fn suffix(self) -> &'static str {
        match self {
            Self::ByTag => "-by-tag",
            Self::Pinned => "",
            Self::TakenBack => "-taken-back",
        }
    }
}

impl Stamp {
    /// Of what is applied by a digest, or removed.
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            rank: Rank::Pinned,
        }
    }

    /// Of what is applied.
    pub(crate) fn of(intent: &Intent<'_>) -> Self {
        let is_pinned = intent.release.image.deployed().digest().is_some();
        Self {
            generation: intent.generation,
            rank: match is_pinned {
                true => Rank::Pinned,
                false => Rank::ByTag,
            },
        }
    }

    /// Of what takes a generation back.
    pub(crate) fn taking_back(generation: Generation) -> Self {
        Self {
            generation,
            rank: Rank::TakenBack,
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.generation, self.rank.suffix())
    }
}

impl FromStr for Stamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let marked = [Rank::ByTag, Rank::TakenBack];
        let found = marked
            .into_iter()
            .find_map(|rank| Some((text.strip_suffix(rank.suffix())?, rank)));
        let (generation, rank) = found.unwrap_or((text, Rank::Pinned));
        Ok(Self {
            generation: generation.parse().map_err(|_| ())?,
            rank,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_comes_first_in_its_generation_and_what_is_taken_back_last() {
        let generation = |number| Generation::new(0, number);
        let by_tag = Stamp {
            generation: generation(6),
            rank: Rank::ByTag,
        };
        let order = [
            Stamp::taking_back(generation(5)),
            by_tag,
            Stamp::new(generation(6)),
            Stamp::taking_back(generation(6)),
            Stamp::new(generation(7)),
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
        for stamp in order {
            assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }
        let texts = order.map(|stamp| stamp.to_string());
        assert_eq!(
            texts,
            [
                "0.5-taken-back",
                "0.6-by-tag",
                "0.6",
                "0.6-taken-back",
                "0.7"
            ]
        );
    }
}
