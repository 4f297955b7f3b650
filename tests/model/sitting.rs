//! [`Sitting`]: one stay of one client in one channel, and what it heard there.

use crate::cast::{Channel, Tenant};
use crate::deeds::Deeds;
use crate::heard::{Heard, Members};

/// One stay in one channel.
pub(crate) struct Sitting {
    pub(crate) channel: String,
    /// As whom, on presence channels.
    pub(crate) user: Option<String>,
    pub(crate) asked: u64,
    pub(crate) joined: u64,
    /// When it was given up: by then at the latest nothing more needs to be heard.
    pub(crate) left: Option<u64>,
    /// When it was over for certain.
    pub(crate) gone: Option<u64>,
    pub(crate) members: Members,
    pub(crate) count: Option<u64>,
    /// The welcome is not complete.
    pub(crate) awaits_cached: bool,
    /// All events, in order.
    pub(crate) events: Vec<String>,
    /// The data of client events, and whose they were said to be.
    pub(crate) whispers: Vec<(String, Option<String>)>,
    pub(crate) segments: Vec<Segment>,
}

/// What followed one welcome, of what has a number.
pub(crate) struct Segment {
    pub(crate) members: Members,
    /// What a cache channel remembered; `None` if nothing.
    pub(crate) cached: Option<String>,
    pub(crate) items: Vec<Heard>,
}

impl Sitting {
    pub(crate) fn new(channel: String, user: Option<String>, asked: u64, joined: u64) -> Self {
        Self {
            channel,
            user,
            asked,
            joined,
            left: None,
            gone: None,
            members: Members::new(),
            count: None,
            awaits_cached: false,
            events: Vec::new(),
            whispers: Vec::new(),
            segments: Vec::new(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.gone.is_some()
    }

    /// It is told, perhaps once more, what a subscriber is told first.
    pub(crate) fn welcome(&mut self, members: &Members) {
        self.members = members.clone();
        self.awaits_cached = Channel::of(&self.channel).is_some_and(Channel::is_cache);
        self.segments.push(Segment {
            members: members.clone(),
            cached: None,
            items: Vec::new(),
        });
    }

    pub(crate) fn hear(
        &mut self,
        heard: &Heard,
        app: Tenant,
        socket_id: &str,
        deeds: &Deeds,
    ) -> Result<(), String> {
        let is_welcome = std::mem::take(&mut self.awaits_cached);
        match heard {
            Heard::Missed { .. } if is_welcome => return Ok(()),
            Heard::Event { data, .. } if is_welcome => {
                let published = deeds.published.get(data).ok_or("nobody published this")?;
                if published.app != app || !published.to.contains(&self.channel) {
                    return Err("this was published elsewhere".to_owned());
                }
                self.events.push(data.clone());
                if let Some(segment) = self.segments.last_mut() {
                    segment.cached = Some(data.clone());
                }
                return Ok(());
            }
            _ if is_welcome => {
                return Err("the cached event, or that there is none, comes first".to_owned());
            }
            _ => {}
        }
        match heard {
            Heard::Count { count, .. } => self.count = Some(*count),
            Heard::Added { user, info, .. } => {
                if self.members.insert(user.clone(), info.clone()).is_some() {
                    return Err("it knows this user already".to_owned());
                }
                self.keep(heard);
            }
            Heard::Removed { user, .. } => {
                self.members
                    .remove(user)
                    .ok_or("it does not know this user")?;
                self.keep(heard);
            }
            Heard::Event {
                data, name, user, ..
            } if name == "published" => {
                let published = deeds.published.get(data).ok_or("nobody published this")?;
                if published.app != app || !published.to.contains(&self.channel) {
                    return Err("this was published elsewhere".to_owned());
                }
                if user.is_some() {
                    return Err("a backend is no user".to_owned());
                }
                if published.except.as_deref() == Some(socket_id) {
                    return Err("it was left out".to_owned());
                }
                if published.done < self.asked {
                    return Err("this was before its time".to_owned());
                }
                if Channel::of(&self.channel).is_some_and(Channel::is_cache) {
                    self.keep(heard);
                }
                self.hear_in_order(data)?;
            }
            Heard::Event { data, user, .. } => {
                self.whispers.push((data.clone(), user.clone()));
                self.hear_in_order(data)?;
            }
            _ => return Err("this makes no sense here".to_owned()),
        }
        Ok(())
    }

    fn keep(&mut self, heard: &Heard) {
        if let Some(segment) = self.segments.last_mut() {
            segment.items.push(heard.clone());
        }
    }

    /// Each publisher numbers its events: they come in that order, each once.
    fn hear_in_order(&mut self, data: &str) -> Result<(), String> {
        let publisher = |data: &str| {
            data.rsplit_once(':')
                .map(|(publisher, _)| publisher.to_owned())
        };
        let before = self
            .events
            .iter()
            .rev()
            .find(|event| publisher(event) == publisher(data));
        if before.is_some_and(|before| before.as_str() >= data) {
            return Err(format!("this comes before {before:?}"));
        }
        self.events.push(data.to_owned());
        Ok(())
    }
}
