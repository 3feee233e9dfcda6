//! The order of all writes to a target.

use std::fmt;
use std::str::FromStr;

use choreo_deploy::backend::Intent;
use choreo_deploy::deployment::Generation;

/// A generation, and the order within it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Stamp {
    pub(crate) generation: Generation,
    pub(crate) rank: Rank,
}

/// The order within a generation.
///
/// A release that was deployed by tag is applied again by the observed digest, at the same
/// generation. A worker that lost its claim unnoticed may still apply the tag, and is stale then.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Rank {
    /// A release by tag.
    ByTag,
    /// A release by digest, or a removal.
    Pinned,
    /// The state to which the generation was taken back.
    TakenBack,
}

impl Rank {
    /// Returns the suffix of the written generation.
    fn suffix(self) -> &'static str {
        match self {
            Self::ByTag => "-by-tag",
            Self::Pinned => "",
            Self::TakenBack => "-taken-back",
        }
    }
}

impl Stamp {
    /// Returns the stamp of a removal, or of a release that is applied by digest.
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            rank: Rank::Pinned,
        }
    }

    /// Returns the stamp of an intent that is applied.
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

    /// Returns the stamp with which a generation is taken back.
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
