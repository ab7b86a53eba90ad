//! A point in time in whole seconds, written as RFC 3339 in UTC: `2026-11-03T12:00:00Z`.

use crate::{Error, Result};
use std::{fmt, str::FromStr};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Seconds since 1970 in UTC, within the years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// A time given in seconds since 1970.
    pub fn from_unix(seconds: i64) -> Result<Self> {
        OffsetDateTime::from_unix_timestamp(seconds)
            .ok()
            .filter(|time| (1..=9999).contains(&time.year()))
            .map(Self)
            .ok_or_else(|| Error::field("time", "seconds", format!("{seconds} is not within the years 1 to 9999")))
    }

    /// Seconds since 1970.
    pub fn unix(self) -> i64 {
        self.0.unix_timestamp()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0;
        let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", t.hour(), t.minute(), t.second())
    }
}

impl FromStr for Timestamp {
    type Err = Error;
    /// Only the form that [`Timestamp`] writes is read, so a time has one spelling.
    fn from_str(text: &str) -> Result<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self).filter(|time| time.to_string() == text).ok_or_else(|| {
            Error::field("time", "text", format!("`{}` is not like 2026-11-03T12:00:00Z", crate::json::shown(text)))
        })
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_spelling() {
        let time = Timestamp::from_unix(1_793_707_200).unwrap();
        assert_eq!(time.to_string(), "2026-11-03T12:00:00Z");
        assert_eq!("2026-11-03T12:00:00Z".parse::<Timestamp>().unwrap(), time);
        for other in ["2026-11-03T12:00:00.000Z", "2026-11-03T13:00:00+01:00", "2026-11-03t12:00:00z", "2026-11-03"] {
            assert!(other.parse::<Timestamp>().is_err(), "{other}");
        }
        assert!(Timestamp::from_unix(i64::MAX).is_err());
    }
}
