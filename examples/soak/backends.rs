//! Backends: those who publish and those who ask.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::interval;

use crate::Stop;
use crate::api::Api;
use crate::chance::Chance;
use crate::crowd::{FLOOD, KINDS, names};
use crate::guest::Home;
use crate::ledger::count;

/// How many backends of each app publish. Each has its own channels, so that those have one publisher each.
pub(crate) const PUBLISHERS: usize = 5;

/// Publishes about twenty events a second: to one channel or several, and in batches.
pub(crate) async fn publish(home: Home, number: usize, stop: Stop) {
    let mut chance = Chance::new(number as u64 + 1);
    let mut api = Api::new(&home);
    let mine: Vec<String> = names()
        .into_iter()
        .skip(number)
        .step_by(PUBLISHERS)
        .collect();
    let mut turns = interval(Duration::from_millis(135));
    while !stop.is_set() {
        turns.tick().await;
        let events: Vec<Vec<&str>> = match chance.below(3) {
            0 => some(&mine, 9, &mut chance).map(|name| vec![name]).collect(),
            _ => vec![some(&mine, 3, &mut chance).collect()],
        };
        let bodies: Vec<Value> = events
            .iter()
            .map(|names| event(&home, names, &mut chance))
            .collect();
        let answer = match &bodies[..] {
            [one] => api.post("events", one).await,
            many => api.post("batch_events", &json!({"batch": many})).await,
        };
        if answer.is_some() {
            for name in events.iter().flatten() {
                let events = &home.channels[*name].events;
                events.end(events.begin());
                count(&home.totals.sent, 1);
            }
        }
    }
}

/// A few of the names, each once.
fn some<'a>(
    names: &'a [String],
    most: usize,
    chance: &mut Chance,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let (start, count) = (chance.below(names.len()), 1 + chance.below(most));
    (start..start + count).map(|n| &*names[n % names.len()])
}

/// Publishes large events for those who do not read them.
pub(crate) async fn flood(home: Home, stop: Stop) {
    let mut api = Api::new(&home);
    let mut turns = interval(Duration::from_millis(50));
    while !stop.is_set() {
        turns.tick().await;
        let events = &home.channels[FLOOD].events;
        let number = events.begin();
        let data = json!({"n": {FLOOD: number}, "pad": "x".repeat(9_000)}).to_string();
        let body = json!({"name": "event", "channel": FLOOD, "data": data});
        if api.post("events", &body).await.is_some() {
            events.end(number);
            count(&home.totals.sent, 1);
        }
    }
}

/// An event with the next number of each of these channels, and of any size.
fn event(home: &Home, names: &[&str], chance: &mut Chance) -> Value {
    let numbers = names.iter().map(|name| {
        let number = home.channels[*name].events.begin();
        ((*name).to_owned(), number.into())
    });
    let numbers: serde_json::Map<String, Value> = numbers.collect();
    let size = match chance.below(20) {
        0 => 9_000,
        1..6 => 2_000,
        _ => 100,
    };
    let data = json!({"n": numbers, "pad": "x".repeat(chance.below(size))}).to_string();
    match names {
        [name] => json!({"name": "event", "channel": name, "data": data}),
        names => json!({"name": "event", "channels": names, "data": data}),
    }
}

/// Asks for everything in turn.
pub(crate) async fn ask(home: Home, stop: Stop) {
    let mut api = Api::new(&home);
    let mut turns = interval(Duration::from_millis(400));
    let mut paths = (0_usize..).map(|n| {
        let room = n / 4 % KINDS[2].1;
        match n % 4 {
            0 => (
                "channels".to_owned(),
                "filter_by_prefix=presence-&info=user_count",
            ),
            1 => (
                format!("channels/presence-room-{room}"),
                "info=subscription_count,user_count",
            ),
            2 => (format!("channels/presence-room-{room}/users"), ""),
            _ => ("connections".to_owned(), ""),
        }
    });
    while !stop.is_set() {
        turns.tick().await;
        if let Some((path, query)) = paths.next() {
            api.get(&path, query).await;
        }
    }
}
