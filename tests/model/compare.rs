//! What all connections have been through, beside each other.

use crate::cast::Channel;
use crate::client::Said;
use crate::deeds::Deeds;
use crate::heard::Heard;
use crate::judge::Verdict;
use crate::sitting::Sitting;

/// Compares what all connections have been through. The first ones are the witnesses, in the order of the apps.
pub(crate) fn compare(verdicts: &[Verdict], deeds: &Deeds) -> Result<(), String> {
    for verdict in verdicts {
        verdict.check_events(verdicts, deeds)?;
        verdict.check_whispers(verdicts)?;
        verdict.check_end(deeds)?;
        let witness = &verdicts[verdict.app as usize];
        for sitting in &verdict.sittings {
            let truth = witness.seats().find(|seat| seat.channel == sitting.channel);
            if let Some(truth) = truth {
                verdict.check_segments(sitting, truth, deeds)?;
            }
        }
        for sitting in verdict.seats().filter(|_| verdict.is_open) {
            let here = || {
                verdicts
                    .iter()
                    .filter(|other| other.app == verdict.app && other.is_open)
            };
            let count = here()
                .flat_map(Verdict::seats)
                .filter(|seat| seat.channel == sitting.channel)
                .count();
            let counts = |channel: Channel| verdict.app.counts(channel);
            let expected = Channel::of(&sitting.channel)
                .filter(|channel| counts(*channel))
                .map(|_| count as u64);
            if sitting.count != expected {
                return Err(format!(
                    "{} was told of {:?} subscribers to {}, and should know of {expected:?}",
                    verdict.name, sitting.count, sitting.channel
                ));
            }
        }
    }
    deeds
        .told
        .iter()
        .try_for_each(|tally| tally.check(verdicts, deeds))
}

