//! What callers can do with the apps of the database.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use reverb_core::app_store::{AppRow, EditError, StoreError};
use reverb_core::http::Body;
use reverb_core::protocol::{App, AppKey, Origins, Secret};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Shared;
use super::reply::{self, Answer, Refusal};
use super::resource::{Resource, time};
use super::validate::{Mistakes, Wanted, taken};
use crate::apps::{self, ATTEMPTS, Database, PAGE, random_alphanumerics};
use crate::command;
use crate::worker;

/// How long the old secret is accepted if nothing is said.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// What a new app has if nothing is said.
const CONNECTIONS: u32 = 1000;

/// What stands around an app, or several.
#[derive(Serialize)]
struct Data<T> {
    data: T,
}

impl Shared {
    /// All apps by number, or those that are active or not.
    pub(super) async fn list(&self, query: &str) -> Answer {
        let wanted = active(query)?;
        let database = self.database()?;
        let (mut after, mut body) = (0, br#"{"data":["#.to_vec());
        let empty = body.len();
        loop {
            let page = database.apps.rows(after, PAGE).await?;
            let Some(last) = page.last() else {
                body.extend_from_slice(b"]}");
                return Ok(reply::whole(StatusCode::OK, Bytes::from(body)));
            };
            after = last.number;
            for row in &page {
                let is_active = row.app.as_ref().is_ok_and(|app| app.active);
                if wanted.is_some_and(|wanted| wanted != is_active) {
                    continue;
                }
                if body.len() > empty {
                    body.push(b',');
                }
                serde_json::to_writer(&mut body, &Resource::of(row)).expect("an app is JSON");
            }
        }
    }

    pub(super) async fn show(&self, id: &str) -> Answer {
        Ok(shown(StatusCode::OK, &Resource::of(&self.row(id).await?)))
    }

    /// With its secret: nobody is shown that again.
    pub(super) async fn create(&self, body: &[u8]) -> Answer {
        let body = object(body)?;
        let database = self.database()?;
        let (wanted, mut mistakes) = Wanted::read(&body, None);
        self.note_taken(database, &wanted, None, &mut mistakes)
            .await?;
        if !mistakes.is_empty() {
            return Err(Refusal::Invalid(mistakes));
        }
        let mut attempt = 1;
        let app = loop {
            let app = self.new_app(&wanted);
            self.apps.check_free(&app).await?;
            match database.apps.create(app).await {
                // A random one was taken: the next one will not be.
                Err(EditError::Taken { field, .. })
                    if attempt < ATTEMPTS && !wanted.gives(field) =>
                {
                    attempt += 1;
                }
                created => break created?,
            }
        };
        tracing::info!(app = %app.id, "an app was made over the management API");
        warn_of_no_origin(&app);
        let row = match self.row_of(database, &app).await {
            Err(Refusal::Unavailable) => return Err(Refusal::MadeUnseen(app.id.to_string())),
            row => row?,
        };
        Ok(shown(StatusCode::CREATED, &Resource::with_secret(&row)))
    }

    pub(super) async fn update(&self, id: &str, body: &[u8]) -> Answer {
        let body = object(body)?;
        let row = self.row(id).await?;
        let before = serde_json::to_value(Resource::of(&row)).expect("an app is JSON");
        if row.app.is_ok() && !Wanted::is_news(&body, &before) {
            return Ok(shown(StatusCode::OK, &Resource::of(&row)));
        }
        let found = row.app.map_err(StoreError::from)?;
        let database = self.database()?;
        let (wanted, mut mistakes) = Wanted::read(&body, Some(&before));
        self.note_taken(database, &wanted, Some(&found), &mut mistakes)
            .await?;
        if !mistakes.is_empty() {
            return Err(Refusal::Invalid(mistakes));
        }
        let apply = |app: &mut App| {
            wanted.apply_to(app);
            Ok(())
        };
        let row = self.change(id, apply).await?;
        if let Ok(app) = &row.app
            && body.contains_key("allowed_origins")
        {
            warn_of_no_origin(app);
        }
        Ok(shown(StatusCode::OK, &Resource::of(&row)))
    }

    pub(super) async fn delete(&self, id: &str) -> Answer {
        let row = self.row(id).await?;
        // One that is stored wrongly can be deleted too.
        let app_id = row.id();
        let removed = self.database()?.apps.remove(app_id).await;
        removed.map_err(|error| Refusal::from(error).of(said(id)))?;
        tracing::info!(app = app_id, "an app was deleted over the management API");
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    /// With the new secret, and until when the old one is accepted.
    pub(super) async fn rotate_secret(&self, id: &str, body: &[u8]) -> Answer {
        #[derive(Serialize)]
        struct Rotated<'a> {
            data: Resource<'a>,
            old_secret_until: Option<String>,
        }
        let body = object(body)?;
        let (overlap, force) = (overlap(&body)?, force(&body)?);
        let now = self.clock.unix_time().as_secs();
        let secret = Secret::new(&random_alphanumerics(64)).expect("letters and digits will do");
        let rotate = |app: &mut App| {
            let rotated = apps::rotate(app, secret.clone(), overlap, now, force);
            rotated.map_err(|still| Refusal::StillOverlaps(still.until))
        };
        let row = self.change(id, rotate).await?;
        let old = row
            .app
            .as_ref()
            .ok()
            .and_then(|app| app.old_secret.as_ref());
        let rotated = Rotated {
            old_secret_until: old.and_then(|old| time(old.until)),
            data: Resource::with_secret(&row),
        };
        Ok(reply::json(StatusCode::OK, &rotated))
    }

    pub(super) async fn rotate_key(&self, id: &str) -> Answer {
        let mut attempt = 1;
        let row = loop {
            let key = AppKey::new(&new_key()).expect("letters and digits will do");
            let set = |app: &mut App| {
                app.key = key.clone();
                Ok(())
            };
            match self.change(id, set).await {
                // It was taken: the next one will not be.
                Err(Refusal::Invalid(_)) if attempt < ATTEMPTS => attempt += 1,
                changed => break changed?,
            }
        };
        Ok(shown(StatusCode::OK, &Resource::of(&row)))
    }

    /// What was a restart once: every server looks all apps up anew, and nobody is disconnected by it.
    pub(super) async fn restart(&self) -> Answer {
        #[derive(Serialize)]
        struct Told {
            message: &'static str,
        }
        self.database()?.push(worker::RELOAD).await?;
        let message = "Reverb server restart has been queued.";
        Ok(reply::json(StatusCode::OK, &Told { message }))
    }

    fn database(&self) -> Result<&Database, Refusal> {
        self.apps.database().ok_or(Refusal::NoDatabase)
    }

    /// The app of this number, as it stands in a path.
    async fn row(&self, id: &str) -> Result<AppRow, Refusal> {
        let database = self.database()?;
        let found = match number(id) {
            Some(number) => database.apps.row(number).await?,
            None => None,
        };
        found.ok_or_else(|| Refusal::NoApp(said(id)))
    }

    /// The row of an app that was there just now.
    async fn row_of(&self, database: &Database, app: &App) -> Result<AppRow, Refusal> {
        let row = database.apps.row_of(app.id.as_str()).await?;
        row.ok_or_else(|| Refusal::NoApp(app.id.to_string()))
    }

    fn new_app(&self, wanted: &Wanted) -> App {
        let id = format!("app-{}", random_alphanumerics(8));
        let id = wanted.id.as_deref().unwrap_or(&id);
        let app = App::new(id, &new_key(), &random_alphanumerics(64));
        let mut app = app.expect("letters, digits and hyphens will do");
        app.activity_timeout = self.activity_timeout;
        app.max_connections = Some(CONNECTIONS);
        app.allowed_origins = Origins::new::<&str>([]);
        wanted.apply_to(&mut app);
        app
    }

    /// Changes the app of this number.
    async fn change(
        &self,
        id: &str,
        change: impl Fn(&mut App) -> Result<(), Refusal>,
    ) -> Result<AppRow, Refusal> {
        let database = self.database()?;
        let find = || async { Ok(self.row(id).await?.app.map_err(StoreError::from)?) };
        let app = self.apps.change(database, find, change).await;
        let app = app.map_err(|refusal| refusal.of(said(id)))?;
        tracing::info!(app = %app.id, "an app was changed over the management API");
        match self.row_of(database, &app).await {
            // It is done: who was told otherwise, of a new secret say, would do it again.
            Err(Refusal::Unavailable) => Ok(AppRow::new(number(id).unwrap_or_default(), Ok(app))),
            row => row,
        }
    }

    /// Notes what another app has already, so that a caller hears of it together with all other mistakes. Who comes at the same
    /// moment is found by the store.
    async fn note_taken(
        &self,
        database: &Database,
        wanted: &Wanted,
        found: Option<&Arc<App>>,
        mistakes: &mut Mistakes,
    ) -> Result<(), StoreError> {
        let is_there = |found: Result<Option<Arc<App>>, StoreError>| match found {
            Ok(found) => Ok(found.is_some()),
            Err(StoreError::Corrupt(_)) => Ok(true),
            Err(error) => Err(error),
        };
        if let Some(id) = wanted.id.as_deref().filter(|_| !mistakes.has("app_id")) {
            match found {
                Some(app) if app.id.as_str() == id => {}
                Some(_) => mistakes.add("app_id", "The app id field cannot be changed."),
                None => {
                    let other = database.apps.find_by_id(id).await;
                    if self.apps.is_configured(id).await? || is_there(other)? {
                        mistakes.add("app_id", taken("app_id"));
                    }
                }
            }
        }
        if let Some(key) = wanted.key.as_deref().filter(|_| !mistakes.has("app_key")) {
            let is_own = found.is_some_and(|app| app.key.as_str() == key);
            let is_taken = !is_own
                && (self.apps.is_configured_key(key).await?
                    || is_there(database.apps.find_by_key(key).await)?);
            if is_taken {
                mistakes.add("app_key", taken("app_key"));
            }
        }
        Ok(())
    }
}

fn shown(status: StatusCode, app: &Resource<'_>) -> Response<Body> {
    reply::json(status, &Data { data: app })
}

fn new_key() -> String {
    format!("key-{}", random_alphanumerics(16))
}

/// In the old product nobody noticed until the first browser was turned away.
fn warn_of_no_origin(app: &App) {
    if app.allowed_origins.hosts().is_empty() {
        tracing::warn!(
            app = %app.id,
            "the app has no allowed_origins, so that no browser can connect to it; set some, or [\"*\"] for all"
        );
    }
}

/// A body that is an object. None at all is an empty one.
fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let refuse = |why: String| Refusal::Request(StatusCode::BAD_REQUEST, why);
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(refuse("The body must be a JSON object.".to_owned())),
        Err(error) => Err(refuse(format!("The body is no JSON: {error}."))),
    }
}

