//! Passwords from standard input: a line, or what somebody types at a terminal, hidden.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::CommandError;
use crate::panel::store::PanelError;

/// More than any password has, in bytes.
const LONGEST: u64 = 4096;

/// A password that there is.
pub(super) fn read() -> Result<String, CommandError> {
    match io::stdin().is_terminal() {
        true => typed("Password: "),
        false => line(),
    }
    .map_err(CommandError::Input)
}

/// A new one, which is typed twice.
pub(super) fn read_new() -> Result<String, CommandError> {
    let password = read()?;
    if io::stdin().is_terminal() {
        let again = typed("Once more: ").map_err(CommandError::Input)?;
        if password != again {
            return Err(PanelError::unfit("password", "was typed in two ways").into());
        }
    }
    Ok(password)
}

fn typed(prompt: &str) -> io::Result<String> {
    // First: who is asked may be fast.
    let _hidden = Hidden::new()?;
    eprint!("{prompt}");
    io::stderr().flush()?;
    line()
}

/// Its line break is none of it.
fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(LONGEST).read_line(&mut line)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A terminal that shows nothing but the end of the line, until this is dropped. (Whom Ctrl-C ends leaves that to the shell.)
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
