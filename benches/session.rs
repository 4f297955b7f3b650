//! What a session costs per message, without sockets: parse, judge, write the answer.
//!
//! `cargo bench --bench session`. The hub's part is a stub that seats everybody.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use data_encoding::HEXLOWER;
use reverb_core::protocol::{App, Outgoing, SocketId, auth};
use reverb_core::session::{Command, Now, Outcome, Seat, Session, Welcome, Wish, Wishes};

/// A session, and a hub that says yes.
struct Alone {
    app: App,
    session: Session,
    wishes: Wishes,
    now: Instant,
}

impl Alone {
    #[expect(
        clippy::disallowed_methods,
        reason = "a session takes any time; it does not pass here"
    )]
    fn new() -> Self {
        let mut app = App::new("1001", "app-key", "app-secret").expect("an app");
        app.limits.client_events_per_second = 0;
        let (now, mut wishes) = (Instant::now(), Wishes::default());
        let session = Session::new(&app, SocketId::new(1, 2), now, &mut wishes);
        let mut alone = Self {
            app,
            session,
            wishes,
            now,
        };
        alone.grant();
        alone
    }

    fn hear(&mut self, text: &str) {
        let now = Now {
            instant: self.now,
            unix: 0,
        };
        self.session
            .handle_text(&self.app, text, now, &mut self.wishes);
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
                Wish::Say(message) => drop(black_box(message)),
                other => drop(black_box(other)),
            }
        }
    }

    fn signed(&self, channel: &str, data: Option<&str>) -> String {
        let signature =
            auth::channel_signature(&self.app.secret, self.session.socket_id(), channel, data);
        format!("app-key:{}", HEXLOWER.encode(&signature))
    }
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let mut alone = Alone::new();
    group.bench_function("ping", |bencher| {
        bencher.iter(|| alone.hear(black_box(r#"{"event":"pusher:ping","data":{}}"#)));
    });

    let mut alone = Alone::new();
    group.bench_function("subscribe and unsubscribe, public", |bencher| {
        bencher.iter(|| {
            alone.hear(black_box(
                r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"my-channel"}}"#,
            ));
            alone.hear(black_box(
                r#"{"event":"pusher:unsubscribe","data":{"channel":"my-channel"}}"#,
            ));
        });
    });

    let mut alone = Alone::new();
    let auth = alone.signed(
        "presence-room",
        Some(r#"{"user_id":"1","user_info":{"name":"Ann"}}"#),
    );
    let subscribe = format!(
        r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}","channel_data":"{{\"user_id\":\"1\",\"user_info\":{{\"name\":\"Ann\"}}}}","channel":"presence-room"}}}}"#
    );
    group.bench_function("subscribe and unsubscribe, presence", |bencher| {
        bencher.iter(|| {
            alone.hear(black_box(&subscribe));
            alone.hear(black_box(
                r#"{"event":"pusher:unsubscribe","data":{"channel":"presence-room"}}"#,
            ));
        });
    });
    alone.hear(&subscribe);
    assert_eq!(
        alone.session.subscriptions().len(),
        1,
        "the signature is right"
    );

    let mut alone = Alone::new();
    let auth = alone.signed("private-chat", None);
    alone.hear(&format!(
        r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}","channel":"private-chat"}}}}"#
    ));
    group.bench_function("client event", |bencher| {
        let text =
            r#"{"event":"client-typing","channel":"private-chat","data":{"on":true,"who":"Ann"}}"#;
        bencher.iter(|| alone.hear(black_box(text)));
    });
}

criterion_group!(benches, messages);
criterion_main!(benches);
