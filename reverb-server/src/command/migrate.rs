//! `migrate`: what the database needs, done or only told.

use super::CommandError;
use crate::apps::Apps;
use crate::cli::MigrateFlags;
use crate::config::Config;

/// What to print, and whether a check has found nothing to do.
pub(super) async fn obey(
    config: &Config,
    flags: MigrateFlags,
) -> Result<(String, Result<(), CommandError>), CommandError> {
    let pending = Apps::pending(config).await?;
    if flags.check {
        return check(config, &pending).await;
    }
    let mut said = match pending.as_slice() {
        [] => "The tables are up to date.\n".to_owned(),
        steps => format!("Brought up to date: {}.\n", steps.join(", ")),
    };
    let apps = Apps::to_edit(config).await?;
    let database = apps.database().expect("it was opened for this");
    if flags.widen_secrets {
        said += match Apps::widen_secrets(config).await? {
            true => "app_secret is a TEXT now.\n",
            false => "Secrets have room enough.\n",
        };
    }
    if flags.seal_secrets {
        let sealed = database.apps.seal_secrets(false).await?;
        said += &format!("Secrets written anew: {sealed}.\n");
    }
    Ok((said, Ok(())))
}

async fn check(
    config: &Config,
    pending: &[&str],
) -> Result<(String, Result<(), CommandError>), CommandError> {
    if !pending.is_empty() {
        let said = format!("To do: {}.\n", pending.join(", "));
        return Ok((said, Err(CommandError::Pending)));
    }
    let mut said = "The tables are up to date.\n".to_owned();
    let apps = Apps::existing(config).await?;
    if let Some(database) = apps.database() {
        let plain = database.apps.seal_secrets(true).await?;
        if plain > 0 {
            said += &format!(
                "The secrets of {plain} apps are plain, or sealed with an older key: migrate --seal-secrets writes them anew.\n"
            );
        }
    }
    Ok((said, Ok(())))
}
