//! The books: what was published on each channel, and whether whoever sat there has heard all of it.
//!
//! Every channel has one publisher, who numbers its events, and at most one client that whispers, who numbers its own. So
//! a hole in what a client hears is a loss, and a number that comes again is a double.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The events of one channel from one source.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The last number that may have been sent.
    begun: AtomicU64,
    /// The last number that the server has taken for certain.
    done: AtomicU64,
}

/// Both sources of a channel.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) events: Series,
    pub(crate) whispers: Series,
}

/// The channels of an app by name.
pub(crate) type Channels = HashMap<String, Arc<Channel>>;

/// What happened altogether.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Heard twice, out of order, or before their time.
    pub(crate) wrong: AtomicU64,
    /// Healthy clients whose connection ended.
    pub(crate) cut: AtomicU64,
    /// Requests that were not answered as they should be.
    pub(crate) refused: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) visits: AtomicU64,
    /// Stalled readers that the server has cut, and hostile peers that it has outlived.
    pub(crate) stalled: AtomicU64,
    pub(crate) hostile: AtomicU64,
}

impl Totals {
    /// Something is not as it should be: counted, and said if it has not been said often.
    pub(crate) fn wrong(&self, what: &str) {
        if self.wrong.fetch_add(1, Ordering::Relaxed) < 20 {
            eprintln!("wrong: {what}");
        }
    }

    /// So many events were not heard.
    pub(crate) fn lost(&self, events: u64, what: &str) {
        if events > 0 && self.lost.fetch_add(events, Ordering::Relaxed) < 20 {
            eprintln!("lost: {events} events, {what}");
        }
    }
}

pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Series {
    /// The number of the next event. It is the same one again if the last was refused.
    pub(crate) fn begin(&self) -> u64 {
        let number = self.done.load(Ordering::SeqCst) + 1;
        self.begun.store(number, Ordering::SeqCst);
        number
    }

    /// The server has taken the event with this number.
    pub(crate) fn end(&self, number: u64) {
        self.done.store(number, Ordering::SeqCst);
    }
}

/// What one client has heard on one channel from one source.
#[derive(Debug)]
struct Ear {
    /// Smaller numbers are not for it: they were done before it asked for the channel.
    floor: u64,
    /// Larger numbers are for it: they were begun when it sat there.
    ceiling: Option<u64>,
    last: Option<u64>,
}

impl Ear {
    fn hear(&mut self, number: u64, name: &str, totals: &Totals) {
        count(&totals.received, 1);
        let (least, most) = match self.last {
            Some(last) => (last + 1, last + 1),
            None => (
                self.floor,
                self.ceiling.map_or(u64::MAX, |ceiling| ceiling + 1),
            ),
        };
        if number < least {
            return totals.wrong(&format!(
                "{name}: number {number} came after {:?}, at least {least} was due",
                self.last
            ));
        }
        totals.lost(
            number.saturating_sub(most),
            &format!("{name}: number {number} came after {:?}", self.last),
        );
        self.last = Some(number);
    }

    /// How many events it still has to hear of those that are done; before it is let in, that as well.
    fn owed(&self, series: &Series) -> u64 {
        match self.last.or(self.ceiling) {
            Some(heard) => series.done.load(Ordering::SeqCst).saturating_sub(heard),
            None => 1,
        }
    }
}

/// What one client hears on all its channels.
#[derive(Debug)]
pub(crate) struct Ears {
    channels: Arc<Channels>,
    totals: Arc<Totals>,
    ears: Mutex<HashMap<String, [Ear; 2]>>,
    pongs: AtomicU64,
}

impl Ears {
    pub(crate) fn new(channels: Arc<Channels>, totals: Arc<Totals>) -> Self {
        Self {
            channels,
            totals,
            ears: Mutex::default(),
            pongs: AtomicU64::new(0),
        }
    }

    /// The client is about to ask for a channel.
    pub(crate) fn ask(&self, name: &str) {
        let done = self.channels[name].events.done.load(Ordering::SeqCst);
        // A cache channel remembers the last one. Client events are on their way when they count as done.
        let remembers = name.contains("cache-");
        let ear = |floor: u64| Ear {
            floor,
            ceiling: None,
            last: None,
        };
        let ears = [ear(done + u64::from(!remembers)), ear(0)];
        self.lock().insert(name.to_owned(), ears);
    }

    /// The client listens no more.
    pub(crate) fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Takes in a message of the server.
    pub(crate) fn hear(&self, message: &Value) {
        let event = message["event"].as_str().unwrap_or_default();
        match event {
            "pusher:error" => return self.totals.wrong(&message.to_string()),
            "pusher:pong" => return count(&self.pongs, 1),
            _ => {}
        }
        let Some(name) = message["channel"].as_str() else {
            return;
        };
        let mut ears = self.lock();
        let Some([events, whispers]) = ears.get_mut(name) else {
            return;
        };
        let channel = &self.channels[name];
        let number = || {
            let data = message["data"].as_str().unwrap_or_default();
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            data["n"][name].as_u64()
        };
        match event {
            "pusher_internal:subscription_succeeded" => {
                let begun = |series: &Series| Some(series.begun.load(Ordering::SeqCst));
                events.ceiling = begun(&channel.events);
                whispers.ceiling = begun(&channel.whispers);
            }
            "event" | "client-event" => {
                let ear = if event == "event" { events } else { whispers };
                match number() {
                    Some(number) => ear.hear(number, name, &self.totals),
                    None => self.totals.wrong(&message.to_string()),
                }
            }
            "pusher:cache_miss" => {}
            _ if event.starts_with("pusher_internal:") => {}
            _ => self.totals.wrong(&message.to_string()),
        }
    }

    pub(crate) fn pongs(&self) -> u64 {
        read(&self.pongs)
    }

    /// How many events the client still has to hear: on this channel, or on all of them.
    pub(crate) fn owed(&self, only: Option<&str>) -> u64 {
        let ears = self.lock();
        let asked = ears
            .iter()
            .filter(|(name, _)| only.is_none_or(|only| only == *name));
        let owed = asked.map(|(name, [events, whispers])| {
            let channel = &self.channels[name];
            events.owed(&channel.events) + whispers.owed(&channel.whispers)
        });
        owed.sum()
    }

    /// A whisperer does not hear itself.
    pub(crate) fn speaks(&self, name: &str) {
        if let Some([_, whispers]) = self.lock().get_mut(name) {
            whispers.last = Some(u64::MAX);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, [Ear; 2]>> {
        self.ears.lock().expect("nobody panics with the books open")
    }
}
