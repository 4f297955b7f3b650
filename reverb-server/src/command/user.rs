//! `user list`, `create` and the others: who may log in to the panel.

use reverb_core::clock::{Clock, SystemClock};
use serde::Serialize;
use serde_json::{Value, json};

use super::print::{self, one_line};
use super::{CommandError, password};
use crate::apps::{Apps, Database};
use crate::cli::{UserCommand, UserFlags};
use crate::config::Config;
use crate::panel::store::{NewEntry, NewUser, PanelError, PanelStore, User, UserChange};
use crate::password::{fits, hash};

/// So many users at a time.
const PAGE: usize = 500;
/// Who is at work here, for the audit log.
const ACTOR: &str = "command line";

/// Does what was asked; returns what to print.
pub(super) async fn obey(config: &Config, command: UserCommand) -> Result<String, CommandError> {
    let apps = match &command {
        UserCommand::Create { .. } => Apps::to_edit(config).await?,
        _ => Apps::existing(config).await?,
    };
    let Some(Database { panel, .. }) = apps.database() else {
        return nobody(command);
    };
    let desk = Desk {
        panel: &**panel,
        rounds: config.bcrypt_rounds,
    };
    match command {
        UserCommand::List { json } => desk.list(json).await,
        UserCommand::Create {
            name,
            email,
            password,
            inactive,
            verified,
            json,
        } => {
            let given = password;
            let user = desk.create(&name, &email, given, !inactive, verified);
            Ok(said(&user.await?, "made", json))
        }
        UserCommand::Update { user, change, json } => {
            let user = desk
                .change(&user, "user.update", &as_change(&change))
                .await?;
            Ok(said(&user, "changed", json))
        }
        UserCommand::Password { user, password } => desk.set_password(&user, password).await,
        UserCommand::Activate { user } => desk.switch(&user, true).await,
        UserCommand::Deactivate { user } => desk.switch(&user, false).await,
        UserCommand::Delete { user, yes } => desk.delete(&user, yes).await,
        UserCommand::Verify { user } => desk.verify(&user).await,
    }
}

/// What there is to say without a database.
fn nobody(command: UserCommand) -> Result<String, CommandError> {
    match command {
        UserCommand::List { json } => Ok(listed(&[], json)),
        UserCommand::Create { email: user, .. }
        | UserCommand::Update { user, .. }
        | UserCommand::Password { user, .. }
        | UserCommand::Activate { user }
        | UserCommand::Deactivate { user }
        | UserCommand::Delete { user, .. }
        | UserCommand::Verify { user } => Err(CommandError::NoUser(user)),
    }
}

/// Where commands are obeyed.
struct Desk<'a> {
    panel: &'a dyn PanelStore,
    rounds: u32,
}

