//! The day of a release, written `2017-01-15`: what a build takes as its clock.

use crate::{Error, error::format_error};
use std::{fmt, str::FromStr};

/// A day of the Gregorian calendar, 1980 to 2199 (zip files know no earlier year).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

const FORM: &str = "a day as year-month-day between 1980 and 2199, such as \"2017-01-15\"";
const YEAR_MIN: u16 = 1980;
const YEAR_MAX: u16 = 2199;

impl Date {
    /// A day, if there is such a day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let valid = (YEAR_MIN..=YEAR_MAX).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_of_month(year, month)).contains(&day);
        valid.then_some(Self { year, month, day })
    }
    /// The day of a moment, in seconds since 1970, UTC.
    pub fn of_epoch_secs(secs: u64) -> Option<Self> {
        let mut days = secs / 86_400;
        for year in 1970..=YEAR_MAX {
            let in_year = if is_leap(year) { 366 } else { 365 };
            if days >= in_year {
                days -= in_year;
                continue;
            }
            for month in 1..=12 {
                let in_month = u64::from(days_of_month(year, month));
                if days < in_month {
                    return Self::new(year, month, u8::try_from(days + 1).ok()?);
                }
                days -= in_month;
            }
        }
        None
    }
    /// Midnight UTC, in seconds since 1970: `SOURCE_DATE_EPOCH`.
    pub fn epoch_secs(&self) -> u64 {
        let years: u64 = (1970..self.year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        let months: u64 = (1..self.month).map(|month| u64::from(days_of_month(self.year, month))).sum();
        (years + months + u64::from(self.day) - 1) * 86_400
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}
impl FromStr for Date {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || format_error("date", FORM, text);
        let shape = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let mut parts = text.split('-');
        let (Some(year), Some(month), Some(day), None, true) =
            (parts.next(), parts.next(), parts.next(), parts.next(), shape)
        else {
            return Err(wrong());
        };
        if (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return Err(wrong());
        }
        let (Ok(year), Ok(month), Ok(day)) = (year.parse(), month.parse(), day.parse()) else { return Err(wrong()) };
        Self::new(year, month, day).ok_or_else(wrong)
    }
}
crate::text::serde_as_text!(Date);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_on_the_day_whose_midnight_came_before_it() {
        for day in ["1980-01-01", "2017-01-15", "2024-02-29", "2024-12-31", "2199-12-31"] {
            let date: Date = day.parse().unwrap();
            for moment in [date.epoch_secs(), date.epoch_secs() + 86_399] {
                assert_eq!(Date::of_epoch_secs(moment), Some(date));
            }
        }
        assert_eq!((Date::of_epoch_secs(0), Date::of_epoch_secs(u64::MAX)), (None, None));
    }

    #[test]
    fn midnight_of_a_day_is_counted_from_1970() {
        for (day, epoch) in [("2017-01-15", 1_484_438_400), ("2000-02-29", 951_782_400), ("1980-01-01", 315_532_800)] {
            assert_eq!(day.parse::<Date>().unwrap().epoch_secs(), epoch, "{day}");
        }
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused() {
        for day in [
            "2017-02-29",
            "2017-13-01",
            "2017-00-01",
            "1979-12-31",
            "2200-01-01",
            "2017-1-15",
            "+017-01-15",
            "15.01.2017",
            "",
        ] {
            assert!(day.parse::<Date>().is_err(), "{day}");
        }
    }
}
