use std::num::NonZeroU16;

use serde::Serialize;

/// The number of copies: a fixed number, or a range with a target for CPU use.
///
/// Written `{"replicas": 2}` or `{"minimum": 1, "maximum": 5, "cpu_percent": 70}`.
///
/// ```
/// use choreo_deploy::workload::Scaling;
///
/// assert_eq!(Scaling::default(), Scaling::fixed(1));
/// assert!(Scaling::range(2.try_into()?, 1.try_into()?, 80).is_err());
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(into = "ScalingFields")]
pub struct Scaling {
    minimum: u16,
    maximum: u16,
    cpu_percent: u8,
}

impl Scaling {
    /// Creates a fixed number of copies. 0 suspends the component.
    #[must_use]
    pub fn fixed(replicas: u16) -> Self {
        Self {
            minimum: replicas,
            maximum: replicas,
            cpu_percent: 80,
        }
    }

    /// Creates a range of copies, which use about this percentage of their requested CPU.
    ///
    /// # Errors
    ///
    /// Returns [`ScalingError::Range`] if the maximum is below the minimum, and
    /// [`ScalingError::CpuGoal`] if the target is not between 1 and 100 percent.
    pub fn range(
        minimum: NonZeroU16,
        maximum: NonZeroU16,
        cpu_percent: u8,
    ) -> Result<Self, ScalingError> {
        let (minimum, maximum) = (minimum.get(), maximum.get());
        if maximum < minimum {
            return Err(ScalingError::Range { minimum, maximum });
        }
        if !(1..=100).contains(&cpu_percent) {
            return Err(ScalingError::CpuGoal(cpu_percent));
        }
        Ok(Self {
            minimum,
            maximum,
            cpu_percent,
        })
    }

    /// Returns the minimum number of copies.
    #[must_use]
    pub fn minimum(&self) -> u16 {
        self.minimum
    }

    /// Returns the maximum number of copies.
    #[must_use]
    pub fn maximum(&self) -> u16 {
        self.maximum
    }

    /// Returns the target for CPU use, in percent of the requested CPU, if the number may change.
    #[must_use]
    pub fn cpu_goal(&self) -> Option<u8> {
        (self.maximum > self.minimum).then_some(self.cpu_percent)
    }
}

impl Default for Scaling {
    fn default() -> Self {
        Self::fixed(1)
    }
}

/// The wire form: `{"replicas": 2}` or `{"minimum": 1, "maximum": 5, "cpu_percent": 70}`.
#[derive(Serialize)]
#[serde(untagged)]
enum ScalingFields {
    Fixed {
        replicas: u16,
    },
    Range {
        minimum: NonZeroU16,
        maximum: NonZeroU16,
        cpu_percent: u8,
    },
}

impl From<Scaling> for ScalingFields {
    fn from(scaling: Scaling) -> Self {
        match (
            NonZeroU16::new(scaling.minimum),
            NonZeroU16::new(scaling.maximum),
        ) {
            (Some(minimum), Some(maximum)) if maximum > minimum => Self::Range {
                minimum,
                maximum,
                cpu_percent: scaling.cpu_percent,
            },
            _ => Self::Fixed {
                replicas: scaling.minimum,
            },
        }
    }
}

/// Why a number of copies is not valid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScalingError {
    /// The target is not a percentage of CPU.
    #[error("cpu goal {0} is not valid: use 1 to 100 percent")]
    CpuGoal(u8),
    /// The maximum is below the minimum.
    #[error("maximum of {maximum} replicas is below the minimum of {minimum}: raise the maximum")]
    Range {
        /// The requested minimum.
        minimum: u16,
        /// The requested maximum.
        maximum: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_says_what_it_expects() {
        let range = Scaling::range(NonZeroU16::MIN, NonZeroU16::MAX, 70).unwrap();
        for scaling in [Scaling::fixed(0), Scaling::fixed(3), range] {
            let json = serde_json::to_string(&scaling).unwrap();
            assert_eq!(serde_json::from_str::<Scaling>(&json).unwrap(), scaling);
        }
        for (bad, expected) in [
            (
                r#"{"replica": 3}"#,
                "replicas: is missing; replica: is not known: did you mean \"replicas\"?",
            ),
            (
                r#"{"replicas": 3, "maxx": 9}"#,
                "maxx: is not known: use one of replicas",
            ),
            (
                r#"{"replicas": 3, "minimum": 1}"#,
                "maximum: is missing; cpu_percent: is missing; has replicas and a range: write replicas alone, or minimum, maximum and cpu_percent",
            ),
            ("7", "is a number: write an object"),
        ] {
            let error = serde_json::from_str::<Scaling>(bad).unwrap_err();
            assert_eq!(error.to_string(), expected, "{bad}");
        }
    }
}
