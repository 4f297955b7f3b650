//! [`Verdict`]: whether what one connection said and heard makes sense, in itself.

use std::collections::{BTreeMap, VecDeque};

use crate::cast::{Channel, Tenant, User};
use crate::client::{Entry, Said, What};
use crate::deeds::{Deeds, Life};
use crate::heard::{Heard, Members};
use crate::sitting::Sitting;

/// What one connection has been through.
pub(crate) struct Verdict {
    pub(crate) app: Tenant,
    pub(crate) name: String,
    pub(crate) socket_id: String,
    /// Before it connected, and when it was greeted.
    pub(crate) came: (u64, u64),
    pub(crate) is_open: bool,
    /// When it left by itself.
    pub(crate) ended: Option<u64>,
    /// When it was closed, by whomever.
    pub(crate) closed: Option<u64>,
    /// Whether it left without waiting for what was under way.
    pub(crate) hung_up: bool,
    pub(crate) was_terminated: bool,
    /// Whether it was told that it is, with or without a close frame after it.
    pub(crate) was_told: bool,
    pub(crate) user: Option<(String, u64)>,
    /// Watched users, and whether they are online, as far as it was told.
    pub(crate) watched: BTreeMap<String, Option<bool>>,
    pub(crate) sittings: Vec<Sitting>,
    pub(crate) whispers: Vec<Whispered>,
    /// Commands without an answer so far.
    pub(crate) pending: VecDeque<(u64, Said)>,
    /// When that happened which is looked at.
    now: u64,
}

/// A client event that must have reached the others.
pub(crate) struct Whispered {
    pub(crate) at: u64,
    pub(crate) channel: String,
    pub(crate) data: String,
    /// As whom, on presence channels.
    pub(crate) user: Option<String>,
}

/// What follows something that was heard.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// A close frame.
    Close,
    /// Nothing any more: it hung up.
    Drop,
    /// Something else, or nothing so far.
    More,
}

impl Verdict {
    /// Reads a connection's log.
    pub(crate) fn on(life: &Life, deeds: &Deeds) -> Result<Self, String> {
        let mut verdict = Self {
            app: life.app,
            name: format!("{} ({})", life.name, life.socket_id),
            socket_id: life.socket_id.clone(),
            came: life.came,
            is_open: true,
            ended: None,
            closed: None,
            hung_up: false,
            was_terminated: false,
            was_told: false,
            user: None,
            watched: BTreeMap::new(),
            sittings: Vec::new(),
            whispers: Vec::new(),
            pending: VecDeque::new(),
            now: 0,
        };
        let entries = life.log.entries();
        for (n, entry) in entries.iter().enumerate() {
            verdict.now = entry.at;
            let taken = match &entry.what {
                What::Said(said) => {
                    verdict.said(said);
                    Ok(())
                }
                What::Heard(heard) => {
                    // Pings may have been on their way.
                    let next = entries[n + 1..]
                        .iter()
                        .find(|entry| matches!(entry.what, What::Heard(_)));
                    let after = match next.map(|next| &next.what) {
                        Some(What::Heard(Heard::Closed(Some(_)))) => After::Close,
                        None if entries[n + 1..].iter().any(Entry::is_drop) => After::Drop,
                        _ => After::More,
                    };
                    verdict.heard(heard, after, deeds)
                }
            };
            if let Err(why) = taken {
                let around = entries[n.saturating_sub(12)..=n]
                    .iter()
                    .map(|Entry { at, what }| format!("\n  {at} {what:?}"));
                return Err(format!(
                    "{}: {why}{}",
                    verdict.name,
                    around.collect::<String>()
                ));
            }
        }
        Ok(verdict)
    }

    /// Who has signed in, and where.
    pub(crate) fn online(&self) -> Option<(Tenant, String)> {
        self.user.as_ref().map(|(user, _)| (self.app, user.clone()))
    }

    /// The channels that it is in.
    pub(crate) fn seats(&self) -> impl Iterator<Item = &Sitting> {
        self.sittings.iter().filter(|sitting| !sitting.is_over())
    }