impl Desk<'_> {
    async fn list(&self, json: bool) -> Result<String, CommandError> {
        let mut users: Vec<User> = Vec::new();
        loop {
            let after = users.last().map_or(0, |user| user.id);
            let page = self.panel.users(after, PAGE).await?;
            if page.is_empty() {
                return Ok(listed(&users, json));
            }
            users.extend(page);
        }
    }

    async fn create(
        &self,
        name: &str,
        email: &str,
        given: Option<String>,
        active: bool,
        verified: bool,
    ) -> Result<User, CommandError> {
        // Before anybody is asked for a password.
        let mut wanted = UserChange::default();
        (wanted.name, wanted.email) = (Some(name.to_owned()), Some(email.to_owned()));
        wanted.check()?;
        if self.panel.user_by_email(email.trim()).await?.is_some() {
            return Err(PanelError::Taken(email.to_owned()).into());
        }
        let mut user = NewUser::new(name, email, hash(&new_password(given)?, self.rounds)?);
        (user.active, user.verified) = (active, verified);
        let details = json!({ "name": name.trim(), "active": active, "verified": verified });
        let entry = entry("user.create", email.trim(), &details);
        Ok(self.panel.create_user(&user, &entry).await?)
    }

    async fn change(
        &self,
        email: &str,
        action: &str,
        change: &UserChange,
    ) -> Result<User, CommandError> {
        let before = self.find(email).await?;
        let details = json!({
            "name": change.name, "email": change.email, "active": change.active, "verified": change.verified,
        });
        let entry = entry(action, &before.email, &details);
        Ok(self.panel.update_user(before.id, change, &entry).await?)
    }

    async fn switch(&self, email: &str, active: bool) -> Result<String, CommandError> {
        let (action, state) = match active {
            true => ("user.activate", "active"),
            false => ("user.deactivate", "inactive"),
        };
        let change = UserChange {
            active: Some(active),
            ..UserChange::default()
        };
        let user = self.change(email, action, &change).await?;
        Ok(format!("The user {} is {state}.\n", one_line(&user.email)))
    }

    async fn set_password(
        &self,
        email: &str,
        given: Option<String>,
    ) -> Result<String, CommandError> {
        let user = self.find(email).await?;
        let hash = hash(&new_password(given)?, self.rounds)?;
        let entry = entry("user.password", &user.email, &json!({}));
        let set = self.panel.set_password(user.id, &hash, None, &entry);
        set.await?;
        let email = one_line(&user.email);
        Ok(format!(
            "The password of {email} is changed, and the user's sessions have ended.\n"
        ))
    }

    async fn delete(&self, email: &str, yes: bool) -> Result<String, CommandError> {
        let user = self.find(email).await?;
        let what = format!("the user {}", one_line(&user.email));
        if !yes && !super::confirmed(&format!("Delete {what}?"))? {
            return Err(CommandError::NotConfirmed(what));
        }
        let entry = entry("user.delete", &user.email, &json!({ "name": user.name }));
        let user = self.panel.remove_user(user.id, &entry).await?;
        Ok(format!("The user {} is deleted.\n", one_line(&user.email)))
    }

    async fn verify(&self, email: &str) -> Result<String, CommandError> {
        let user = self.find(email).await?;
        match fits(&password::read()?, user.password.reveal()) {
            true if user.active => Ok(format!("The password of {email} is right.\n")),
            true => Ok(format!(
                "The password of {email} is right, but the user is inactive.\n"
            )),
            false => Err(CommandError::WrongPassword(email.to_owned())),
        }
    }

    async fn find(&self, email: &str) -> Result<User, CommandError> {
        let found = self.panel.user_by_email(email.trim()).await?;
        found.ok_or_else(|| CommandError::NoUser(email.to_owned()))
    }
}

/// What is noted of a change that is made now.
fn entry(action: &str, user: &str, details: &Value) -> NewEntry {
    let now = SystemClock.unix_time().as_secs();
    let mut entry = NewEntry::new(now, ACTOR, action, user);
    entry.details = details.to_string();
    entry
}

fn new_password(given: Option<String>) -> Result<String, CommandError> {
    given.map_or_else(password::read_new, Ok)
}

fn as_change(flags: &UserFlags) -> UserChange {
    let mut change = UserChange::default();
    change.name.clone_from(&flags.name);
    change.email.clone_from(&flags.email);
    change.verified = (flags.verified || flags.unverified).then_some(flags.verified);
    change
}

/// A user as scripts see it. The shape is a promise: keys are added, never renamed.
#[derive(Serialize)]
struct Json<'a> {
    id: u64,
    name: &'a str,
    email: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<u64>,
}

impl<'a> From<&'a User> for Json<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id,
            name: &user.name,
            email: &user.email,
            active: user.active,
            verified_at: user.verified_at,
            created: user.created,
            updated: user.updated,
        }
    }
}

fn said(user: &User, what: &str, json: bool) -> String {
    match json {
        true => serde_json::to_string_pretty(&Json::from(user)).expect("a user is JSON") + "\n",
        false => format!("The user {} is {what}.\n", one_line(&user.email)),
    }
}

fn listed(users: &[User], json: bool) -> String {
    if json {
        let line = |user| serde_json::to_string(&Json::from(user)).expect("a user is JSON");
        let lines: Vec<_> = users.iter().map(line).collect();
        return match lines.is_empty() {
            true => "[]\n".to_owned(),
            false => format!("[\n{}\n]\n", lines.join(",\n")),
        };
    }
    if users.is_empty() {
        return "no user yet: user create makes one\n".to_owned();
    }
    let time = |at: Option<u64>| at.map_or_else(String::new, print::time);
    let rows = users.iter().map(|user| {
        [
            one_line(&user.email),
            if user.active { "active" } else { "inactive" }.to_owned(),
            time(user.verified_at),
            time(user.created),
            one_line(&user.name),
        ]
    });
    let names = ["EMAIL", "STATE", "VERIFIED", "MADE", "NAME"];
    print::aligned(names, &rows.collect::<Vec<_>>())
}
