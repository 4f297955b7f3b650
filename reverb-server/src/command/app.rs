//! `app list`, `show`, `create` and the others.

use std::sync::Arc;
use std::time::Duration;

use reverb_core::app_store::{AppStore, CorruptApp, EditError, LastUse, StoreError};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::{App, AppKey, InvalidApp, Secret};

use super::{CommandError, print, values};
use crate::apps::{self, ATTEMPTS, Apps, Database, new_id, new_key, new_secret};
use crate::cli::{AppCommand, AppFlags};
use crate::config::Config;
use crate::snippets::{Address, snippets};

/// Does what was asked; returns what to print.
pub(super) async fn obey(config: &Config, command: AppCommand) -> Result<String, CommandError> {
    let desk = |apps| Desk { config, apps };
    match command {
        AppCommand::List { json } => desk(Apps::existing(config).await?).list(json).await,
        AppCommand::Show { id, json } => desk(Apps::existing(config).await?).show(&id, json).await,
        AppCommand::Create { id, settings, json } => {
            let desk = desk(Apps::to_edit(config).await?);
            let app = desk.create(id, &settings).await?;
            desk.shown(&app, json)
        }
        AppCommand::Update { id, settings, json } => {
            let desk = desk(Apps::existing(config).await?);
            let app = desk.change(&id, |app| update(app, &settings)).await?;
            desk.done(&app, "changed", json)
        }
        AppCommand::RotateSecret {
            id,
            overlap,
            force,
            secret,
            json,
        } => {
            let desk = desk(Apps::existing(config).await?);
            let secret = secret.unwrap_or_else(new_secret);
            let app = desk
                .change(&id, |app| rotate(app, &secret, overlap, force))
                .await?;
            match json {
                true => Ok(print::json_of(&desk.row(&app), true)),
                false => Ok(rotated(&app, &secret)),
            }
        }
        AppCommand::Activate { id } => desk(Apps::existing(config).await?).switch(&id, true).await,
        AppCommand::Deactivate { id } => {
            desk(Apps::existing(config).await?).switch(&id, false).await
        }
        AppCommand::Delete { id, yes } => {
            desk(Apps::existing(config).await?).delete(&id, yes).await
        }
    }
}

/// Where commands are obeyed.
struct Desk<'a> {
    config: &'a Config,
    apps: Apps,
}

/// An app, or what should be one, and where it is kept.
pub(super) struct Row<'a> {
    pub(super) app: Result<&'a App, &'a CorruptApp>,
    pub(super) from: String,
    pub(super) is_configured: bool,
    pub(super) last_use: LastUse,
}

