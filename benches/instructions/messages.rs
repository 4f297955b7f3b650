//! What is read, judged and written without a socket: messages of clients, requests of backends, and what both are told.

use std::hint::black_box;
use std::time::Instant;

use data_encoding::HEXLOWER;
use gungraun::prelude::*;
use md5::{Digest, Md5};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::outgoing::{presence_entry, presence_id};
use reverb_core::protocol::{App, Event, Member, Outgoing, SocketId, auth};
use reverb_core::session::{Command, Now, Outcome, Seat, Session, Welcome, Wish, Wishes};

const NOW: u64 = 1_700_000_000;
const MEMBERS: usize = 400;

/// One program counts the same every time, to the instruction. A `String` more for a client event is 3 %.
fn took(instructions: u64) -> LibraryBenchmarkConfig {
    crate::took(instructions, 2)
}

fn app() -> App {
    let mut app = App::new("1001", "app-key", "app-secret").expect("an app");
    app.limits.client_events_per_second = 0;
    app
}

// ---- sessions -----------------------------------------------------------------------------------------------------------

/// A session, and a hub that says yes; and what its client says next.
struct Alone {
    app: App,
    session: Session,
    wishes: Wishes,
    now: Instant,
    says: String,
}

impl Alone {
    fn new() -> Self {
        let app = app();
        let (now, mut wishes) = (SystemClock.now(), Wishes::default());
        let session = Session::new(&app, SocketId::new(1, 2), now, &mut wishes);
        let mut alone = Self {
            app,
            session,
            wishes,
            now,
            says: String::new(),
        };
        alone.grant();
        alone
    }

    /// A client that is about to tell a channel something.
    fn about_to_tell() -> Self {
        let mut alone = Self::about_to_subscribe("private-chat", None);
        alone.hear();
        assert_eq!(alone.session.subscriptions().len(), 1);
        alone.says =
            r#"{"event":"client-typing","channel":"private-chat","data":{"on":true,"who":"Ann"}}"#
                .to_owned();
        // What is made once, at the first, was made then.
        alone.hear();
        alone
    }

    fn about_to_join() -> Self {
        let member = r#"{"user_id":"1","user_info":{"name":"Ann"}}"#;
        Self::about_to_subscribe("presence-room", Some(member))
    }

    /// A client that is about to subscribe, and has done so before.
    fn about_to_subscribe(channel: &str, data: Option<&str>) -> Self {
        let mut alone = Self::new();
        let auth = auth::channel_auth(&alone.app, alone.session.socket_id(), channel, data);
        let data = data.map_or_else(String::new, |data| {
            format!(r#""channel_data":{},"#, serde_json::json!(data))
        });
        let subscribe = format!(
            r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}",{data}"channel":"{channel}"}}}}"#
        );
        for says in [
            subscribe.clone(),
            format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{channel}"}}}}"#),
        ] {
            alone.says = says;
            alone.hear();
        }
        alone.says = subscribe;
        alone
    }

    fn hear(&mut self) {
        let now = Now {
            instant: self.now,
            unix: 0,
        };
        self.session
            .handle_text(&self.app, black_box(&self.says), now, &mut self.wishes);
        self.grant();
    }

    fn grant(&mut self) {
        while let Some(wish) = self.wishes.next() {
            match wish {
                Wish::Ask(Command::Subscribe { channel, member }) => {
                    let succeeded = Outgoing::subscription_succeeded(channel.as_str());
                    let outcome = Outcome::Subscribed {
                        channel,
                        seat: Seat { room: 0, place: 0 },
                        user: member.map(|member| member.id),
                        welcome: Welcome {
                            succeeded,
                            cached: None,
                        },
                    };
                    self.session.handle_outcome(outcome, &mut self.wishes);
                }
                other => drop(black_box(other)),
            }
        }
    }
}

#[library_benchmark]
#[bench::client_event(args = (Alone::about_to_tell()), config = took(5_222))]
#[bench::private_subscribe(args = (Alone::about_to_subscribe("private-chat", None)), config = took(14_077))]
#[bench::presence_subscribe(args = (Alone::about_to_join()), config = took(25_114))]
fn session(mut alone: Alone) -> Alone {
    alone.hear();
    alone
}

// ---- publishes ----------------------------------------------------------------------------------------------------------

