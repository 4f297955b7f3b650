//! `user list` and `user verify`: who may log in to the panel, as the PHP product has it.

use std::io::{self, IsTerminal, Read, Write};

use super::CommandError;
use crate::apps::Apps;
use crate::cli::UserCommand;
use crate::config::Config;
use crate::password;

pub(super) async fn obey(config: &Config, command: UserCommand) -> Result<String, CommandError> {
    let users = Apps::users(config).await?;
    match command {
        UserCommand::List => {
            let users = match users {
                Some(users) => users.list().await?,
                None => Vec::new(),
            };
            let rows = users.into_iter().map(|user| {
                let state = if user.active { "active" } else { "inactive" };
                let plain = |text: &str| text.replace(char::is_control, " ");
                format!(
                    "{:<8}  {}  {}\n",
                    state,
                    plain(&user.email),
                    plain(&user.name)
                )
            });
            let rows: String = rows.collect();
            Ok(match rows.is_empty() {
                true => "no user: those of the PHP product are in its database (--database-url laravel)\n".to_owned(),
                false => rows,
            })
        }
        UserCommand::Verify { email } => {
            let found = match users {
                Some(users) => users.find(&email).await?,
                None => None,
            };
            let user = found.ok_or_else(|| CommandError::NoUser(email.clone()))?;
            let given = read_password()?;
            match password::fits(&given, &user.password_hash) {
                true if user.active => Ok(format!("The password of {email} is right.\n")),
                true => Ok(format!(
                    "The password of {email} is right, but the user is inactive.\n"
                )),
                false => Err(CommandError::WrongPassword(email)),
            }
        }
    }
}

/// From standard input; its last line break is none of it.
fn read_password() -> io::Result<String> {
    if io::stdin().is_terminal() {
        eprint!("Password (it is shown as you type): ");
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let mut text = String::new();
    io::stdin().take(4096).read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
