//! [`DatabaseSettings`]: where apps are kept, if not in a file in the data folder.

use std::fmt;
use std::net::IpAddr;

use reverb_mysql::{EnforceMaxConnections, LaravelKeys, MySql};

use super::env::Environment;
use super::table::Found;
use super::values;

/// Where apps are kept, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DatabaseSettings {
    /// The MySQL or MariaDB; by default there is none, but a file in the data folder.
    pub url: Option<DatabaseUrl>,
    /// The keys of the PHP product, with which secrets are kept then.
    pub laravel: Option<LaravelKeys>,
    /// Whether `max_connections` holds for apps that only the PHP product has written.
    pub enforce: EnforceMaxConnections,
}

/// The address of a database, with a password that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// With the password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:***@{host}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands behind `--database-url`. It may hold a password, and is not shown, nor by the parser of the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenUrl(String);

impl From<String> for HiddenUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl HiddenUrl {
    /// As it was given.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HiddenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What `--database-url` and its siblings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// This one.
    Url(DatabaseUrl),
    /// The database that the environment of a Laravel application describes.
    Laravel,
}

/// `mysql://…`, or `laravel`.
pub(crate) fn said(text: &str) -> Result<Said, String> {
    match text {
        "laravel" => Ok(Said::Laravel),
        _ => url(text).map(Said::Url),
    }
}

fn url(text: &str) -> Result<DatabaseUrl, String> {
    // The text may hold a password: it is not repeated.
    MySql::check(text).map_err(|error| error.to_string())?;
    Ok(DatabaseUrl(text.to_owned()))
}

/// `auto` or `true`.
pub(super) fn enforce(text: &str) -> Result<EnforceMaxConnections, String> {
    match text {
        "auto" => Ok(EnforceMaxConnections::Auto),
        "true" => Ok(EnforceMaxConnections::Always),
        _ => Err(format!("must be \"auto\" or true, not {text:?}")),
    }
}

/// The database in `DB_HOST` and so on.
pub(super) fn of_laravel(env: &Environment) -> Option<Found<DatabaseUrl>> {
    let text = |name| env.get(name).map(|found| found.value.to_owned());
    if let Some(connection) = env.get("DB_CONNECTION")
        && !["mysql", "mariadb"].contains(&connection.value)
    {
        let told = format!(
            "is {:?}, but only mysql and mariadb can be used",
            connection.value
        );
        env.complain("DB_CONNECTION", told);
        return None;
    }
    if env.get("DB_URL").is_some() {
        return env.parse("DB_URL", url);
    }
    let Some(database) = env.get("DB_DATABASE") else {
        env.complain(
            "DB_DATABASE",
            "is missing: --database-url laravel needs it".to_owned(),
        );
        return None;
    };
    let host = env.parse("DB_HOST", values::host);
    let host = host.map_or_else(|| "127.0.0.1".to_owned(), |found| found.value);
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("[{host}]"),
        _ => host,
    };
    let port = env.parse("DB_PORT", |text| {
        values::number::<u16>(text, values::PUBLIC_PORTS)
    });
    let port = port.map_or(3306, |found| found.value);
    let user = percent(&text("DB_USERNAME").unwrap_or_else(|| "root".to_owned()));
    let password = percent(&text("DB_PASSWORD").unwrap_or_default());
    let name = percent(database.value);
    let options = [("socket", "DB_SOCKET"), ("ssl_ca", "MYSQL_ATTR_SSL_CA")];
    let options = options.map(|(option, name)| Some((option, text(name)?)));
    let mut query = String::new();
    for (option, value) in options.into_iter().flatten() {
        let sign = if query.is_empty() { '?' } else { '&' };
        query += &format!("{sign}{option}={}", percent(&value));
    }
    match url(&format!(
        "mysql://{user}:{password}@{host}:{port}/{name}{query}"
    )) {
        Ok(url) => Some(Found::new(url, database.from)),
        Err(told) => {
            env.complain("DB_HOST", told);
            None
        }
    }
}

/// `APP_KEY` and `APP_PREVIOUS_KEYS`.
pub(super) fn laravel_keys(env: &Environment) -> Option<Found<LaravelKeys>> {
    let previous = env.get("APP_PREVIOUS_KEYS");
    let previous = previous.map_or("", |found| found.value);
    let keys = |key: &str| LaravelKeys::new(key, previous);
    let key = env.get("APP_KEY")?;
    match keys(key.value) {
        Ok(keys) => Some(Found::new(keys, key.from)),
        Err(error) => {
            env.complain(
                error.name,
                "is no key of Laravel's AES-256-CBC: \"base64:\" and 44 characters".to_owned(),
            );
            None
        }
    }
}

fn percent(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encode = |byte: u8| match is_plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let shown = |text| match said(text).expect("an address") {
            Said::Url(url) => format!("{url} {url:?}"),
            Said::Laravel => "laravel".to_owned(),
        };
        let both = "mysql://me:***@db.test:3307/apps mysql://me:***@db.test:3307/apps";
        assert_eq!(shown("mysql://me:s3%40cret@db.test:3307/apps"), both);
        assert_eq!(
            shown("mysql://db.test/apps"),
            "mysql://db.test/apps mysql://db.test/apps"
        );
        assert_eq!(said("laravel"), Ok(Said::Laravel));
        for wrong in [
            "",
            "sqlite://x",
            "mysql://me:s3cret@db.test",
            "mysql://me:s3cret@db.test:port/apps",
        ] {
            let told = said(wrong).expect_err("refused");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn what_is_special_in_a_url_is_escaped() {
        assert_eq!(percent("a-1_ü@/:%"), "a-1_%C3%BC%40%2F%3A%25");
    }
}
