//! Signing in: the client says who its user is, and the app has signed it. Source: Pusher Channels, user authentication.

use crate::protocol::auth;
use crate::protocol::member::UserData;
use crate::protocol::{App, Member, Outgoing, UserId};

use super::{Command, Now, Seat, Session, Wishes};

/// The user of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// Who, as a presence channel would show it.
    pub member: Member,
    /// Where the connection hears what is meant for the user; `None` until the hub has seated it.
    pub seat: Option<Seat>,
}

impl Session {
    pub(super) fn sign_in(
        &mut self,
        app: &App,
        auth: &str,
        user_data: &str,
        now: Now,
        wishes: &mut Wishes,
    ) {
        const UNAUTHORIZED: Option<u16> = Some(4009);
        // pusher-js has no event for a failed sign-in: it shows the error and waits, so the connection stays open.
        if let Err(bad) = auth::check_user(app, auth, self.socket_id, user_data, now.unix) {
            return wishes.error(UNAUTHORIZED, &bad.to_string());
        }
        let user = match UserData::parse(user_data) {
            Ok(user) => user,
            Err(invalid) => {
                return wishes.error(UNAUTHORIZED, &format!("Invalid user_data: {invalid}"));
            }
        };
        if let Some(known) = &self.user {
            return match known.member.id == user.member.id {
                true => wishes.say(Outgoing::signin_success(user_data)),
                false => wishes.error(UNAUTHORIZED, "The connection is signed in as another user"),
            };
        }
        wishes.say(Outgoing::signin_success(user_data));
        let mut watchlist = user.watchlist;
        if !app.watchlist {
            watchlist.clear();
        } else if user.watchlist_cut {
            let text = format!(
                "The watchlist is too long: only the first {} users are watched",
                UserData::MAX_WATCHED
            );
            wishes.error(Some(4302), &text);
        }
        wishes.ask(Command::SignIn {
            user: user.member.id.clone(),
            watchlist,
        });
        self.user = Some(Box::new(SignedIn {
            member: user.member,
            seat: None,
        }));
    }

    pub(super) fn signed_in(
        &mut self,
        seat: Seat,
        online: &[UserId],
        offline: &[UserId],
        wishes: &mut Wishes,
    ) {
        if let Some(user) = &mut self.user {
            user.seat = Some(seat);
        }
        if !online.is_empty() || !offline.is_empty() {
            wishes.say(Outgoing::watchlist_events(online, offline));
        }
    }
}