/// JSON in a JSON string, as SDKs send it: every eighth character is a quote with its backslash.
fn entry(bytes: usize, channel: &str) -> String {
    let item = r#"\"abc\":1,"#;
    let data = item.repeat((bytes - 70) / item.len());
    format!(r#"{{"name":"order.shipped",{channel},"data":"{{{data}}}"}}"#)
}

fn single(bytes: usize) -> (App, String) {
    let body = entry(bytes, r#""channels":["private-orders"]"#);
    let app = app();
    // What is made once, at the first, is made here.
    drop(read_one(&app, &body));
    (app, body)
}

fn batch_of_ten() -> (App, String) {
    let entries = [(); 10].map(|()| entry(200, r#""channel":"private-orders""#));
    let body = format!(r#"{{"batch":[{}]}}"#, entries.join(","));
    let app = app();
    assert_eq!(read_batch(&app, &body).len(), 10);
    (app, body)
}

fn read_one(app: &App, body: &str) -> Outgoing {
    let event = Event::parse(black_box(body)).expect("an event");
    event.check(&app.limits).expect("a good one");
    Outgoing::event(&event, "private-orders")
}

fn read_batch(app: &App, body: &str) -> Vec<Outgoing> {
    let events = Event::parse_batch(black_box(body)).expect("a batch");
    let write = |event: &Event<'_>| {
        event.check(&app.limits).expect("a good one");
        Outgoing::event(event, "private-orders")
    };
    events.iter().map(write).collect()
}

#[library_benchmark]
#[bench::of_200_bytes(args = (single(200)), config = took(6_533))]
#[bench::of_10_kb(args = (single(10 * 1024)), config = took(196_114))]
fn publish((app, body): (App, String)) -> (App, String, Outgoing) {
    let frame = read_one(&app, &body);
    (app, body, frame)
}

#[library_benchmark]
#[bench::of_ten(args = (batch_of_ten()), config = took(62_412))]
fn batch((app, body): (App, String)) -> (App, String, Vec<Outgoing>) {
    let frames = read_batch(&app, &body);
    (app, body, frames)
}

// ---- signatures ---------------------------------------------------------------------------------------------------------

/// A request of the app's backend, signed.
struct Signed {
    app: App,
    query: String,
    body: String,
}

impl Signed {
    fn with_body(body: String) -> Self {
        let (app, md5) = (app(), HEXLOWER.encode(&Md5::digest(&body)));
        let query =
            format!("auth_key=app-key&auth_timestamp={NOW}&auth_version=1.0&body_md5={md5}");
        let signature = app
            .secret
            .sign(&[format!("POST\n/apps/1001/events\n{query}").as_bytes()]);
        let signature = HEXLOWER.encode(&signature);
        let query = format!("{query}&auth_signature={signature}");
        let signed = Self { app, query, body };
        assert!(signed.is_good());
        signed
    }

    fn is_good(&self) -> bool {
        let request = auth::Request {
            method: "POST",
            path: black_box("/apps/1001/events"),
            query: black_box(&self.query),
            body: black_box(self.body.as_bytes()),
        };
        request.check(&self.app, NOW).is_ok()
    }
}

#[library_benchmark]
#[bench::of_200_bytes(args = (Signed::with_body(single(200).1)), config = took(25_206))]
fn signature(signed: Signed) -> (Signed, bool) {
    let is_good = signed.is_good();
    (signed, is_good)
}

// ---- a presence channel's members ---------------------------------------------------------------------------------------

/// The members' ids, and their entries, as they stand in a snapshot.
type Snapshot = (Vec<u8>, Vec<u8>);

fn members() -> Vec<Member> {
    let data = |n| format!(r#"{{"user_id":"user-{n}","user_info":{{"name":"Number {n}"}}}}"#);
    let members: Vec<Member> = (0..MEMBERS)
        .map(|n| Member::from_channel_data(&data(n)).expect("a member"))
        .collect();
    drop(encode(&members[..1]));
    members
}

fn encode(members: &[Member]) -> Snapshot {
    let (mut ids, mut hash) = (Vec::new(), Vec::new());
    for member in members {
        presence_id(&mut ids, &member.id);
        presence_entry(&mut hash, member);
        ids.push(b',');
        hash.push(b',');
    }
    ids.pop();
    hash.pop();
    (ids, hash)
}

fn write((ids, hash): &Snapshot) -> Outgoing {
    Outgoing::presence_succeeded("presence-room", MEMBERS, ids, hash)
}

fn encoded() -> Snapshot {
    let snapshot = encode(&members());
    drop(write(&snapshot));
    snapshot
}

#[library_benchmark]
#[bench::of_400(args = (members()), config = took(945_947))]
fn presence_entries(members: Vec<Member>) -> (Vec<Member>, Snapshot) {
    let snapshot = encode(black_box(&members));
    (members, snapshot)
}

#[library_benchmark]
#[bench::of_400(args = (encoded()), config = took(5_207))]
fn presence_snapshot(snapshot: Snapshot) -> (Snapshot, Outgoing) {
    let frame = write(black_box(&snapshot));
    (snapshot, frame)
}

library_benchmark_group!(
    name = without_sockets,
    benchmarks = [
        session,
        publish,
        batch,
        signature,
        presence_entries,
        presence_snapshot
    ]
);