/// What `?active=` asks for; the last one counts.
fn active(query: &str) -> Result<Option<bool>, Refusal> {
    let mut active = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == "active" {
            active = Some(match value.to_ascii_lowercase().as_str() {
                "1" | "true" => true,
                "0" | "false" | "" => false,
                _ => {
                    let message = "The active field must be true or false.";
                    return Err(Refusal::invalid("active", message));
                }
            });
        }
    }
    Ok(active)
}

/// How long the old secret is to be accepted: seconds, or `24h` and the like.
fn overlap(body: &Map<String, Value>) -> Result<Duration, Refusal> {
    let longest = command::LONGEST;
    let read = match body.get("overlap") {
        None | Some(Value::Null) => Some(OVERLAP),
        Some(Value::Number(seconds)) => seconds.as_u64().map(Duration::from_secs),
        Some(Value::String(text)) => command::duration(text).ok(),
        Some(_) => None,
    };
    read.filter(|overlap| *overlap <= longest).ok_or_else(|| {
        let message = "The overlap field must be a number of seconds, or a time such as 30m, 24h or 7d, of at most 366d.";
        Refusal::invalid("overlap", message)
    })
}

/// Whether it is to be done although an older secret is still accepted.
fn force(body: &Map<String, Value>) -> Result<bool, Refusal> {
    match body.get("force") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(force)) => Ok(*force),
        Some(_) => {
            let message = "The force field must be true or false.";
            Err(Refusal::invalid("force", message))
        }
    }
}

/// The number of an app, written as numbers are.
fn number(id: &str) -> Option<u64> {
    let is_plain = !id.starts_with('0') && id.bytes().all(|b| b.is_ascii_digit());
    id.parse().ok().filter(|_| is_plain)
}

/// What is said again of an id that there is not.
fn said(id: &str) -> String {
    id.chars().take(100).collect()
}
