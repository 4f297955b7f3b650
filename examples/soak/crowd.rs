//! Healthy clients: those who stay and those who come and go.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::Stop;
use crate::chance::Chance;
use crate::guest::{Guest, Home};
use crate::ledger::{Channels, count};

/// How many of each kind of channel an app has.
pub(crate) const KINDS: [(&str, usize); 5] = [
    ("news", 10),
    ("private-team", 10),
    ("presence-room", 6),
    ("cache-price", 5),
    ("presence-cache-hall", 2),
];
/// How many users sign in and are sent events.
pub(crate) const USERS: usize = 30;
/// The channel of the probe.
pub(crate) const PROBE: &str = "probe";
/// The channel of those who do not read.
pub(crate) const FLOOD: &str = "flood";
/// How often each whisperer speaks, and subscriptions change.
const TURN: Duration = Duration::from_millis(200);

/// The names of all channels of an app.
pub(crate) fn names() -> Vec<String> {
    let names = KINDS
        .iter()
        .flat_map(|(kind, count)| (0..*count).map(move |n| format!("{kind}-{n}")));
    let users = (0..USERS).map(|n| format!("#server-to-user-user-{n}"));
    names.chain(users).collect()
}

/// Books for all of them.
pub(crate) fn channels() -> Channels {
    let names = names().into_iter().chain([PROBE, FLOOD].map(str::to_owned));
    names.map(|name| (name, Default::default())).collect()
}

/// So many clients of an app, which stay until the end.
pub(crate) struct Steady {
    home: Home,
    guests: Vec<(Guest, Vec<String>)>,
}

impl Steady {
    /// Connects them all. Each sits in one channel of each kind, and some sign in.
    pub(crate) async fn gather(home: &Home, count: usize) -> Option<Self> {
        let mut guests = Vec::new();
        for n in 0..count {
            let mut guest = Guest::connect(home, false).await?;
            let seats: Vec<String> = KINDS
                .iter()
                .map(|(kind, count)| format!("{kind}-{}", n % count))
                .collect();
            if n < 2 * USERS {
                guest.sign_in(&format!("user-{}", n % USERS)).await;
            }
            for channel in &seats {
                guest.subscribe(channel, &format!("user-{n}")).await;
            }
            guest.await_all(None).await;
            guests.push((guest, seats));
        }
        Some(Self {
            home: home.clone(),
            guests,
        })
    }

    /// Until it is time to stop, the first client in each team whispers, and others leave and join again.
    pub(crate) async fn live(mut self, stop: Stop) -> Self {
        let mut chance = Chance::new(self.guests.len() as u64);
        let mut turns = interval(TURN);
        let teams = KINDS[1].1;
        while !stop.is_set() {
            turns.tick().await;
            for (guest, seats) in &mut self.guests[..teams] {
                guest.whisper(&seats[1]).await;
            }
            let n = chance.below(self.guests.len());
            let (guest, seats) = &mut self.guests[n];
            let channel = &seats[chance.below(seats.len())];
            // Whoever whispers stays, so that its numbers go on.
            if n >= teams {
                guest.unsubscribe(channel).await;
                guest.subscribe(channel, &format!("user-{n}")).await;
            }
        }
        self
    }

    /// Everybody hears what is still to come, and leaves: a third of them with a close frame.
    pub(crate) async fn part(self) {
        let mut leaving = JoinSet::new();
        for (n, (mut guest, _)) in self.guests.into_iter().enumerate() {
            let totals = self.home.totals.clone();
            leaving.spawn(async move {
                guest.await_all(None).await;
                count(&totals.cut, u64::from(guest.is_cut()));
                if n % 3 == 0 {
                    guest.close().await;
                }
            });
        }
        leaving.join_all().await;
    }
}

/// Twenty visitors a second, of either app: they stay a moment, and leave in one way or another.
pub(crate) async fn visit(homes: [Home; 2], stop: Stop) {
    let mut chance = Chance::new(20);
    let mut arrivals = interval(Duration::from_millis(50));
    let mut visitors = JoinSet::new();
    while !stop.is_set() {
        arrivals.tick().await;
        let home = homes[chance.below(2)].clone();
        let chance = Chance::new(chance.next());
        visitors.spawn(visitor(home, chance));
        while visitors.try_join_next().is_some() {}
    }
    visitors.join_all().await;
}

async fn visitor(home: Home, mut chance: Chance) {
    let ending = chance.below(3);
    let Some(mut guest) = Guest::connect(&home, ending == 2).await else {
        return home.totals.wrong("a visitor was not let in");
    };
    count(&home.totals.visits, 1);
    let user = format!("visitor-{}", chance.below(50));
    for (kind, count) in KINDS {
        if chance.below(3) > 0 {
            let channel = format!("{kind}-{}", chance.below(count));
            guest.subscribe(&channel, &user).await;
        }
    }
    if chance.below(4) == 0 {
        guest
            .sign_in(&format!("user-{}", chance.below(USERS)))
            .await;
    }
    // Some are gone before they are answered.
    if chance.below(4) > 0 {
        sleep(Duration::from_millis(chance.below(8_000) as u64)).await;
        if guest.is_cut() {
            count(&home.totals.cut, 1);
        }
    }
    if ending == 0 {
        guest.await_all(None).await;
        guest.close().await;
    }
}
