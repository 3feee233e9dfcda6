use jiff::{SignedDuration, Timestamp};

/// The lifetime of a token: 1 to 365 days, 90 by default.
///
/// ```
/// use choreo_webhook::token::Lifetime;
///
/// assert_eq!(Lifetime::default().days(), 90);
/// assert_eq!(Lifetime::from_days(30)?.days(), 30);
/// assert_eq!(
///     Lifetime::from_days(366).unwrap_err().to_string(),
///     "token lifetime of 366 days is not valid: choose 1 to 365 days",
/// );
/// # Ok::<(), choreo_webhook::token::LifetimeError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lifetime {
    days: u16,
}

impl Lifetime {
    /// The default, 90 days.
    pub const DEFAULT: Self = Self { days: 90 };
    /// The maximum, 365 days.
    pub const MAX: Self = Self { days: 365 };

    /// Creates a lifetime from a number of days.
    ///
    /// # Errors
    ///
    /// Returns [`LifetimeError`] if the number is 0 or more than 365.
    ///
    /// ```
    /// use choreo_webhook::token::Lifetime;
    ///
    /// assert_eq!(Lifetime::from_days(365)?, Lifetime::MAX);
    /// assert!(Lifetime::from_days(0).is_err());
    /// # Ok::<(), choreo_webhook::token::LifetimeError>(())
    /// ```
    pub fn from_days(days: u16) -> Result<Self, LifetimeError> {
        if (1..=Self::MAX.days).contains(&days) {
            Ok(Self { days })
        } else {
            Err(LifetimeError { days })
        }
    }

    /// Returns the number of days, of 24 hours each.
    ///
    /// ```
    /// use choreo_webhook::token::Lifetime;
    ///
    /// assert_eq!(Lifetime::DEFAULT.days(), 90);
    /// ```
    #[must_use]
    pub fn days(self) -> u16 {
        self.days
    }

    pub(super) fn end(self, start: Timestamp) -> Timestamp {
        start
            .checked_add(SignedDuration::from_hours(24 * i64::from(self.days)))
            .unwrap_or(Timestamp::MAX)
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The error of a number of days that is not a valid lifetime.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("token lifetime of {days} days is not valid: choose 1 to {max} days", max = Lifetime::MAX.days)]
pub struct LifetimeError {
    days: u16,
}