    /// The data of the last event that was published in this channel, as far as it heard.
    pub(crate) fn last_published(&self, channel: &str) -> Option<&str> {
        let sitting = self.seats().find(|sitting| sitting.channel == channel)?;
        let published = |event: &&String| event.starts_with("event:");
        sitting
            .events
            .iter()
            .rev()
            .find(published)
            .map(String::as_str)
    }

    fn said(&mut self, said: &Said) {
        if matches!(said, Said::Close | Said::Drop) {
            self.is_open = false;
            self.hung_up = *said == Said::Drop;
            self.ended = Some(self.now);
        }
        self.pending.push_back((self.now, said.clone()));
    }

    fn seat(&mut self, channel: &str) -> Option<&mut Sitting> {
        self.sittings
            .iter_mut()
            .find(|sitting| !sitting.is_over() && sitting.channel == channel)
    }

    /// Commands that are not answered were done before whatever is answered next.
    fn pass_over_silent(&mut self) {
        while let Some((at, said)) = self.pending.pop_front() {
            match said {
                Said::Unsubscribe(channel) => {
                    let now = self.now;
                    if let Some(sitting) = self.seat(channel.name()) {
                        sitting.left = Some(at);
                        sitting.gone = Some(now);
                    }
                }
                Said::Whisper(channel, data) => {
                    let may = self.app.allows_whispers(channel);
                    if let Some(sitting) = self.seat(channel.name()).filter(|_| may) {
                        let user = sitting.user.clone();
                        self.whispers.push(Whispered {
                            at,
                            channel: channel.name().to_owned(),
                            data,
                            user,
                        });
                    }
                }
                other => {
                    self.pending.push_front((at, other));
                    return;
                }
            }
        }
    }

    fn heard(&mut self, heard: &Heard, after: After, deeds: &Deeds) -> Result<(), String> {
        match heard {
            Heard::Error(Some(4009)) if after == After::Close => {
                self.was_told = true;
                Ok(())
            }
            // It may have hung up between a farewell and the close frame.
            Heard::Error(Some(4009)) if after == After::Drop => {
                let pending = self.pending.clone();
                self.was_told = self.failed().is_err();
                if self.was_told {
                    self.pending = pending;
                }
                Ok(())
            }
            Heard::Error(_) => self.failed(),
            Heard::Closed(code) => self.closed(*code),
            Heard::Pong | Heard::SignedIn(_) | Heard::Joined { .. } | Heard::Refused { .. } => {
                self.pass_over_silent();
                let (asked, said) = self.pending.pop_front().ok_or("an answer to nothing")?;
                self.answered(asked, &said, heard)
            }
            Heard::Nonsense(_) => Err("nobody can understand this".to_owned()),
            Heard::Online(user) => self.told(user, true),
            Heard::Offline(user) => self.told(user, false),
            Heard::Missed { channel }
            | Heard::Count { channel, .. }
            | Heard::Added { channel, .. }
            | Heard::Removed { channel, .. }
            | Heard::Event { channel, .. } => {
                let socket_id = self.socket_id.clone();
                let app = self.app;
                let sitting = self.seat(channel).ok_or("it is not in this channel")?;
                sitting.hear(heard, app, &socket_id, deeds)
            }
        }
    }

    /// An error: the answer to a client event, a sign-in, or the first half of a refusal.
    fn failed(&mut self) -> Result<(), String> {
        while let Some((at, said)) = self.pending.pop_front() {
            match said {
                // Nobody sits there, or else it would have been passed over.
                Said::Unsubscribe(channel) => {
                    self.pending.push_front((at, Said::Unsubscribe(channel)));
                    self.pass_over_silent();
                }
                Said::Whisper(channel, _) => {
                    let may = self.app.allows_whispers(channel);
                    return match self.seat(channel.name()) {
                        Some(_) if may => Err("a client event must not fail".to_owned()),
                        _ => Ok(()),
                    };
                }
                Said::SignIn(user, _) => {
                    let is_other = self
                        .user
                        .as_ref()
                        .is_some_and(|(known, _)| known != user.id());
                    return if is_other {
                        Ok(())
                    } else {
                        Err("a sign-in must not fail".to_owned())
                    };
                }
                Said::Subscribe(..) => {
                    self.pending.push_front((at, said));
                    return Ok(());
                }
                _ => return Err("nothing that could fail was said".to_owned()),
            }
        }
        Err("nothing was said".to_owned())
    }

