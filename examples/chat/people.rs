//! Who is logged in: a name, and a cookie that says so. All in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use data_encoding::HEXLOWER;
use serde::Serialize;

/// A person. There are no passwords here: who has the name is the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Person {
    /// The same for one name however it is written, and fit for the name of a channel.
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Person {
    /// Longest name in bytes.
    const LONGEST: usize = 32;

    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        let fits = (1..=Self::LONGEST).contains(&name.len()) && !name.chars().any(char::is_control);
        fits.then(|| Self {
            id: HEXLOWER.encode(name.to_lowercase().as_bytes()),
            name: name.to_owned(),
        })
    }
}

/// Everybody who is logged in, by what is in their cookie.
#[derive(Clone, Default)]
pub(crate) struct People(Arc<Mutex<HashMap<String, Person>>>);

/// The cookie's name.
const SESSION: &str = "session";
/// Most sessions; there is no end to them but logging out.
const MOST: usize = 10_000;

impl People {
    /// Begins a session. Returns the cookie to set, unless there are too many.
    pub(crate) fn log_in(&self, person: Person) -> Option<String> {
        let mut all = self.all();
        if all.len() >= MOST {
            return None;
        }
        let token = format!("{:032x}", rand::random::<u128>());
        // Lax: other sites' pages neither post here nor connect here as this person. Behind TLS it would be `Secure` too.
        let cookie = format!("{SESSION}={token}; Path=/; HttpOnly; SameSite=Lax");
        all.insert(token, person);
        Some(cookie)
    }

    /// Whose request this is.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Person> {
        let all = self.all();
        let lines = headers.get_all(COOKIE).iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == SESSION)
            .find_map(|(_, token)| all.get(token).cloned())
    }

    /// Ends all sessions of this person.
    pub(crate) fn log_out(&self, person: &Person) {
        self.all().retain(|_, other| other.id != person.id);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Person>> {
        self.0.lock().expect("nobody panics with the lock")
    }
}
