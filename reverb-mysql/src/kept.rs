//! [`Kept`]: an app on its way into the tables.

use mysql_async::prelude::Queryable;
use mysql_async::{Params, Transaction, params};
use reverb_core::app_store::{AppSettings, EditError, LastUse};
use reverb_core::protocol::App;

use crate::database::Failed;
use crate::migrate::room_for_secrets;
use crate::row::AppColumns;
use crate::secrets::Secrets;

/// An app as it goes into the columns.
pub(crate) struct Kept {
    secret: String,
    max_connections: i64,
    unlimited_at: Option<i64>,
    old_secret: Option<(String, u64)>,
    settings: String,
    origins: Option<String>,
}

/// What `max_connections` is where nothing was said; the PHP product's default.
const DEFAULT_MAX: i64 = 1000;
/// Characters of a name.
const MAX_NAME: usize = 255;

impl Kept {
    /// `before` is the row that it replaces.
    pub(crate) fn of(
        app: &App,
        before: Option<(&AppColumns, &App)>,
        secrets: &Secrets,
    ) -> Result<Self, EditError> {
        let unfit = |field, reason: &str| EditError::Unfit {
            field,
            reason: reason.to_owned(),
        };
        if app.name.chars().count() > MAX_NAME {
            return Err(unfit("name", "it has more than 255 characters"));
        }
        let id = app.id.as_str();
        // What is encrypted as it should be stays: its column would change with every edit.
        let same = before.filter(|(row, before)| {
            before.secret.reveal() == app.secret.reveal() && secrets.is_current(&row.app_secret)
        });
        let secret = match same {
            Some((row, _)) => row.app_secret.clone(),
            None => secrets.write(id, app.secret.reveal()),
        };
        let column = before.map_or(DEFAULT_MAX, |(row, _)| row.max_connections);
        let (max_connections, unlimited_at) = match app.max_connections {
            None => (column, Some(column)),
            Some(most) => match i32::try_from(most) {
                Ok(most) => (most.into(), None),
                Err(_) => {
                    return Err(unfit(
                        "max_connections",
                        "it is more than 2147483647: leave it out for no limit",
                    ));
                }
            },
        };
        let mut settings = AppSettings::of(app);
        (settings.name, settings.description, settings.active) = (None, None, None);
        (settings.allowed_origins, settings.max_connections) = (None, None);
        let hosts = app.allowed_origins.hosts();
        let hosts =
            (!hosts.is_empty()).then(|| serde_json::to_string(hosts).expect("texts are JSON"));
        let old = app.old_secret.as_ref();
        Ok(Self {
            secret,
            max_connections,
            unlimited_at,
            old_secret: old.map(|old| (secrets.write(id, old.secret.reveal()), old.until)),
            settings: serde_json::to_string(&settings).expect("settings are JSON"),
            origins: hosts,
        })
    }

    pub(crate) async fn check_room(&self, transaction: &mut Transaction<'_>) -> Result<(), Failed> {
        check_room(transaction, &self.secret).await
    }

    /// What goes into `reverb_apps`.
    pub(crate) fn columns(&self, app: &App) -> Params {
        params! {
            "name" => &app.name,
            "id" => app.id.as_str(),
            "key" => app.key.as_str(),
            "secret" => &self.secret,
            "description" => (!app.description.is_empty()).then_some(&app.description),
            "active" => app.active,
            "max" => self.max_connections,
            "origins" => &self.origins,
        }
    }

    /// Writes what goes into `rp_apps`.
    pub(crate) async fn write_beside(
        &self,
        transaction: &mut Transaction<'_>,
        row_id: u64,
        used: LastUse,
    ) -> Result<(), Failed> {
        let (old, until) = self.old_secret.clone().unzip();
        let sql = "UPDATE rp_apps SET settings = ?, unlimited_at = ?, old_secret = ?, old_secret_until = ?, edited_here = 1
                   WHERE row_id = ?";
        let values = (&self.settings, self.unlimited_at, old, until, row_id);
        transaction.exec_drop(sql, values).await?;
        write_use(transaction, row_id, used).await
    }
}

pub(crate) async fn write_use(
    conn: &mut impl Queryable,
    row_id: u64,
    used: LastUse,
) -> Result<(), Failed> {
    let sql = "UPDATE rp_apps SET secret_used = ?, old_secret_used = ? WHERE row_id = ?";
    Ok(conn
        .exec_drop(sql, (used.secret, used.old_secret, row_id))
        .await?)
}

/// Refuses a secret that the column would cut off: it was shorter in older versions of the PHP product.
pub(crate) async fn check_room(
    transaction: &mut Transaction<'_>,
    secret: &str,
) -> Result<(), Failed> {
    match room_for_secrets(transaction).await? {
        room if (secret.len() as u64) > room => Err(Failed::Refused(EditError::Unfit {
            field: "secret",
            reason: format!(
                "encrypted it has {} characters, but the column app_secret has room for {room}: \
                 reverb-server migrate --widen-secrets makes it a TEXT",
                secret.len()
            ),
        })),
        _ => Ok(()),
    }
}
