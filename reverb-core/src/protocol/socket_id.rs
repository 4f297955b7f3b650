//! [`SocketId`]: the name of one connection.

use std::fmt;
use std::str::FromStr;

/// The name of one connection, written as `digits.digits`.
///
/// Both numbers are random, so that an id cannot be guessed: it is part of what an app signs to let a socket into a
/// private channel.
///
/// Source: Pusher Channels protocol 7, `pusher:connection_established`; every server SDK checks `^\d+\.\d+$`.
/// ```
/// use reverb_core::protocol::SocketId;
///
/// let id: SocketId = "1234.5678".parse()?;
/// assert_eq!(id, SocketId::new(1234, 5678));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    first: u32,
    second: u32,
}

impl SocketId {
    /// The id made of these two numbers.
    #[must_use]
    pub const fn new(first: u32, second: u32) -> Self {
        Self { first, second }
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.first, self.second)
    }
}

impl FromStr for SocketId {
    type Err = InvalidSocketId;

    /// Reads an id. Numbers too large to be one of ours are an id too, though of nobody: see [`InvalidSocketId::Foreign`].
    fn from_str(text: &str) -> Result<Self, InvalidSocketId> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (first, second) = text.split_once('.').ok_or(InvalidSocketId::Malformed)?;
        if !digits(first) || !digits(second) {
            return Err(InvalidSocketId::Malformed);
        }
        let id = Self {
            first: first.parse().map_err(|_| InvalidSocketId::Foreign)?,
            second: second.parse().map_err(|_| InvalidSocketId::Foreign)?,
        };
        // Leading zeros name no socket of ours either.
        if text.len() != id.to_string().len() {
            Err(InvalidSocketId::Foreign)
        } else {
            Ok(id)
        }
    }
}

/// Why a text is not the id of one of our sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSocketId {
    /// Not of the form `digits.digits`.
    #[error("a socket_id looks like 1234.5678")]
    Malformed,
    /// Well formed, but no id that this server gives.
    #[error("no socket of this server has this id")]
    Foreign,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        let id = SocketId::new(208_836, 27_464_492);
        assert_eq!(id.to_string(), "208836.27464492");
        assert_eq!("208836.27464492".parse(), Ok(id));
    }

    #[test]
    fn only_digits_dot_digits_is_an_id() {
        for text in [
            "", ".", "1", "1.", ".1", "1.2.3", "a.b", "1.2 ", "-1.2", "1,2", "١.2",
        ] {
            assert_eq!(
                text.parse::<SocketId>(),
                Err(InvalidSocketId::Malformed),
                "{text:?}"
            );
        }
        for text in ["99999999999.1", "1.99999999999", "01.1"] {
            assert_eq!(
                text.parse::<SocketId>(),
                Err(InvalidSocketId::Foreign),
                "{text:?}"
            );
        }
    }
}
