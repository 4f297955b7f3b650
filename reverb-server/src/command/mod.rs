//! The commands besides `serve`: [`obey`].

mod app;
mod export;
mod import;
mod migrate;
mod password;
mod print;
mod queue;
mod user;
mod values;

use std::io;

use reverb_core::app_store::{EditError, StoreError};
use reverb_core::queue::QueueError;

use crate::apps::AppsError;
use crate::cli::{AppCommand, MigrateFlags, QueueCommand, UserCommand};
use crate::config::Config;
use crate::panel::store::PanelError;

pub use self::export::{ExportError, ExportFlags, Format};
pub use self::import::{ImportError, ImportFlags, Kind, OnClash};
pub(crate) use self::values::{LONGEST, duration, limit, max_connections, set_limits, webhook};

/// Why a command has failed. Each has an exit code, for scripts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such app.
    #[error("there is no app {id:?}{}", others(.known))]
    NoApp {
        /// The one that was asked for.
        id: String,
        /// Some that there are.
        known: Vec<String>,
    },
    /// The app is in a file or in the environment.
    #[error(
        "the app {id} is from {from}: change it there; the server takes that at its next start"
    )]
    Configured {
        /// Which.
        id: String,
        /// Where from.
        from: String,
    },
    /// A credential cannot be used.
    #[error("--{field} {problem}")]
    Credential {
        /// Which.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The secret was rotated not long ago.
    #[error(
        "the app {id} has two secrets already, the older one until {until}: --force ends that, and rotates again"
    )]
    StillOverlaps {
        /// Which.
        id: String,
        /// When the older one ends.
        until: String,
    },
    /// Nobody has said yes.
    #[error("nothing is deleted, as nobody has confirmed it for {0}: --yes does")]
    NotConfirmed(String),
    /// The change was refused, or the database does not answer.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The apps cannot be had.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// There is no such user.
    #[error("there is no user with the e-mail address {0:?}")]
    NoUser(String),
    /// Not the password of the user.
    #[error("that is not the password of {0}")]
    WrongPassword(String),
    /// What the panel keeps was not changed, or cannot be had.
    #[error(transparent)]
    Panel(#[from] PanelError),
    /// Nobody can be asked.
    #[error("cannot read from standard input")]
    Input(#[source] io::Error),
    /// The queue has not done what was asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A check has found something to do.
    #[error("there is something to do: reverb-server migrate does it")]
    Pending,
    /// Apps were not taken over.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Apps were not written, or not all.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Nobody can be told.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Edit(error.into())
    }
}

impl CommandError {
    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Credential { .. } | Self::Panel(PanelError::Unfit { .. }) => 2,
            Self::NoApp { .. }
            | Self::NoUser(_)
            | Self::Panel(PanelError::Missing)
            | Self::Edit(EditError::Missing(_))
            | Self::Queue(QueueError::Missing(_)) => 3,
            Self::Configured { .. }
            | Self::NotConfirmed(_)
            | Self::StillOverlaps { .. }
            | Self::WrongPassword(_)
            | Self::Panel(
                PanelError::Taken(_) | PanelError::LastActive(_) | PanelError::NoColumn,
            )
            | Self::Import(ImportError::Clashes(_))
            | Self::Edit(EditError::Taken { .. } | EditError::Outdated { .. }) => 4,
            Self::Pending
            | Self::Import(ImportError::Interrupted { .. })
            | Self::Export(ExportError::LeftOut(_)) => 5,
            _ => 1,
        }
    }
}

fn others(known: &[String]) -> String {
    match known {
        [] => ": there is none yet; the first start of reverb-server makes one, and so does app create".to_owned(),
        known => format!("; there is {}", known.join(", ")),
    }
}

/// Does what was asked about apps, and prints it.
///
/// # Errors
/// It cannot be done.
pub async fn obey(config: &Config, command: AppCommand) -> Result<(), CommandError> {
    let said = app::obey(config, command).await?;
    print(&said)?;
    Ok(())
}

/// Does what was asked about the queue, and prints it.
///
/// # Errors
/// It cannot be done.
pub async fn obey_queue(config: &Config, command: QueueCommand) -> Result<(), CommandError> {
    print(&queue::obey(config, command).await?)?;
    Ok(())
}

/// Asks, where somebody sits at a terminal.
fn confirmed(question: &str) -> io::Result<bool> {
    use io::{BufRead, IsTerminal, Write};

    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Does what was asked about users, and prints it.
///
/// # Errors
/// It cannot be done.
pub async fn obey_user(config: &Config, command: UserCommand) -> Result<(), CommandError> {
    print(&user::obey(config, command).await?)?;
    Ok(())
}

/// Brings the database up to date, or says what there is to do.
///
/// # Errors
/// It cannot be done; or there is something to do, and it was only asked.
pub async fn migrate(config: &Config, flags: MigrateFlags) -> Result<(), CommandError> {
    let (said, done) = migrate::obey(config, flags).await?;
    print(&said)?;
    done
}

/// Writes the apps of the database.
///
/// # Errors
/// It cannot be done, or some of them are left out.
pub async fn export(config: &Config, flags: &ExportFlags) -> Result<(), CommandError> {
    export::obey(config, flags).await
}

/// Takes apps over, and prints what became of them.
///
/// # Errors
/// It cannot be done, or not to the end.
pub async fn import(config: &Config, flags: &ImportFlags) -> Result<(), CommandError> {
    let mut said = String::new();
    let done = import::obey(config, flags, &mut said).await;
    print(&said)?;
    done
}

/// Writes to standard output; a reader that has gone, as in `| head`, is no error.
///
/// # Errors
/// It cannot be written to.
pub fn print(text: &str) -> io::Result<()> {
    use io::Write;

    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
