//! What holds however people come and go, on several shards at once.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{House, app, app_with, cases, in_runtime, stopped_clock};
use crate::users::{GRACE, expect_watched};

/// Where everybody is.
const ROOM: &str = "presence-room";

/// What one client thinks of a room, from its snapshot and what it heard since.
struct View {
    client: Client,
    members: Option<BTreeMap<String, Value>>,
}

impl View {
    async fn hear(&mut self) -> Value {
        let event = self.client.next().await;
        let data: Value = event["data"]
            .as_str()
            .and_then(|data| serde_json::from_str(data).ok())
            .unwrap_or_default();
        match (event["event"].as_str().expect("text"), &mut self.members) {
            ("pusher_internal:subscription_succeeded", members @ None) => {
                let hash = data["presence"]["hash"].as_object().expect("an object");
                assert_eq!(data["presence"]["count"], hash.len());
                *members = Some(hash.clone().into_iter().collect());
            }
            ("pusher_internal:member_added", Some(members)) => {
                let id = data["user_id"].as_str().expect("text").to_owned();
                let known = members.insert(id, data["user_info"].clone());
                assert_eq!(known, None, "{event} comes once");
            }
            ("pusher_internal:member_removed", Some(members)) => {
                assert!(
                    members
                        .remove(data["user_id"].as_str().expect("text"))
                        .is_some(),
                    "{event} was not there"
                );
            }
            _ => {}
        }
        event
    }

    /// Comes as one of these users and goes again, so many times, and stays in the end.
    async fn come_and_go(mut self, users: Vec<u8>) -> Self {
        for (n, user) in users.iter().enumerate() {
            if n > 0 {
                self.client.unsubscribe(ROOM).await;
                self.client.send(json!({"event": "pusher:ping"})).await;
                while self.hear().await["event"] != "pusher:pong" {}
                self.members = None;
            }
            self.client
                .ask(
                    ROOM,
                    Some(&json!({"user_id": user, "user_info": {"n": user}}).to_string()),
                )
                .await;
            while self.members.is_none() {
                self.hear().await;
            }
            assert!(
                self.members
                    .as_ref()
                    .is_some_and(|members| members.contains_key(&user.to_string()))
            );
        }
        self
    }
}

