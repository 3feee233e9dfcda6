//! Codes: the words for the variants of stored and sent enums.

use std::fmt;

use crate::document::instead;

/// An error for a text that is not a variant of an enum.
///
/// ```
/// use choreo_deploy::workload::Protocol;
///
/// assert_eq!("grpc".parse(), Ok(Protocol::Grpc));
/// let error = "htpp".parse::<Protocol>().unwrap_err();
/// assert_eq!(error.to_string(), "protocol \"htpp\" is not known: did you mean \"http\"?");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownCode {
    of: &'static str,
    text: String,
    instead: String,
}

impl UnknownCode {
    pub(crate) fn new(of: &'static str, text: &str, known: &[&str]) -> Self {
        Self {
            of,
            text: text.chars().take(64).collect(),
            instead: instead(text, known),
        }
    }
}

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, text, instead } = self;
        write!(f, "{of} {text:?} is not known: {instead}")
    }
}

impl std::error::Error for UnknownCode {}

/// Implements `as_str`, `Display`, `FromStr`, `Serialize` and `Deserialize` with one word for each
/// variant.
macro_rules! codes {
    ($type:ident, $of:literal, { $($name:ident = $text:literal,)* }) => {
        impl $type {
            /// All variants.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the word that is stored and sent.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::code::UnknownCode;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(crate::code::UnknownCode::new($of, text, &[$($text,)*])),
                }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use codes;

#[cfg(test)]
mod tests {
    use crate::backend::BackendErrorKind;
    use crate::deployment::Phase;
    use crate::document::DocumentProblemCode;
    use crate::intake::IntakeErrorKind;
    use crate::reason::ReasonCode;
    use crate::rollout::RolloutPhase;
    use crate::run::RunPhase;
    use crate::store::StoreErrorKind;
    use crate::workload::{ComponentType, Concurrency, Protocol, Visibility};

    /// Each variant has the same kebab-case word in every conversion.
    macro_rules! have_codes {
        ($($type:ty),* $(,)?) => {
            $(
                for (i, code) in <$type>::ALL.iter().enumerate() {
                    let text = code.as_str();
                    let is_plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
                    assert!(text.bytes().all(is_plain), "{text}");
                    assert!(<$type>::ALL[..i].iter().all(|other| other.as_str() != text), "{text}");
                    assert_eq!(code.to_string(), text);
                    assert_eq!(text.parse::<$type>().unwrap(), *code);
                    assert_eq!(serde_json::to_value(code).unwrap(), text);
                    assert_eq!(serde_json::from_value::<$type>(text.into()).unwrap(), *code);
                    // An escaped text, which a deserializer cannot borrow.
                    let escaped = format!("\"\\u{:04x}{}\"", text.as_bytes()[0], &text[1..]);
                    assert_eq!(serde_json::from_str::<$type>(&escaped).unwrap(), *code);
                }
                let error = "no such word".parse::<$type>().unwrap_err().to_string();
                assert!(error.contains(" \"no such word\" is not known: "), "{error}");
            )*
        };
    }

    #[test]
    fn every_choice_is_its_word_in_every_direction() {
        have_codes!(
            BackendErrorKind,
            ComponentType,
            Concurrency,
            DocumentProblemCode,
            IntakeErrorKind,
            Phase,
            Protocol,
            ReasonCode,
            RolloutPhase,
            RunPhase,
            StoreErrorKind,
            Visibility,
        );
    }
}
