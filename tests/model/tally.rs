//! [`Tally`]: a figure that a backend was told while everything was moving, held against all stays at that time.
//!
//! It was read at one moment between question and answer. So it counts everybody who was there all that time, and nobody
//! who may not have been there at all.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cast::{Channel, Target, Tenant, User};
use crate::client::Said;
use crate::deeds::Deeds;
use crate::judge::Verdict;

/// What a backend was told, and between which stamps it asked and heard.
pub(crate) struct Tally {
    pub(crate) app: Tenant,
    pub(crate) begun: u64,
    pub(crate) done: u64,
    pub(crate) figure: Figure,
}

pub(crate) enum Figure {
    Connections(u64),
    Subscriptions(Channel, u64),
    Users(Channel, u64),
    /// The ids of users, in order.
    Names(Channel, Vec<String>),
}

/// A connection in a channel.
struct Stay {
    user: Option<String>,
    /// When it may have been there, from and to.
    perhaps: (u64, u64),
    /// When it was there for certain.
    surely: Option<(u64, u64)>,
}

impl Figure {
    /// Reads a channel's figures: all that a publisher is told of it, and nothing else.
    pub(crate) fn read(channel: Channel, figures: &Value) -> Result<Vec<Self>, String> {
        let wrong = || format!("the figures of {channel:?}: {figures}");
        let object = figures.as_object().ok_or_else(wrong)?;
        let count = |name: &str| object.get(name)?.as_u64();
        let subscriptions = count("subscription_count").ok_or_else(wrong)?;
        let mut read = vec![Self::Subscriptions(channel, subscriptions)];
        if channel.is_presence() {
            read.push(Self::Users(channel, count("user_count").ok_or_else(wrong)?));
        }
        if object.len() == read.len() {
            Ok(read)
        } else {
            Err(wrong())
        }
    }

    /// The same for a user's own channel, which has none.
    pub(crate) fn read_target(target: Target, figures: &Value) -> Result<Vec<Self>, String> {
        match target {
            Target::Channel(channel) => Self::read(channel, figures),
            Target::User(_) if *figures == json!({}) => Ok(Vec::new()),
            Target::User(user) => Err(format!("the figures of {user:?}: {figures}")),
        }
    }

    /// Reads a list of channels. The witnesses sit in all of them.
    pub(crate) fn read_list(channels: &[Channel], list: &Value) -> Result<Vec<Self>, String> {
        let found = list["channels"].as_object().ok_or("a list of channels")?;
        if found.len() != channels.len() {
            return Err(format!("all of {channels:?}, not {list}"));
        }
        let mut read = Vec::new();
        for channel in channels {
            read.extend(Self::read(*channel, &list["channels"][channel.name()])?);
        }
        Ok(read)
    }
}

impl Tally {
    /// Compares it with where all connections were.
    pub(crate) fn check(&self, verdicts: &[Verdict], deeds: &Deeds) -> Result<(), String> {
        let of_app = || verdicts.iter().filter(|verdict| verdict.app == self.app);
        let users = |channel: Channel| {
            let stays: Vec<Stay> = of_app()
                .flat_map(|verdict| verdict.stays(channel, deeds))
                .collect();
            let perhaps = stays.iter().filter(|stay| self.touches(stay.perhaps));
            let perhaps: BTreeSet<String> = perhaps.filter_map(|stay| stay.user.clone()).collect();
            let surely = stays
                .iter()
                .filter(|stay| stay.surely.is_some_and(|stay| self.is_within(stay)));
            let surely: BTreeSet<String> = surely.filter_map(|stay| stay.user.clone()).collect();
            (surely, perhaps)
        };
        match &self.figure {
            Figure::Connections(told) => {
                let perhaps =
                    of_app().filter(|verdict| self.touches((verdict.came.0, verdict.gone(deeds))));
                let surely = of_app()
                    .filter(|verdict| self.is_within((verdict.came.1, verdict.last_seen(deeds))));
                self.expect("connections", *told, surely.count(), perhaps.count())
            }
            Figure::Subscriptions(channel, told) => {
                let has = |verdict: &&Verdict, is: &dyn Fn(&Stay) -> bool| {
                    verdict.stays(*channel, deeds).iter().any(is)
                };
                let perhaps =
                    of_app().filter(|verdict| has(verdict, &|stay| self.touches(stay.perhaps)));
                let surely = of_app().filter(|verdict| {
                    has(verdict, &|stay| {
                        stay.surely.is_some_and(|stay| self.is_within(stay))
                    })
                });
                let what = format!("subscriptions to {channel:?}");
                self.expect(&what, *told, surely.count(), perhaps.count())
            }
            Figure::Users(channel, told) => {
                let (surely, perhaps) = users(*channel);
                let what = format!("users in {channel:?}");
                self.expect(&what, *told, surely.len(), perhaps.len())
            }
            Figure::Names(channel, told) => {
                let (surely, perhaps) = users(*channel);
                let is_twice = told.windows(2).any(|two| two[0] == two[1]);
                let told: BTreeSet<String> = told.iter().cloned().collect();
                if !is_twice && surely.is_subset(&told) && told.is_subset(&perhaps) {
                    return Ok(());
                }
                Err(format!(
                    "{:?} was told of {told:?} in {channel:?}: {surely:?} were there, {perhaps:?} may have been",
                    self.app
                ))
            }
        }
    }