impl Verdict {
    /// Whoever sat in a channel all the while an event was published there has heard it.
    fn check_events(&self, all: &[Self], deeds: &Deeds) -> Result<(), String> {
        if self.hung_up || self.was_terminated {
            return Ok(());
        }
        for sitting in &self.sittings {
            let left = sitting.left.or(self.ended).unwrap_or(u64::MAX);
            let missed = |data: &str| !sitting.events.iter().any(|event| event == data);
            for (data, published) in &deeds.published {
                let is_for_us = published.app == self.app
                    && published.to.contains(&sitting.channel)
                    && published.except.as_ref() != Some(&self.socket_id);
                let was_here = sitting.joined < published.begun && published.done < left;
                if is_for_us && was_here && missed(data) {
                    return Err(format!(
                        "{} never heard {data} in {}",
                        self.name, sitting.channel
                    ));
                }
            }
            for other in all
                .iter()
                .filter(|other| other.app == self.app && other.socket_id != self.socket_id)
            {
                for whisper in &other.whispers {
                    let was_here = sitting.joined < whisper.at && left == u64::MAX;
                    if whisper.channel == sitting.channel && was_here && missed(&whisper.data) {
                        return Err(format!(
                            "{} never heard {} in {}",
                            self.name, whisper.data, sitting.channel
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Every client event it heard was sent by another client of its app in that channel, under its own name.
    fn check_whispers(&self, all: &[Self]) -> Result<(), String> {
        let of_app = || {
            all.iter()
                .filter(|other| other.app == self.app && other.socket_id != self.socket_id)
        };
        for sitting in &self.sittings {
            for (data, user) in &sitting.whispers {
                let is_this =
                    |channel: &str, said: &str| channel == sitting.channel && said == data;
                let is_sent = of_app().flat_map(|other| &other.whispers).any(|whisper| {
                    is_this(&whisper.channel, &whisper.data) && whisper.user == *user
                });
                // Whoever has hung up never heard of the seat from which it spoke, nor as whom.
                let is_last_word = || {
                    let pending = of_app().flat_map(|other| &other.pending);
                    pending.clone().any(|(_, said)| {
                        matches!(said, Said::Whisper(channel, said) if is_this(channel.name(), said)
                            && channel.is_presence() == user.is_some())
                    })
                };
                if !is_sent && !is_last_word() {
                    return Err(format!(
                        "{} heard {data} by {user:?} in {}, and nobody there said it",
                        self.name, sitting.channel
                    ));
                }
            }
        }
        Ok(())
    }

    /// Those who were terminated, and only those, were closed.
    fn check_end(&self, deeds: &Deeds) -> Result<(), String> {
        let users = self.sittings.iter().filter_map(|sitting| {
            let user = sitting.user.as_deref()?;
            Some((user, sitting.joined, sitting.left))
        });
        let signed_in = self
            .user
            .iter()
            .map(|(user, at)| (user.as_str(), *at, None));
        let users: Vec<_> = users.chain(signed_in).collect();
        let of_app = || {
            deeds
                .terminated
                .iter()
                .filter(|terminated| terminated.app == self.app)
        };
        if self.was_terminated || self.was_told {
            let is_due =
                of_app().any(|terminated| users.iter().any(|(user, ..)| *user == terminated.user));
            return if is_due {
                Ok(())
            } else {
                Err(format!("{} was terminated", self.name))
            };
        }
        // The answer says that the shards have been told, not that they have done it: who leaves meanwhile is spared.
        let survived = of_app().any(|terminated| {
            users.iter().any(|(user, joined, left)| {
                *user == terminated.user && *joined < terminated.begun && left.is_none()
            })
        });
        if survived && self.is_open {
            return Err(format!("{} was not terminated", self.name));
        }
        Ok(())
    }

    /// What was heard in a presence or cache channel is a piece of what the witness heard there, and begins where its
    /// welcome says.
    fn check_segments(
        &self,
        sitting: &Sitting,
        truth: &Sitting,
        deeds: &Deeds,
    ) -> Result<(), String> {
        let Some(channel) = Channel::of(&sitting.channel)
            .filter(|channel| channel.is_presence() || channel.is_cache())
        else {
            return Ok(());
        };
        let all = &truth.segments[0];
        let is_for_us = |item: &&Heard| match item {
            Heard::Event { data, .. } => deeds
                .published
                .get(data)
                .is_none_or(|published| published.except.as_ref() != Some(&self.socket_id)),
            _ => true,
        };
        for (n, segment) in sitting.segments.iter().enumerate() {
            let goes_on = self.is_open && !sitting.is_over() && n + 1 == sitting.segments.len();
            let mut members = all.members.clone();
            let mut cached = None;
            let fits = (0..=all.items.len()).any(|start| {
                match start.checked_sub(1).map(|last| &all.items[last]) {
                    Some(Heard::Added { user, info, .. }) => {
                        members.insert(user.clone(), info.clone());
                    }
                    Some(Heard::Removed { user, .. }) => {
                        members.remove(user);
                    }
                    Some(Heard::Event { data, .. }) => cached = Some(data.clone()),
                    _ => {}
                }
                let rest: Vec<&Heard> = all.items[start..].iter().filter(is_for_us).collect();
                let is_begin = (!channel.is_presence() || segment.members == members)
                    // Nothing remembered: nothing was published, or too long ago.
                    && (segment.cached.is_none() || segment.cached == cached);
                let is_piece = segment.items.len() <= rest.len()
                    && segment.items.iter().zip(&rest).all(|(a, b)| a == *b);
                is_begin && is_piece && (!goes_on || segment.items.len() == rest.len())
            });
            if !fits {
                return Err(format!(
                    "{} in {channel:?}: this is no piece of the truth\n  members {:?}, cached {:?}, then {:#?}\n  truth: members {:?}, then {:#?}",
                    self.name,
                    segment.members,
                    segment.cached,
                    segment.items,
                    all.members,
                    all.items,
                ));
            }
        }
        Ok(())
    }
}
