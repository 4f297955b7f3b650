//! The promises of a store, each as a test that runs in all of them.

mod records;
mod sessions;
mod users;

use std::sync::Arc;

use reverb_server::panel::store::{
    NewEntry, NewSession, NewUser, PanelError, PanelStore, PasswordHash, Session, SessionKey, User,
    UserChange,
};

pub(crate) use self::records::*;
pub(crate) use self::sessions::*;
pub(crate) use self::users::*;

pub(crate) type Store = Arc<dyn PanelStore>;

/// Of the word `password`.
pub(crate) const HASH: &str = "$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi";

/// A time like any other.
pub(crate) const NOW: u64 = 1_779_271_230;

/// All of them against the stores that this makes.
macro_rules! promises {
    ($open:expr) => {
        $crate::contract::promises!($open;
            users_are_found_and_listed_in_the_order_in_which_they_were_made,
            an_address_is_one_users_whatever_its_case,
            what_cannot_be_kept_is_refused,
            what_is_not_said_of_a_user_stays,
            the_last_active_user_stays_and_stays_active,
            of_two_who_take_each_other_away_at_once_one_succeeds,
            who_is_not_there_is_missing,
            another_password_ends_the_other_sessions,
            a_session_is_found_with_its_user_as_it_is_now,
            a_session_ends_with_its_user,
            a_session_is_seen_and_saved_while_it_is_there,
            a_user_has_a_hundred_sessions_at_most,
            what_a_browser_says_of_itself_is_bounded,
            settings_are_kept,
            what_was_done_is_listed_newest_first,
            what_is_too_long_for_the_log_is_cut_or_refused,
            what_is_old_is_swept_away_slice_by_slice,
            what_was_done_to_a_user_is_noted_and_what_was_refused_is_not,
            of_many_who_ask_at_once_one_has_the_turn,
        );
    };
    ($open:expr; $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::contract::$name($open.await).await;
            }
        )*
    };
}
pub(crate) use promises;

pub(crate) fn hash(hash: &str) -> PasswordHash {
    PasswordHash::new(hash).expect("a hash")
}

/// Another hash with this end, four characters.
pub(crate) fn other_hash(end: &str) -> PasswordHash {
    hash(&format!("{}{end}", &HASH[..56]))
}

/// What is noted of a change at this time.
pub(crate) fn at(now: u64) -> NewEntry {
    NewEntry::new(now, "test", "user.test", "")
}

pub(crate) async fn make(store: &Store, name: &str) -> User {
    let user = NewUser::new(name, &format!("{name}@example.com"), hash(HASH));
    store.create_user(&user, &at(NOW)).await.expect("made")
}

/// A change that this makes.
pub(crate) fn change(set: impl FnOnce(&mut UserChange)) -> UserChange {
    let mut change = UserChange::default();
    set(&mut change);
    change
}

pub(crate) async fn log_in(store: &Store, user: &User, token: &str, now: u64) -> SessionKey {
    let key = SessionKey::of(token);
    let session = NewSession::new(key, user.id);
    store.create_session(&session, now).await.expect("begun");
    key
}

pub(crate) async fn found(store: &Store, key: &SessionKey) -> Option<(Session, User)> {
    store.find_session(key).await.expect("an answer")
}

pub(crate) fn is_last_active<T>(result: &Result<T, PanelError>) -> bool {
    matches!(result, Err(PanelError::LastActive(_)))
}
