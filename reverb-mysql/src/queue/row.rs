//! What stands in a row: a job, or why it is none; a dead letter, whatever it says.

use mysql_async::Row;
use reverb_core::queue::{DeadJob, InvalidJob, Job, JobId, Leased, cut_reason};

/// The columns of a job, for [`leased`]. A payload that is too long is not fetched.
pub(super) const JOB: &str =
    "id, kind, max_attempts, attempts, token, OCTET_LENGTH(payload) AS length,
     CASE WHEN OCTET_LENGTH(payload) <= 1048576 THEN payload ELSE '' END AS payload";
/// The same without the payload, to see whether it looks like a job.
pub(super) const CHECKED: &str =
    "id, kind, max_attempts, attempts, token, OCTET_LENGTH(payload) AS length, '' AS payload";
/// The columns of a dead letter, for [`dead`]. Of a payload as many characters as it may have bytes.
pub(super) const DEAD: &str =
    "id, kind, attempts, since, reason, LEFT(payload, 1048576) AS payload";

/// The lease that comes next for the job in this row, [`JOB`], or why there is no job in it.
pub(super) fn leased(row: &mut Row) -> Result<Leased, String> {
    let (attempts, most) = (number(row, "attempts"), number(row, "max_attempts"));
    let max_attempts = u32::try_from(most).ok().filter(|most| *most > 0);
    let max_attempts = max_attempts
        .ok_or_else(|| format!("its max_attempts are {most}, not from 1 to {}", u32::MAX))?;
    let attempt = attempts.checked_add(1).and_then(|n| u32::try_from(n).ok());
    let attempt = attempt.filter(|n| *n > 0 && *n <= max_attempts);
    let attempt =
        attempt.ok_or_else(|| format!("it has had {attempts} of {most} attempts already"))?;
    let token = number(row, "token").checked_add(1);
    Ok(Leased {
        id: id(row),
        kind: kind(bytes(row, "kind"))?,
        payload: payload(row)?,
        attempt,
        max_attempts,
        token: token.ok_or("its token is the last number")?,
    })
}

fn kind(bytes: Vec<u8>) -> Result<String, String> {
    let kind = String::from_utf8(bytes).map_err(|error| format!("its kind: {error}"))?;
    // The rules of kinds are the core's.
    let checked = Job::new(kind, "").map_err(|error| error.to_string())?;
    Ok(checked.kind().to_owned())
}

fn payload(row: &mut Row) -> Result<String, String> {
    let length = number(row, "length");
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > Job::MAX_PAYLOAD {
        return Err(InvalidJob::TooLarge { length }.to_string());
    }
    let payload = bytes(row, "payload");
    String::from_utf8(payload).map_err(|error| format!("its payload: {error}"))
}

/// The dead letter in this row, [`DEAD`]. It has to be seen even if it never was a job: what is no UTF-8 shows as U+FFFD, a
/// payload that is too long as its first MiB, and numbers out of range as the nearest.
pub(super) fn dead(mut row: Row) -> DeadJob {
    let row = &mut row;
    let mut payload = bytes(row, "payload");
    payload.truncate(Job::MAX_PAYLOAD);
    DeadJob {
        id: id(row),
        kind: lossy(bytes(row, "kind")),
        payload: lossy(payload),
        attempts: number(row, "attempts").clamp(0, u32::MAX.into()) as u32,
        reason: cut_reason(&lossy(bytes(row, "reason"))).to_owned(),
        died_at: number(row, "since").max(0) as u64 / 1000,
    }
}

pub(super) fn id(row: &Row) -> JobId {
    JobId::new(number(row, "id"))
}

fn number(row: &Row, column: &str) -> i64 {
    let number = row.get_opt::<Option<i64>, _>(column);
    number.and_then(Result::ok).flatten().unwrap_or_default()
}

/// The bytes of a text, which are taken out of the row; none of NULL.
pub(super) fn bytes(row: &mut Row, column: &str) -> Vec<u8> {
    let bytes = row.take_opt::<Option<Vec<u8>>, _>(column);
    bytes.and_then(Result::ok).flatten().unwrap_or_default()
}

pub(super) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
