//! Values of rows that somebody else may have written.

use reverb_mysql::mysql_async::{Row, Value};
use time::{Date, Month, OffsetDateTime};

/// Text, in whatever encoding; nothing if there is none.
pub(super) fn text(row: &mut Row, column: &str) -> String {
    match row.take::<Value, _>(column) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

/// A number that is not below zero.
pub(super) fn number(row: &mut Row, column: &str) -> Option<u64> {
    match row.take::<Value, _>(column)? {
        Value::UInt(number) => Some(number),
        Value::Int(number) => Some(number.max(0) as u64),
        Value::Bytes(bytes) => std::str::from_utf8(&bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// A time of day in UTC, whatever time zone the server is in: Laravel writes it so.
pub(super) fn time(row: &mut Row, column: &str) -> Option<u64> {
    let Some(Value::Date(year, month, day, hour, minute, second, _)) = row.take(column) else {
        return None;
    };
    let month = Month::try_from(month).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, day).ok()?;
    let at = date.with_hms(hour, minute, second).ok()?.assume_utc();
    u64::try_from(at.unix_timestamp()).ok()
}

/// The same the other way round.
pub(super) fn time_of_day(unix: u64) -> Value {
    let at = i64::try_from(unix).ok();
    let Some(at) = at.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()) else {
        return Value::NULL;
    };
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let year = u16::try_from(year).unwrap_or_default();
    Value::Date(year, month.into(), day, hour, minute, second, 0)
}
