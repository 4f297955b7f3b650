//! Asking the authorizer about subscriptions. While it thinks about one, commands on that channel wait; others go on.

use std::sync::Arc;

use crate::hooks::{Denied, Pass, SubscribeRequest};
use crate::protocol::incoming::ClientMessage;
use crate::protocol::{App, ChannelName, Member};
use crate::session::{Now, Outcome, Refusal};

use super::connection::{Connection, Guest, Pending};
use super::mailbox::{Letter, Slot};
use super::shard::Shard;
use super::{DECISION_TIMEOUT, poll_once};

/// Most subscriptions of one client that are decided at a time.
const MOST_PENDING: usize = 64;

impl Shard {
    /// Asks whether this guest may be seated here. `None` if the answer will come by mail.
    pub(super) fn authorize(
        &mut self,
        slot: u32,
        app: &Arc<App>,
        channel: &ChannelName,
        member: Option<&Member>,
    ) -> Option<Result<(), Denied>> {
        let Some(authorizer) = self.shared.authorizer.clone() else {
            return Some(Ok(()));
        };
        let connection = self.connection(slot)?;
        let at = Slot {
            index: slot,
            generation: connection.generation,
        };
        let guest = connection.guest()?;
        let pass = guest
            .extra
            .as_ref()
            .map_or_else(Pass::default, |extra| extra.pass.clone());
        let request = SubscribeRequest::new(
            app.clone(),
            guest.session.socket_id(),
            pass,
            channel.clone(),
            member.cloned(),
        );
        let asked = async move {
            let answer = async { authorizer.subscribe(&request).await };
            let late = || Err(Denied::undecided());
            super::guarded(DECISION_TIMEOUT, answer)
                .await
                .unwrap_or_else(late)
        };
        let asked = match poll_once(Box::pin(asked)) {
            Ok(verdict) => return Some(verdict),
            Err(asked) => asked,
        };
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = self.tickets;
        self.guest(slot).extra().pending.push(Pending {
            ticket,
            channel: channel.clone(),
        });
        let (mailbox, member) = (self.mailbox.clone(), member.cloned());
        tokio::spawn(async move {
            let verdict = asked.await;
            mailbox.send(Letter::Verdict {
                slot: at,
                ticket,
                member,
                verdict,
            });
        });
        None
    }

    /// The authorizer has decided.
    pub(super) fn hear_verdict(
        &mut self,
        slot: Slot,
        ticket: u32,
        member: Option<Member>,
        verdict: Result<(), Denied>,
    ) {
        let Some(guest) = self.same(slot).and_then(Connection::guest) else {
            return;
        };
        let pending = &mut guest.extra().pending;
        let Some(n) = pending.iter().position(|pending| pending.ticket == ticket) else {
            return;
        };
        let channel = pending.swap_remove(n).channel;
        let (seats, number) = (guest.session.subscriptions().len(), guest.app);
        let app = self.apps.get(number).app.clone();
        let most = app.limits.channels_per_connection;
        let outcome = match verdict {
            Err(denied) => Outcome::Refused {
                channel,
                refusal: denied.into(),
            },
            // Others may have been let in meanwhile.
            Ok(()) if seats >= most => Outcome::Refused {
                channel,
                refusal: Refusal::TooManyChannels(most),
            },
            Ok(()) => self.subscribe(slot.index, &app, channel, member),
        };
        let Self {
            connections,
            wishes,
            ..
        } = self;
        if let Some(guest) =
            super::connection::at(connections, slot.index).and_then(Connection::guest)
        {
            guest.session.handle_outcome(outcome, wishes);
        }
        self.carry_out(slot.index, &app);
        self.go_on(slot.index);
    }

    /// Handles what a guest said and had to wait with, if it need not wait any more.
    fn go_on(&mut self, slot: u32) {
        let Self {
            connections,
            apps,
            wishes,
            now,
            unix_time,
            ..
        } = self;
        let moment = Now {
            instant: *now,
            unix: *unix_time,
        };
        let Some(guest) = super::connection::at(connections, slot).and_then(Connection::guest)
        else {
            return;
        };
        let Some(text) = guest.extra().deferred.take() else {
            return;
        };
        if guest.must_wait(&text) {
            guest.extra().deferred = Some(text);
            return;
        }
        let app = apps.get(guest.app).app.clone();
        let judge = || guest.session.handle_text(&app, &text, moment, wishes);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(judge)).is_err() {
            return self.broke(slot);
        }
        self.shared.metrics.received(&app.id);
        self.carry_out(slot, &app);
        self.ready.push_back(slot);
    }
}

impl Guest {
    /// Whether this message is about a channel that is being decided, or would have one more decided than may be.
    pub(super) fn must_wait(&self, text: &str) -> bool {
        let Some(extra) = self
            .extra
            .as_deref()
            .filter(|extra| !extra.pending.is_empty())
        else {
            return false;
        };
        let is_full = extra.pending.len() >= MOST_PENDING;
        let is_pending = |channel: &str| {
            extra
                .pending
                .iter()
                .any(|pending| pending.channel.as_str() == channel)
        };
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Subscribe { channel, .. }) => is_full || is_pending(&channel),
            Ok(
                ClientMessage::Unsubscribe { channel } | ClientMessage::ClientEvent { channel, .. },
            ) => is_pending(&channel),
            _ => false,
        }
    }
}

impl Denied {
    fn undecided() -> Self {
        Self::new(
            "AuthError",
            503,
            "The server could not decide in time, try again",
        )
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let Denied {
            kind,
            status,
            message,
        } = denied;
        Self::Denied {
            kind,
            status,
            message,
        }
    }
}
