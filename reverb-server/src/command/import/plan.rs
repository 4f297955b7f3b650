//! [`Plan`]: what is to be made, replaced and skipped; and doing it.

use std::collections::HashMap;
use std::sync::Arc;

use reverb_core::app_store::{AppEditor, AppSettings, EditError, StoreError};
use reverb_core::protocol::{App, OldSecret};
use tokio::task::JoinSet;

use super::OnClash;
use super::entry::Draft;
use crate::apps::Apps;
use crate::config::{Config, Problem};

/// What is to become of the apps of all sources.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Clashes that were not to be: then nothing is done.
    pub(super) clashes: Vec<Problem>,
}

/// What is to become of one app.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) app: App,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    Make,
    /// It is there, of this revision.
    Replace(u64),
    /// It is there, and just so.
    Keep,
    /// For this reason.
    Skip(String),
}

/// How much has been done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) made: usize,
    pub(super) replaced: usize,
}

/// So many are under way at a time: those that wait together are written together, as far as a store does so. No more than
/// MySQL has connections, or some would give up waiting for one.
const AT_ONCE: usize = 8;

impl Plan {
    pub(super) async fn new(
        drafts: Vec<Draft>,
        apps: &Apps,
        config: &Config,
        on_clash: OnClash,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        for draft in drafts {
            let found = find(&draft.app, apps, config).await?;
            let action = match (found, on_clash) {
                (Found::Nothing, _) => Action::Make,
                (Found::Twin(twin), OnClash::Replace) if is_same(&twin, &draft.app) => Action::Keep,
                (Found::Twin(twin), OnClash::Replace) => Action::Replace(twin.revision),
                (found, OnClash::Skip) => Action::Skip(found.told(&draft.app).1),
                (found, on_clash) => {
                    let (key, mut message) = found.told(&draft.app);
                    if matches!(found, Found::Twin(_)) && on_clash == OnClash::Fail {
                        message +=
                            "; --on-clash skip leaves that one as it is, replace takes this one";
                    }
                    plan.clashes.push(Problem {
                        place: draft.place,
                        key,
                        message,
                    });
                    continue;
                }
            };
            plan.steps.push(Step {
                app: draft.app,
                action,
            });
        }
        Ok(plan)
    }

    pub(super) fn count(&self, is: impl Fn(&Action) -> bool) -> usize {
        self.steps.iter().filter(|step| is(&step.action)).count()
    }

    /// Does it; stops when something goes wrong, and tells what.
    pub(super) async fn carry_out(
        self,
        apps: &Arc<dyn AppEditor>,
        done: &mut Done,
    ) -> Result<(), Vec<(String, EditError)>> {
        let mut steps = self.steps.into_iter().peekable();
        while steps.peek().is_some() {
            let mut under_way = JoinSet::new();
            for Step { mut app, action } in steps.by_ref().take(AT_ONCE) {
                let apps = apps.clone();
                let id = app.id.to_string();
                under_way.spawn(async move {
                    let result = match action {
                        Action::Make => apps.create(app).await.map(|_| (1, 0)),
                        Action::Replace(revision) => {
                            app.revision = revision;
                            apps.save(app).await.map(|_| (0, 1))
                        }
                        Action::Keep | Action::Skip(_) => Ok((0, 0)),
                    };
                    result.map_err(|error| (id, error))
                });
            }
            let mut failed = Vec::new();
            for result in under_way.join_all().await {
                match result {
                    Ok((made, replaced)) => {
                        done.made += made;
                        done.replaced += replaced;
                    }
                    Err(error) => failed.push(error),
                }
            }
            if !failed.is_empty() {
                return Err(failed);
            }
        }
        Ok(())
    }
}

/// Refuses apps that have the same id or key as one before them.
pub(super) fn twins(drafts: &[Draft]) -> Vec<Problem> {
    let mut seen: HashMap<(&str, &str), &str> = HashMap::new();
    let mut problems = Vec::new();
    for draft in drafts {
        let fields = [
            ("id", draft.app.id.as_str()),
            ("key", draft.app.key.as_str()),
        ];
        for (field, value) in fields {
            match seen.get(&(field, value)) {
                Some(first) => problems.push(Problem {
                    place: draft.place.clone(),
                    key: field.to_owned(),
                    message: format!(
                        "{value:?} is that of the app at {first} too; each app has its own"
                    ),
                }),
                None => {
                    seen.insert((field, value), &draft.place);
                }
            }
        }
    }
    problems
}

/// Who has the id or the key of an app already.
enum Found {
    Nothing,
    /// The app of this id, in the database.
    Twin(Arc<App>),
    /// The app of this id is stored wrongly.
    Corrupt,
    /// Another app has its key.
    Key(String),
    /// One that is configured has its id or key.
    Configured(&'static str, String),
}

impl Found {
    /// Which field it is, and what to say.
    fn told(&self, app: &App) -> (String, String) {
        let (id, key) = (app.id.as_str(), app.key.as_str());
        let (field, told) = match self {
            Self::Nothing => ("", String::new()),
            Self::Twin(_) => ("id", format!("there is an app {id:?} already")),
            Self::Corrupt => (
                "id",
                format!(
                    "there is an app {id:?} already, which is stored wrongly: app list says why, app delete removes it"
                ),
            ),
            Self::Key(other) => (
                "key",
                format!("{key:?} is the key of the app {other:?} already"),
            ),
            Self::Configured(field, from) => {
                let value = if *field == "id" { id } else { key };
                (
                    *field,
                    format!(
                        "{value:?} is that of the app in {from}, which the server takes from there; remove it there, or leave it out here"
                    ),
                )
            }
        };
        (field.to_owned(), told)
    }
}

async fn find(app: &App, apps: &Apps, config: &Config) -> Result<Found, StoreError> {
    let (id, key) = (app.id.as_str(), app.key.as_str());
    for other in &config.apps {
        let from = || config.origin(&format!("app {}", other.id)).to_owned();
        if other.id == app.id {
            return Ok(Found::Configured("id", from()));
        }
        if other.key == app.key {
            return Ok(Found::Configured("key", from()));
        }
    }
    let Some(database) = apps.database() else {
        return Ok(Found::Nothing);
    };
    // What is stored wrongly has an id and a key all the same.
    let holder = match database.apps.find_by_key(key).await {
        Ok(found) => found.map(|other| other.id.to_string()),
        Err(StoreError::Corrupt(corrupt)) => Some(corrupt.id),
        Err(error) => return Err(error),
    };
    if let Some(other) = holder.filter(|other| other != id) {
        return Ok(Found::Key(other));
    }
    match database.apps.find_by_id(id).await {
        Ok(None) => Ok(Found::Nothing),
        Ok(Some(twin)) => Ok(Found::Twin(twin)),
        Err(StoreError::Corrupt(_)) => Ok(Found::Corrupt),
        Err(error) => Err(error),
    }
}

/// Whether two apps of the same id differ in nothing that is kept.
fn is_same(app: &App, other: &App) -> bool {
    let old = |app: &App| {
        let old: Option<&OldSecret> = app.old_secret.as_ref();
        old.map(|old| (old.secret.reveal().to_owned(), old.until))
    };
    app.key == other.key
        && app.secret.reveal() == other.secret.reveal()
        && old(app) == old(other)
        && AppSettings::of(app) == AppSettings::of(other)
}
