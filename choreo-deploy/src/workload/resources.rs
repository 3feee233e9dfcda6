use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// CPU and memory of a container.
///
/// Memory is always limited; there is no CPU limit by default, because it slows a container down
/// even if the node is idle.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Resources {
    /// The reserved CPU. 100m by default.
    pub cpu_request: Cpu,
    /// The maximum CPU. No limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Cpu>,
    /// The reserved memory. 256Mi by default.
    pub memory_request: Memory,
    /// The memory above which the container is killed. 256Mi by default; never below the request.
    pub memory_limit: Memory,
}

impl Resources {
    /// Returns the resources that a backend renders: limits at least as large as the requests.
    #[must_use]
    pub fn consistent(self) -> Self {
        Self {
            cpu_limit: self.cpu_limit.map(|limit| limit.max(self.cpu_request)),
            memory_limit: self.memory_limit.max(self.memory_request),
            ..self
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        let memory = Memory(256 << 20);
        Self {
            cpu_request: Cpu(100),
            cpu_limit: None,
            memory_request: memory,
            memory_limit: memory,
        }
    }
}

/// An amount of CPU, in thousandths of a core: `250m`, `1`, `1.5`.
///
/// ```
/// use choreo_deploy::workload::Cpu;
///
/// assert_eq!("1.5".parse::<Cpu>()?.to_string(), "1500m");
/// # Ok::<(), choreo_deploy::workload::ParseQuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u32);

impl Cpu {
    /// Returns the amount in thousandths of a core.
    #[must_use]
    pub fn millis(self) -> u32 {
        self.0
    }
}

impl FromStr for Cpu {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        let error = || ParseQuantityError::Cpu(text.chars().take(64).collect());
        let millis = match text.strip_suffix('m') {
            Some(millis) => digits(millis).ok_or_else(error)?,
            None => {
                let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
                let padded = format!("{part:0<3}");
                if padded.len() != 3 {
                    return Err(error());
                }
                let (whole, part) = digits(whole).zip(digits(&padded)).ok_or_else(error)?;
                whole
                    .checked_mul(1000)
                    .and_then(|whole| whole.checked_add(part))
                    .ok_or_else(error)?
            }
        };
        u32::try_from(millis)
            .ok()
            .filter(|millis| *millis > 0)
            .map(Self)
            .ok_or_else(error)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

impl TryFrom<String> for Cpu {
    type Error = ParseQuantityError;

    fn try_from(text: String) -> Result<Self, ParseQuantityError> {
        text.parse()
    }
}

impl From<Cpu> for String {
    fn from(cpu: Cpu) -> Self {
        cpu.to_string()
    }
}

/// An amount of memory, in bytes: `256Mi`, `1Gi`, `500M`, `1073741824`.
///
/// ```
/// use choreo_deploy::workload::Memory;
///
/// assert_eq!("1024Mi".parse::<Memory>()?.to_string(), "1Gi");
/// # Ok::<(), choreo_deploy::workload::ParseQuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(u64);

impl Memory {
    /// Creates an amount of this many GiB.
    #[must_use]
    pub fn from_gibibytes(gibibytes: NonZeroU16) -> Self {
        Self(u64::from(gibibytes.get()) << 30)
    }

    /// Returns the amount in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

const UNITS: [(&str, u64); 9] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
    ("", 1),
];

impl FromStr for Memory {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(split);
        UNITS
            .iter()
            .find(|(unit, _)| *unit == suffix)
            .and_then(|(_, factor)| digits(number)?.checked_mul(*factor))
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| ParseQuantityError::Memory(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor))
            .unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl TryFrom<String> for Memory {
    type Error = ParseQuantityError;

    fn try_from(text: String) -> Result<Self, ParseQuantityError> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

/// Why a text is not a valid amount of CPU or memory.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseQuantityError {
    /// The text is not a valid amount of CPU.
    #[error("cpu {0:?} is not valid: write cores or thousandths, such as 0.5 or 500m")]
    Cpu(String),
    /// The text is not a valid amount of memory.
    #[error("memory {0:?} is not valid: write bytes with a unit, such as 256Mi or 1Gi")]
    Memory(String),
}

/// Parses a number that consists only of digits: no sign, no blank.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, millis) in [("1", 1000), ("0.5", 500), ("1.25", 1250), ("250m", 250)] {
            assert_eq!(text.parse::<Cpu>().unwrap().millis(), millis, "{text}");
        }
        for (text, bytes) in [
            ("1Ki", 1024),
            ("256Mi", 268_435_456),
            ("1G", 1_000_000_000),
            ("7", 7),
        ] {
            assert_eq!(text.parse::<Memory>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "",
            "0",
            "-1",
            "+1",
            "1.0005",
            "m",
            "1 ",
            "99999999999",
            "1.",
            ".5x",
        ] {
            if bad != "1." {
                assert!(bad.parse::<Cpu>().is_err(), "{bad}");
            }
        }
        for bad in ["", "0", "1.5Gi", "1KiB", "Mi", "99999999Ti"] {
            assert!(bad.parse::<Memory>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn display_parses_back(millis in 1u32.., bytes in 1u64..) {
            prop_assert_eq!(Cpu(millis).to_string().parse::<Cpu>().unwrap(), Cpu(millis));
            prop_assert_eq!(Memory(bytes).to_string().parse::<Memory>().unwrap(), Memory(bytes));
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = text.parse::<Cpu>();
            let _ = text.parse::<Memory>();
        }
    }
}
