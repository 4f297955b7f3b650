//! What stands in a row: a job, or why it is none; a dead letter, whatever it says.

use reverb_core::queue::{DeadJob, InvalidJob, Job, JobId, Leased, cut_reason};
use rusqlite::Row;

/// The columns of a job, for [`leased`].
pub(super) const JOB: &str = "id, kind, max_attempts, attempts, token, payload";
/// The columns of a dead letter, for [`dead`].
pub(super) const DEAD: &str = "id, kind, attempts, since, reason, payload";

/// The lease that comes next for the job in this row, [`JOB`], or why there is no job in it.
pub(super) fn leased(row: &Row<'_>) -> rusqlite::Result<Result<Leased, String>> {
    let number = |column| row.get::<_, i64>(column);
    let id = JobId::new(number("id")?);
    let (attempts, most) = (number("attempts")?, number("max_attempts")?);
    let (token, kind, payload) = (
        number("token")?,
        bytes(row, "kind")?,
        bytes(row, "payload")?,
    );
    let read = || {
        let max_attempts = u32::try_from(most).ok().filter(|most| *most > 0);
        let max_attempts = max_attempts
            .ok_or_else(|| format!("its max_attempts are {most}, not from 1 to {}", u32::MAX))?;
        let attempt = attempts.checked_add(1).and_then(|n| u32::try_from(n).ok());
        let attempt = attempt.filter(|n| *n > 0 && *n <= max_attempts);
        let attempt =
            attempt.ok_or_else(|| format!("it has had {attempts} of {most} attempts already"))?;
        let token = token.checked_add(1).ok_or("its token is the last number")?;
        Ok(Leased {
            id,
            kind: self::kind(kind)?,
            payload: self::payload(payload)?,
            attempt,
            max_attempts,
            token,
        })
    };
    Ok(read())
}

fn kind(bytes: &[u8]) -> Result<String, String> {
    let kind = str::from_utf8(bytes).map_err(|error| format!("its kind: {error}"))?;
    // The rules of kinds are the core's.
    let checked = Job::new(kind, "").map_err(|error| error.to_string())?;
    Ok(checked.kind().to_owned())
}

fn payload(bytes: &[u8]) -> Result<String, String> {
    if bytes.len() > Job::MAX_PAYLOAD {
        let length = bytes.len();
        return Err(InvalidJob::TooLarge { length }.to_string());
    }
    let payload = str::from_utf8(bytes).map_err(|error| format!("its payload: {error}"))?;
    Ok(payload.to_owned())
}

/// The dead letter in this row, [`DEAD`]. It has to be seen even if it never was a job: what is no UTF-8 shows as U+FFFD, a
/// payload that is too long as its first MiB, and numbers out of range as the nearest.
pub(super) fn dead(row: &Row<'_>) -> rusqlite::Result<DeadJob> {
    let attempts = row.get::<_, i64>("attempts")?;
    let attempts = attempts.clamp(0, u32::MAX.into()) as u32;
    let reason = lossy(bytes(row, "reason")?);
    let payload = bytes(row, "payload")?;
    Ok(DeadJob {
        id: JobId::new(row.get("id")?),
        kind: lossy(bytes(row, "kind")?),
        payload: lossy(&payload[..payload.len().min(Job::MAX_PAYLOAD)]),
        attempts,
        reason: cut_reason(&reason).to_owned(),
        died_at: row.get::<_, i64>("since")?.max(0) as u64 / 1000,
    })
}

/// The bytes of a text, which may be no UTF-8; none of NULL.
pub(super) fn bytes<'a>(row: &'a Row<'_>, column: &str) -> rusqlite::Result<&'a [u8]> {
    let value = row.get_ref(column)?;
    Ok(value.as_bytes_or_null()?.unwrap_or_default())
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
