//! Tests of error messages that cannot omit a variant.

/// Asserts the text of every variant, one row each: a variant without a row does not compile.
macro_rules! assert_texts {
    ($type:ty: $($variant:pat = $error:expr => $text:expr;)+) => {{
        // No wildcard: the rows cover the type.
        let row_of = |error: &$type| match error {
            $($variant => stringify!($variant),)+
        };
        $(
            let error: $type = $error;
            assert_eq!(row_of(&error), stringify!($variant), "the row's error is of another row");
            assert_eq!(error.to_string(), $text);
        )+
    }};
}

pub(crate) use assert_texts;
