//! Conversations, played against [`Session`]: they test it, and they document the protocol.
//!
//! A transcript has one line per step: `>` the client says, `<` the server says, `~` time passes, `x` the server closes,
//! `#` a remark. `«auth CHANNEL»`, `«auth CHANNEL DATA»` and `«user DATA»` stand for the app's signature; `! name = value`
//! changes the app. The hub is played by this file: it lets everybody in, with nobody else there.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use reverb_core::protocol::{App, ClientEvents, Member, Outgoing, SocketId, auth, outgoing};
use reverb_core::session::{Command, Now, Outcome, Seat, Session, Welcome, Wish, Wishes};

const SOCKET: SocketId = SocketId::new(1, 1);

struct Conversation {
    app: App,
    session: Session,
    now: Instant,
    wishes: Wishes,
    heard: VecDeque<String>,
    next_room: u32,
}

impl Conversation {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to begin with"
    )]
    fn new() -> Self {
        let app = App::new("1", "key", "secret").expect("an app");
        let (now, mut wishes) = (Instant::now(), Wishes::default());
        let session = Session::new(&app, SOCKET, now, &mut wishes);
        let mut conversation = Self {
            app,
            session,
            now,
            wishes,
            heard: VecDeque::new(),
            next_room: 0,
        };
        conversation.carry_out();
        conversation
    }

    fn play(&mut self, line: &str) {
        let (mark, rest) = line.split_at_checked(1).unwrap_or((line, ""));
        let rest = rest.trim();
        match mark {
            "" | "#" => {}
            "!" => self.change(rest),
            ">" => {
                let text = self.signed(rest);
                let now = Now {
                    instant: self.now,
                    unix: 0,
                };
                self.session
                    .handle_text(&self.app, &text, now, &mut self.wishes);
                self.carry_out();
            }
            "~" => {
                let seconds = rest
                    .strip_suffix('s')
                    .and_then(|n| n.parse().ok())
                    .expect("seconds, as ~ 30s");
                // Second by second, as a clock would have it.
                for _ in 0..seconds {
                    self.now += Duration::from_secs(1);
                    self.session
                        .handle_timeout(&self.app, self.now, &mut self.wishes);
                    self.carry_out();
                }
            }
            "<" => assert_eq!(
                self.heard.pop_front().as_deref(),
                Some(rest),
                "the server says"
            ),
            "x" => assert_eq!(
                self.heard.pop_front(),
                Some(format!("x {rest}")),
                "the server closes"
            ),
            "." => {
                assert_eq!(rest, "pong", "the client's answer frame");
                self.session.handle_alive(self.now);
            }
            _ => panic!("a line begins with one of > < ~ x . ! #"),
        }
    }

    fn change(&mut self, change: &str) {
        let (name, value) = change.split_once(" = ").expect("! name = value");
        match name {
            "client_events" if value == "off" => self.app.client_events = ClientEvents::Off,
            "client_events" if value == "all" => self.app.client_events = ClientEvents::All,
            "channels_per_connection" => {
                self.app.limits.channels_per_connection = value.parse().expect("a number")
            }
            "client_events_per_second" => {
                self.app.limits.client_events_per_second = value.parse().expect("a number")
            }
            "event_bytes" => self.app.limits.event_bytes = value.parse().expect("a number"),
            "presence_member_bytes" => {
                self.app.limits.presence_member_bytes = value.parse().expect("a number")
            }
            _ => panic!("the transcript changes {name}, which this file does not know"),
        }
    }

    /// Puts the app's signatures in.
    fn signed(&self, text: &str) -> String {
        let secret = &self.app.secret;
        let Some((before, rest)) = text.split_once("«auth ") else {
            let Some((before, rest)) = text.split_once("«user ") else {
                return text.to_owned();
            };
            let (data, after) = rest.split_once('»').expect("the signature ends in »");
            let signature = HEXLOWER.encode(&auth::user_signature(secret, SOCKET, data));
            return format!("{before}{}:{signature}{after}", self.app.key);
        };
        let (inner, after) = rest.split_once('»').expect("the signature ends in »");
        let (channel, data) = inner
            .split_once(' ')
            .map_or((inner, None), |(channel, data)| (channel, Some(data)));
        let signature = HEXLOWER.encode(&auth::channel_signature(secret, SOCKET, channel, data));
        format!("{before}{}:{signature}{after}", self.app.key)
    }

    fn carry_out(&mut self) {
        while let Some(wish) = self.wishes.next() {
            match wish {
                Wish::Say(message) => self.heard.push_back(message.text().to_owned()),
                Wish::Ping => self.heard.push_back("ping".to_owned()),
                Wish::Close(close) => self.heard.push_back(format!("x {}", close.code)),
                Wish::Ask(command) => {
                    if let Some(outcome) = self.perform(command) {
                        self.session.handle_outcome(outcome, &mut self.wishes);
                    }
                }
            }
        }
    }

    fn perform(&mut self, command: Command) -> Option<Outcome> {
        self.next_room += 1;
        let seat = Seat {
            room: self.next_room,
            place: 0,
        };
        match command {
            Command::Subscribe { channel, member } => {
                let welcome = welcome(channel.as_str(), member.as_ref());
                Some(Outcome::Subscribed {
                    channel,
                    seat,
                    user: member.map(|member| member.id),
                    welcome,
                })
            }
            Command::Remind { channel, .. } => {
                Some(Outcome::Reminded(welcome(channel.as_str(), None)))
            }
            Command::SignIn { watchlist, .. } => Some(Outcome::SignedIn {
                seat,
                online: Vec::new(),
                offline: watchlist,
            }),
            Command::Unsubscribe { .. } => {
                self.heard.push_back("(left)".to_owned());
                None
            }
            Command::ClientEvent { message, .. } => {
                self.heard.push_back(format!("(others) {}", message.text()));
                None
            }
        }
    }
}

fn welcome(channel: &str, member: Option<&Member>) -> Welcome {
    let succeeded = member.map_or_else(
        || Outgoing::subscription_succeeded(channel),
        |member| {
            let (mut ids, mut hash) = (Vec::new(), Vec::new());
            outgoing::presence_id(&mut ids, &member.id);
            outgoing::presence_entry(&mut hash, member);
            Outgoing::presence_succeeded(channel, 1, &ids, &hash)
        },
    );
    let cached = channel
        .contains("cache-")
        .then(|| Outgoing::cache_miss(channel));
    Welcome { succeeded, cached }
}

#[test]
fn every_transcript_plays_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut played = 0;
    for entry in fs::read_dir(folder).expect("the folder of transcripts") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a transcript");
        let mut conversation = Conversation::new();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}: {line}", path.display(), number + 1);
            let step = std::panic::AssertUnwindSafe(|| conversation.play(line));
            if let Err(panic) = std::panic::catch_unwind(step) {
                eprintln!("at {place}");
                std::panic::resume_unwind(panic);
            }
        }
        assert_eq!(
            conversation.heard,
            VecDeque::<String>::new(),
            "{}: said and not written down",
            path.display()
        );
        played += 1;
    }
    assert!(played >= 8, "only {played} transcripts were found");
}
