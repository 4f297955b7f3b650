//! [`MySqlUsers`]: the users of the PHP product's panel.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use reverb_core::app_store::StoreError;

use crate::database::{Failed, MySql, patiently};

/// The users in a database of the PHP product. Where it has no such table there are none.
#[derive(Clone, Debug)]
pub struct MySqlUsers {
    database: MySql,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Which row.
    pub id: u64,
    /// For people.
    pub name: String,
    /// What the user logs in with; upper and lower case are the same.
    pub email: String,
    /// Whether the user may; older tables cannot say that one may not.
    pub active: bool,
    /// The hash of the password, as bcrypt writes it.
    pub password_hash: String,
}

impl MySql {
    /// The users in it.
    #[must_use]
    pub fn users(&self) -> MySqlUsers {
        MySqlUsers {
            database: self.clone(),
        }
    }
}

impl MySqlUsers {
    /// The user with this e-mail address.
    ///
    /// # Errors
    /// The database cannot tell.
    pub async fn find(&self, email: &str) -> Result<Option<User>, StoreError> {
        let found = self.select("email = ?", vec![email.to_owned()]).await?;
        Ok(found.into_iter().next())
    }

    /// All users, in the order in which they were made.
    ///
    /// # Errors
    /// The database cannot tell.
    pub async fn list(&self) -> Result<Vec<User>, StoreError> {
        self.select("1 ORDER BY id", Vec::new()).await
    }

    async fn select(&self, clause: &str, params: Vec<String>) -> Result<Vec<User>, StoreError> {
        let users = patiently(async {
            let mut conn = self.database.conn().await?;
            let sql = "SELECT column_name FROM information_schema.columns
                       WHERE table_schema = DATABASE() AND table_name = 'users'";
            let columns: Vec<String> = conn.query(sql).await?;
            if columns.is_empty() {
                return Ok::<_, Failed>(Vec::new());
            }
            // Added in October 2025.
            let active = match columns.iter().any(|column| column == "active") {
                true => "active",
                false => "1",
            };
            let sql =
                format!("SELECT id, name, email, {active}, password FROM users WHERE {clause}");
            let rows: Vec<Row> = match params.is_empty() {
                true => conn.query(sql).await?,
                false => conn.exec(sql, params).await?,
            };
            Ok(rows.into_iter().filter_map(user).collect())
        });
        Ok(users.await?)
    }
}

fn user(row: Row) -> Option<User> {
    let (id, name, email, active, password_hash) = mysql_async::from_row_opt(row).ok()?;
    Some(User {
        id,
        name,
        email,
        active,
        password_hash,
    })
}