    fn expect(&self, what: &str, told: u64, least: usize, most: usize) -> Result<(), String> {
        if (least as u64..=most as u64).contains(&told) {
            return Ok(());
        }
        Err(format!(
            "{:?} was told of {told} {what}, there were {least} to {most}",
            self.app
        ))
    }

    /// Whether something was so at any time between question and answer.
    fn touches(&self, (from, to): (u64, u64)) -> bool {
        from < self.done && self.begun < to
    }

    /// Whether something was so all the time between question and answer.
    fn is_within(&self, (from, to): (u64, u64)) -> bool {
        from < self.begun && self.done < to
    }
}

impl Verdict {
    /// When the connection was gone for certain.
    fn gone(&self, deeds: &Deeds) -> u64 {
        let end = self.ended.into_iter().chain(self.closed).min();
        end.map_or(u64::MAX, |end| deeds.settled_after(end))
    }

    /// Until when the connection was there for certain. Whoever hangs up may have been terminated without hearing of it.
    fn last_seen(&self, deeds: &Deeds) -> u64 {
        let closed = self.closed.filter(|_| self.was_terminated);
        let hung_up = self.ended.filter(|_| self.hung_up);
        let terminated = closed
            .or(hung_up)
            .map(|end| deeds.terminating(self.app, |user| self.may_be(user), end));
        self.ended
            .into_iter()
            .chain(terminated)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// When it asked to leave a channel without hearing that it has.
    fn leaves(&self, channel: Channel) -> Option<u64> {
        let mut left = self.pending.iter().filter_map(|(at, said)| match said {
            Said::Unsubscribe(left) if *left == channel => Some(*at),
            _ => None,
        });
        left.next()
    }

    /// Whether it has been this user at some time, or may have become it without hearing of it.
    fn may_be(&self, user: &str) -> bool {
        let seated = self
            .sittings
            .iter()
            .filter_map(|sitting| sitting.user.as_deref());
        let signed_in = self.user.iter().map(|(user, _)| user.as_str());
        let asked = self.pending.iter().filter_map(|(_, said)| match said {
            Said::SignIn(user, _) | Said::Subscribe(_, Some(user)) => Some(user.id()),
            _ => None,
        });
        seated
            .chain(signed_in)
            .chain(asked)
            .any(|other| other == user)
    }

    /// All its stays in a channel, and what may have become one without its hearing of it.
    fn stays(&self, channel: Channel, deeds: &Deeds) -> Vec<Stay> {
        let sat = self
            .sittings
            .iter()
            .filter(|sitting| sitting.channel == channel.name());
        let sat = sat.map(|sitting| Stay {
            user: sitting.user.clone(),
            perhaps: (
                sitting.asked,
                sitting.gone.unwrap_or_else(|| self.gone(deeds)),
            ),
            surely: Some((
                sitting.joined,
                sitting.left.unwrap_or_else(|| {
                    let last_seen = self.last_seen(deeds);
                    self.leaves(channel)
                        .map_or(last_seen, |left| left.min(last_seen))
                }),
            )),
        });
        let signing_in = self.pending.iter().filter_map(|(_, said)| match said {
            Said::SignIn(user, _) => Some(user.id().to_owned()),
            _ => None,
        });
        let signed_in: Vec<String> = signing_in
            .chain(self.user.iter().map(|(user, _)| user.clone()))
            .collect();
        let asked = self.pending.iter().filter_map(|(at, said)| match said {
            Said::Subscribe(asked, user) if *asked == channel => Some((*at, *user)),
            _ => None,
        });
        let unheard = asked.flat_map(|(at, user): (u64, Option<User>)| {
            let users: Vec<Option<String>> = match user {
                _ if !channel.is_presence() => vec![None],
                Some(user) => vec![Some(user.id().to_owned())],
                None => signed_in.iter().cloned().map(Some).collect(),
            };
            users.into_iter().map(move |user| (at, user))
        });
        let unheard = unheard.map(|(at, user)| Stay {
            user,
            perhaps: (at, self.gone(deeds)),
            surely: None,
        });
        sat.chain(unheard).collect()
    }
}