    fn closed(&mut self, code: Option<u16>) -> Result<(), String> {
        let was_open = std::mem::replace(&mut self.is_open, false);
        self.closed = Some(self.now);
        self.was_terminated = code == Some(4009);
        match code {
            Some(4009) => Ok(()),
            None if !was_open => Ok(()),
            _ => Err("why was it closed?".to_owned()),
        }
    }

    fn told(&mut self, user: &str, is_online: bool) -> Result<(), String> {
        let known = self
            .watched
            .get_mut(user)
            .ok_or("it does not watch this user")?;
        match known.replace(is_online) {
            Some(before) if before == is_online => Err("it was told so before".to_owned()),
            _ => Ok(()),
        }
    }

    fn answered(&mut self, asked: u64, said: &Said, heard: &Heard) -> Result<(), String> {
        let at = self.now;
        match (said, heard) {
            (Said::Ping, Heard::Pong) => Ok(()),
            (Said::SignIn(user, watches), Heard::SignedIn(id)) if user.id() == id => {
                if self.user.is_none() {
                    self.user = Some((id.clone(), at));
                    let has_watchlists = self.app.has_watchlists();
                    self.watched = watches
                        .iter()
                        .filter(|_| has_watchlists)
                        .map(|user| (user.id().to_owned(), None))
                        .collect();
                    let channel = format!("#server-to-user-{id}");
                    self.sittings.push(Sitting::new(channel, None, asked, at));
                }
                Ok(())
            }
            (
                Said::Subscribe(channel, user),
                Heard::Joined {
                    channel: name,
                    members,
                },
            ) if channel.name() == name => self.joined(asked, *channel, *user, members),
            (
                Said::Subscribe(channel, user),
                Heard::Refused {
                    channel: name,
                    status,
                },
            ) if channel.name() == name => {
                let user = self.would_be(*channel, *user);
                let is_due = match status {
                    401 if user.is_none() => channel.is_presence(),
                    401 => self.seat(name).is_some_and(|sitting| sitting.user != user),
                    4100 => channel.is_presence() && self.app == Tenant::Blog,
                    _ => false,
                };
                if is_due {
                    Ok(())
                } else {
                    Err("it must not be refused".to_owned())
                }
            }
            _ => Err(format!("this does not answer {said:?}")),
        }
    }

    fn would_be(&self, channel: Channel, user: Option<User>) -> Option<String> {
        let signed_in = || self.user.as_ref().map(|(user, _)| user.clone());
        channel
            .is_presence()
            .then(|| user.map(|user| user.id().to_owned()).or_else(signed_in))
            .flatten()
    }

    fn joined(
        &mut self,
        asked: u64,
        channel: Channel,
        user: Option<User>,
        members: &Members,
    ) -> Result<(), String> {
        let user = self.would_be(channel, user);
        if let Some(sitting) = self.seat(channel.name()) {
            // It is reminded, behind all that it contains.
            if sitting.members != *members {
                return Err(format!("it knows {:?} already", sitting.members));
            }
        } else {
            self.sittings.push(Sitting::new(
                channel.name().to_owned(),
                user.clone(),
                asked,
                self.now,
            ));
        }
        let sitting = self.seat(channel.name()).ok_or("it sits there")?;
        if sitting.user != user || (channel.is_presence() && user.is_none()) {
            return Err("it must be refused".to_owned());
        }
        if user.is_some_and(|user| !members.contains_key(&user)) {
            return Err("it is not in the snapshot itself".to_owned());
        }
        sitting.welcome(members);
        Ok(())
    }
}