impl Desk<'_> {
    async fn list(&self, json: bool) -> Result<String, CommandError> {
        let configured = self.config.apps.iter().map(|app| self.row(app));
        let mut lines = match json {
            true => print::Lines::json(),
            false => print::Lines::table(),
        };
        configured.for_each(|row| lines.add(&row));
        let Some(database) = self.apps.database() else {
            return Ok(lines.finish());
        };
        let mut after = None;
        loop {
            let page = database.page(&mut after).await?;
            if page.is_empty() {
                return Ok(lines.finish());
            }
            for row in &page {
                lines.add(&Row {
                    app: row.app.as_deref(),
                    from: database.name.clone(),
                    is_configured: false,
                    last_use: row.last_use,
                });
            }
        }
    }

    async fn show(&self, id: &str, json: bool) -> Result<String, CommandError> {
        let app = self.find(id).await?;
        self.shown(&app, json)
    }

    /// With its secret.
    fn shown(&self, app: &App, json: bool) -> Result<String, CommandError> {
        Ok(match json {
            true => print::json_of(&self.row(app), true),
            false => snippets(app, &Address::new(self.config, self.config.port)),
        })
    }

    fn done(&self, app: &App, what: &str, json: bool) -> Result<String, CommandError> {
        Ok(match json {
            true => print::json_of(&self.row(app), false),
            false => format!("The app {} is {what}.\n", app.id),
        })
    }

    fn row<'a>(&self, app: &'a App) -> Row<'a> {
        let is_configured = self.config.apps.iter().any(|other| other.id == app.id);
        let from = match self.apps.database() {
            Some(database) if !is_configured => database.name.clone(),
            _ => self.config.origin(&format!("app {}", app.id)).to_owned(),
        };
        Row {
            app: Ok(app),
            from,
            is_configured,
            last_use: LastUse::default(),
        }
    }

    async fn find(&self, id: &str) -> Result<Arc<App>, CommandError> {
        match self.apps.find_by_id(id).await? {
            Some(app) => Ok(app),
            None => Err(self.missing(id).await?),
        }
    }

    async fn missing(&self, id: &str) -> Result<CommandError, StoreError> {
        const FEW: usize = 10;
        let configured = self.config.apps.iter().map(|app| app.id.to_string());
        let mut known: Vec<String> = configured.take(FEW).collect();
        if let Some(database) = self.apps.database() {
            let few = database.apps.list(None, FEW).await?;
            known.extend(few.iter().map(|row| row.id().to_owned()));
        }
        Ok(CommandError::NoApp {
            id: id.to_owned(),
            known,
        })
    }

    /// The database with this app in it: only there apps can be changed.
    async fn database_of(&self, id: &str) -> Result<&Database, CommandError> {
        if self.apps.is_configured(id).await? {
            return Err(CommandError::Configured {
                id: id.to_owned(),
                from: self.config.origin(&format!("app {id}")).to_owned(),
            });
        }
        match self.apps.database() {
            Some(database) => Ok(database),
            None => Err(self.missing(id).await?),
        }
    }

    async fn create(&self, id: Option<String>, flags: &AppFlags) -> Result<Arc<App>, CommandError> {
        let database = self.apps.database().expect("it was made for this");
        let is_given = id.is_some() && flags.key.is_some();
        for _ in 1..ATTEMPTS {
            match self.create_once(database, id.clone(), flags).await {
                // A random one was taken: the next one will not be.
                Err(CommandError::Edit(EditError::Taken { .. })) if !is_given => {}
                result => return result,
            }
        }
        self.create_once(database, id, flags).await
    }

    async fn create_once(
        &self,
        database: &Database,
        id: Option<String>,
        flags: &AppFlags,
    ) -> Result<Arc<App>, CommandError> {
        let id = id.unwrap_or_else(new_id);
        let key = flags.key.clone().unwrap_or_else(new_key);
        let secret = flags.secret.clone().unwrap_or_else(new_secret);
        let mut app = App::new(&id, &key, &secret).map_err(credential)?;
        app.activity_timeout = self.config.activity_timeout;
        set(&mut app, flags);
        self.apps.check_free(&app).await?;
        Ok(database.apps.create(app).await?)
    }

    /// Changes an app of the database.
    async fn change(
        &self,
        id: &str,
        change: impl Fn(&mut App) -> Result<(), CommandError>,
    ) -> Result<Arc<App>, CommandError> {
        let database = self.database_of(id).await?;
        let find = || async {
            match database.apps.find_by_id(id).await? {
                Some(app) => Ok(app),
                None => Err(self.missing(id).await?),
            }
        };
        self.apps.change(database, find, change).await
    }

    async fn switch(&self, id: &str, active: bool) -> Result<String, CommandError> {
        let app = self.change(id, |app| {
            app.active = active;
            Ok(())
        });
        let what = if active {
            "active"
        } else {
            "inactive: its clients are sent away"
        };
        self.done(&*app.await?, what, false)
    }

    async fn delete(&self, id: &str, yes: bool) -> Result<String, CommandError> {
        let database = self.database_of(id).await?;
        // One that is stored wrongly can be deleted too.
        let name = match database.apps.find_by_id(id).await {
            Ok(Some(app)) => app.name.clone(),
            Ok(None) => return Err(self.missing(id).await?),
            Err(StoreError::Corrupt(_)) => String::new(),
            Err(error) => return Err(error.into()),
        };
        let called = match name.as_str() {
            "" => format!("the app {id}"),
            name => format!("the app {id} ({name})"),
        };
        let question = format!("Delete {called}? Its clients are sent away for good.");
        if !yes && !super::confirmed(&question)? {
            return Err(CommandError::NotConfirmed(called));
        }
        database.apps.remove(id).await?;
        Ok(format!("The app {id} is deleted.\n"))
    }
}

fn update(app: &mut App, flags: &AppFlags) -> Result<(), CommandError> {
    if let Some(key) = &flags.key {
        app.key = AppKey::new(key).map_err(credential)?;
    }
    if let Some(secret) = &flags.secret {
        app.rotate_secret(Secret::new(secret).map_err(credential)?, None);
    }
    set(app, flags);
    Ok(())
}

/// Sets all but the credentials.
fn set(app: &mut App, flags: &AppFlags) {
    values::settings(flags).apply_to(app);
    values::set_limits(&mut app.limits, &flags.limits).expect("they were checked");
}

fn rotate(app: &mut App, secret: &str, overlap: Duration, force: bool) -> Result<(), CommandError> {
    let secret = Secret::new(secret).map_err(credential)?;
    let now = SystemClock.unix_time().as_secs();
    let rotated = apps::rotate(app, secret, overlap, now, force);
    rotated.map_err(|still| CommandError::StillOverlaps {
        id: app.id.to_string(),
        until: print::time(still.until),
    })
}

fn rotated(app: &App, secret: &str) -> String {
    let old = match &app.old_secret {
        Some(old) => format!("The old one is accepted until {}.", print::time(old.until)),
        None => "The old one is not accepted any more.".to_owned(),
    };
    format!(
        "The app {} has a new secret. {old}\n\nREVERB_APP_SECRET={secret}\n",
        app.id
    )
}

fn credential(invalid: InvalidApp) -> CommandError {
    let (field, problem) = match &invalid {
        InvalidApp::Length { field, length } => {
            (*field, format!("must have 1 to 255 bytes, not {length}"))
        }
        InvalidApp::Character { field, character } => {
            (*field, format!("must not contain {character:?}"))
        }
        other => ("id", other.to_string()),
    };
    CommandError::Credential { field, problem }
}
