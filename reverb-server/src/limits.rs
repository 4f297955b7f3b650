//! How many connections the system lets us have: every one is an open file.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files besides connections: listeners, logs, databases, and calls to others.
const OTHER_FILES: u64 = 64;
/// Below this many open files a busy day ends in refused connections.
const FEW: u64 = 4096;

/// How many connections the open-file limit leaves room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections; `None` is no limit.
    pub connections: Option<u64>,
}

/// Raises our open-file limit as far as it goes without privileges, and says what that is good for.
pub fn raise_open_files() -> Capacity {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Some systems say "unlimited" and refuse it all the same; then the limit stays as it was.
    let _ = setrlimit(Resource::Nofile, raised);
    Capacity::of(getrlimit(Resource::Nofile).current)
}

impl Capacity {
    fn of(files: Option<u64>) -> Self {
        Self {
            connections: files.map(|files| files.saturating_sub(OTHER_FILES)),
        }
    }

    /// How to get more, if this is little.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let connections = self
            .connections
            .filter(|connections| connections + OTHER_FILES < FEW)?;
        Some(format!(
            "the open-file limit leaves room for only {connections} connections; raise the hard limit: \
             LimitNOFILE=65536 in the systemd unit, --ulimit nofile=65536 for Docker, ulimit -Hn 65536 as root in a shell"
        ))
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connections {
            Some(connections) => write!(f, "{} connections", grouped(connections)),
            None => f.write_str("as many connections as memory holds"),
        }
    }
}

/// `1048576` as `1,048,576`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let capacity = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(capacity, Capacity::of(limit.maximum));
    }

    #[test]
    fn capacity_leaves_files_for_the_rest_and_reads_well() {
        assert_eq!(
            Capacity::of(Some(1_048_576)).to_string(),
            "1,048,512 connections"
        );
        assert_eq!(Capacity::of(Some(10)).to_string(), "0 connections");
        assert_eq!(
            Capacity::of(None).to_string(),
            "as many connections as memory holds"
        );
    }

    #[test]
    fn little_room_comes_with_advice() {
        let advice = Capacity::of(Some(1024)).advice().expect("advice");
        assert!(
            advice.contains("only 960 connections") && advice.contains("LimitNOFILE="),
            "{advice}"
        );
        assert_eq!(Capacity::of(Some(FEW)).advice(), None);
        assert_eq!(Capacity::of(None).advice(), None);
    }
}