proptest! {
    #![proptest_config(cases(16))]

    /// Seats are taken, given up and moved; each event must reach exactly those who sit in the channel, once.
    #[test]
    fn an_event_reaches_exactly_the_subscribers(
        steps in prop::collection::vec((0_usize..7, 0_usize..3, any::<bool>()), 1..60),
    ) {
        in_runtime(async {
            let house = House::plain().await;
            let mut api = house.api().await;
            let mut clients = Vec::new();
            for _ in 0..7 {
                let mut client = house.client().await;
                client.subscribe("all").await;
                clients.push((client, [false; 3], Vec::<Value>::new()));
            }
            for (n, (who, channel, comes)) in steps.into_iter().enumerate() {
                let name = format!("c{channel}");
                let (client, sits, expected) = &mut clients[who];
                let done = if comes { "pusher_internal:subscription_succeeded" } else { "pusher:pong" };
                match comes {
                    true => client.ask(&name, None).await,
                    false => {
                        client.unsubscribe(&name).await;
                        client.send(json!({"event": "pusher:ping"})).await;
                    }
                }
                // What was published before may still be on its way to it.
                loop {
                    let event = client.next().await;
                    if event["event"] == done {
                        break;
                    }
                    assert_eq!(event, expected.remove(0));
                }
                sits[channel] = comes;
                api.publish(&name, "n", &n.to_string()).await;
                let event = json!({"event": "n", "channel": name, "data": n.to_string()});
                for (_, sits, expected) in &mut clients {
                    if sits[channel] {
                        expected.push(event.clone());
                    }
                }
            }
            api.publish("all", "marker", "").await;
            for (client, sits, expected) in &mut clients {
                for event in expected {
                    assert_eq!(&client.next().await, event);
                }
                client.expect_on("all", "marker", "").await;
                let _ = sits;
            }
            for channel in 0..3 {
                let count = clients.iter().filter(|(_, sits, _)| sits[channel]).count();
                let reply = api.get(&format!("/channels/c{channel}"), &[("info", "subscription_count")]).await;
                assert_eq!(reply.json()["subscription_count"], count);
            }
        });
    }

    #[test]
    fn however_many_come_and_go_the_last_number_told_is_right(
        scripts in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..15), 4..10),
    ) {
        in_runtime(async {
            let house = House::open([app_with(|app| app.subscription_count = true)]).await;
            let event = "pusher_internal:subscription_count";
            let mut witness = house.client().await;
            witness.subscribe("a").await;
            let stay = scripts.iter().filter(|script| script.last() == Some(&true)).count() + 1;
            let mut tasks = Vec::new();
            for script in scripts {
                let mut client = house.client().await;
                tasks.push(tokio::spawn(async move {
                    let is_in = script.last() == Some(&true);
                    for comes in script {
                        match comes {
                            true => client.ask("a", None).await,
                            false => client.unsubscribe("a").await,
                        }
                    }
                    client.send(json!({"event": "pusher:ping"})).await;
                    while client.next().await["event"] != "pusher:pong" {}
                    (client, is_in)
                }));
            }
            let mut clients = Vec::new();
            for task in tasks {
                let (client, is_in) = task.await.expect("no panic");
                if is_in {
                    clients.push(client);
                }
            }
            let mut api = house.api().await;
            let reply = api.get("/channels/a", &[("info", "subscription_count")]).await;
            assert_eq!(reply.json()["subscription_count"], stay);
            // After a GET this backend's events take the way that the notices took, so that they overtake none.
            api.publish("a", "marker", "").await;
            clients.push(witness);
            for client in &mut clients {
                let mut last = None;
                loop {
                    let heard = client.next().await;
                    match heard["event"].as_str() {
                        Some("marker") => break,
                        Some(name) if name == event => last = heard["data"].as_str().map(str::to_owned),
                        _ => {}
                    }
                }
                if let Some(last) = last {
                    assert_eq!(last, format!(r#"{{"subscription_count":{stay}}}"#));
                }
            }
        });
    }

    #[test]
    fn however_users_come_and_go_everybody_sees_the_same(
        scripts in prop::collection::vec(prop::collection::vec(0_u8..4, 1..12), 6..10),
    ) {
        in_runtime(async {
            let house = House::open([app()]).await;
            let mut tasks = Vec::new();
            for script in scripts {
                let view = View { client: house.client().await, members: None };
                tasks.push(tokio::spawn(view.come_and_go(script)));
            }
            let mut views = Vec::new();
            for task in tasks {
                views.push(task.await.expect("no contradiction"));
            }
            let mut api = house.api().await;
            api.publish(ROOM, "marker", "").await;
            let users = api.get("/channels/presence-room/users", &[]).await.json();
            let mut users: Vec<&str> = users["users"].as_array().expect("a list").iter().filter_map(|user| user["id"].as_str()).collect();
            users.sort_unstable();
            for mut view in views {
                while view.hear().await["event"] != "marker" {}
                let seen: Vec<String> = view.members.expect("a member").into_keys().collect();
                assert_eq!(seen, users);
            }
        });
    }

    /// Users with several tabs come and go while time passes: each watcher hears changes only, and the truth in the end.
    #[test]
    fn a_watcher_knows_who_is_there_in_the_end(
        steps in prop::collection::vec((0_usize..3, any::<bool>(), 0_u64..3), 1..30),
    ) {
        in_runtime(async {
            let clock = stopped_clock();
            let patient = app_with(|app| app.activity_timeout = Duration::from_secs(3600));
            let house = House::at(&clock, [patient]).await;
            let mut watchers = Vec::new();
            for n in 0..4 {
                let mut client = house.client().await;
                client.sign_in(&json!({"id": format!("w{n}"), "watchlist": ["0", "1", "2", "end"]})).await;
                expect_watched(&mut client, &[], &["0", "1", "2", "end"]).await;
                watchers.push(client);
            }
            let mut tabs: [Vec<Client>; 3] = Default::default();
            for (user, comes, seconds) in steps {
                if comes {
                    let mut tab = house.client().await;
                    tab.sign_in(&json!({"id": user.to_string()})).await;
                    tabs[user].push(tab);
                } else if tabs[user].pop().is_some() {
                    let open = 4 + tabs.iter().map(Vec::len).sum::<usize>() as u64;
                    house.settles(|sizes| sizes.connections == open).await;
                }
                clock.advance(Duration::from_secs(seconds));
            }
            clock.advance(GRACE);
            house.settles(|sizes| sizes.chores == 0).await;
            // Who comes last is the last news.
            let mut end = house.client().await;
            end.sign_in(&json!({"id": "end"})).await;
            for watcher in &mut watchers {
                let mut online = [false; 4];
                while !online[3] {
                    let event = watcher.next().await;
                    let data: Value = serde_json::from_str(event["data"].as_str().expect("text")).expect("JSON");
                    for group in data["events"].as_array().expect("a list") {
                        let is_online = group["name"] == "online";
                        for user in group["user_ids"].as_array().expect("a list") {
                            let user = user.as_str().expect("text").parse().unwrap_or(3_usize);
                            let was_online = std::mem::replace(&mut online[user], is_online);
                            assert_ne!(was_online, is_online, "{event} is no news");
                        }
                    }
                }
                assert_eq!(online[..3], tabs.each_ref().map(|tabs| !tabs.is_empty()));
            }
        });
    }
}
