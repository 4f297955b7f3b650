//! The house around a session: a hub with one guest, which keeps its own book of who sits where and since when, and holds
//! every wish against it.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::protocol::incoming::ClientMessage;
use crate::protocol::member::UserData;
use crate::protocol::{App, ChannelKind, ChannelName, Member, Outgoing, UserId, outgoing};
use crate::session::{Chair, Command, Now, Outcome, Refusal, Seat, Session, Welcome, Wish, Wishes};

use super::super::SOCKET;
use super::judge::is_for_clients;

/// How long a client may take to answer a ping; as in `session::timers`.
const PONG_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest silence that is waited for, whatever the app says.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What the hub answers whoever wants a seat.
pub(super) enum Answer {
    Seat,
    Full,
    /// In an authorizer's words.
    Denied(String),
    /// It has to think.
    Later,
}

/// What a client shall be told.
enum Due {
    Message(String),
    /// That it may not subscribe, and why.
    Refusal(ChannelName, Refusal),
}

pub(super) struct House {
    pub(super) app: App,
    pub(super) answer: Answer,
    pub(super) is_closed: bool,
    pub(super) session: Session,
    wishes: Wishes,
    pub(super) now: Instant,
    /// Who sits where, by the hub's book.
    pub(super) seats: Vec<(Seat, Chair)>,
    /// What the connection is subscribed to, and as whom.
    pub(super) subscribed: Vec<(ChannelName, Option<UserId>)>,
    /// What the client shall be told of its last outcome.
    due: VecDeque<Due>,
    /// What the hub still thinks about.
    pub(super) pending: Vec<(ChannelName, Option<Member>)>,
    pub(super) user: Option<UserId>,
    next_seat: u32,
    /// When client events were passed on, and under which limit.
    pub(super) passed_on: VecDeque<Instant>,
    pub(super) per_second: u32,
}

impl House {
    pub(super) fn new(app: App) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant will do to begin with"
        )]
        let now = {
            static NOW: OnceLock<Instant> = OnceLock::new();
            *NOW.get_or_init(Instant::now)
        };
        let mut wishes = Wishes::default();
        let session = Session::new(&app, SOCKET, now, &mut wishes);
        let mut house = Self {
            answer: Answer::Seat,
            is_closed: false,
            session,
            wishes,
            now,
            seats: Vec::new(),
            subscribed: Vec::new(),
            due: VecDeque::new(),
            pending: Vec::new(),
            user: None,
            next_seat: 0,
            passed_on: VecDeque::new(),
            per_second: app.limits.client_events_per_second,
            app,
        };
        house.carry_out("");
        house
    }

    pub(super) fn client_says(&mut self, text: &str) {
        // More than a message may have does not come so far, and what concerns an undecided channel waits.
        if text.len() > 83_968 || self.must_wait(text) {
            return;
        }
        let now = Now {
            instant: self.now,
            unix: 0,
        };
        self.session
            .handle_text(&self.app, text, now, &mut self.wishes);
        self.is_heard();
        self.carry_out(text);
    }

    fn must_wait(&self, text: &str) -> bool {
        let Ok(
            ClientMessage::Subscribe { channel, .. }
            | ClientMessage::Unsubscribe { channel }
            | ClientMessage::ClientEvent { channel, .. },
        ) = ClientMessage::parse(text)
        else {
            return false;
        };
        self.pending
            .iter()
            .any(|(name, _)| name.as_str() == channel)
    }

    /// The hub has thought about the first that it put off.
    pub(super) fn decides(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (channel, member) = self.pending.remove(0);
        let most = self.app.limits.channels_per_connection;
        let outcome = match self.subscribed.len() < most {
            true => self.seats(channel, member),
            false => Outcome::Refused {
                channel,
                refusal: Refusal::TooManyChannels(most),
            },
        };
        self.hears(outcome);
        self.carry_out("");
    }

    fn seats(&mut self, channel: ChannelName, member: Option<Member>) -> Outcome {
        let seat = self.new_seat();
        let chair = Chair::Subscription(self.subscribed.len() as u32);
        let welcome = welcome(channel.as_str(), member.as_ref());
        let user = member.map(|member| member.id);
        self.seats.push((seat, chair));
        self.subscribed.push((channel.clone(), user.clone()));
        Outcome::Subscribed {
            channel,
            seat,
            user,
            welcome,
        }
    }

    pub(super) fn client_is_alive(&mut self) {
        self.session.handle_alive(self.now);
        self.is_heard();
    }

    /// Whoever was heard just now is asked after a whole silence.
    fn is_heard(&self) {
        let silence = self
            .app
            .activity_timeout
            .clamp(Duration::from_secs(1), YEAR);
        assert_eq!(self.session.next_timeout(&self.app), self.now + silence);
    }

    /// Time passes, and the hub's clock strikes at each deadline.
    pub(super) fn time_passes(&mut self, time: Duration) {
        let end = self.now + time;
        while !self.is_closed {
            let deadline = self.session.next_timeout(&self.app);
            let longest = self.app.activity_timeout.clamp(PONG_TIMEOUT, YEAR);
            assert!(deadline <= self.now + longest, "nobody would look before");
            if deadline > end {
                break;
            }
            if let Some(early) = deadline.checked_sub(Duration::from_millis(1))
                && early >= self.now
            {
                self.session
                    .handle_timeout(&self.app, early, &mut self.wishes);
                assert!(self.wishes.next().is_none(), "too early");
            }
            self.now = self.now.max(deadline);
            self.session
                .handle_timeout(&self.app, self.now, &mut self.wishes);
            let is_asked = self.carry_out("");
            let next = self.session.next_timeout(&self.app);
            match is_asked {
                true => assert_eq!(next, self.now + PONG_TIMEOUT),
                false => assert!(self.is_closed, "a deadline passed, and nothing happened"),
            }
        }
        self.now = end;
    }

    /// The hub gives a seat's place to another: the last guest moves up.
    pub(super) fn moves(&mut self, n: usize) {
        let seat = self.new_seat();
        if let Some(entry) = self.seats.get_mut(n) {
            entry.0 = seat;
            self.session.reseat(entry.1, seat);
        }
        // What does not exist is not moved.
        self.session.reseat(Chair::Subscription(u32::MAX), seat);
        self.is_in_order();
    }

    pub(super) fn reminds(&mut self) {
        let first = self.subscribed.first().map(|(channel, _)| channel.clone());
        if let Some(channel) = first {
            let outcome = Outcome::Reminded(welcome(channel.as_str(), None));
            self.hears(outcome);
            self.carry_out("");
        }
    }

    fn new_seat(&mut self) -> Seat {
        self.next_seat += 1;
        Seat {
            room: self.next_seat,
            place: self.next_seat % 3,
        }
    }

    /// Carries out what the session wishes after the client has said this. Returns whether it wished for a ping.
    fn carry_out(&mut self, text: &str) -> bool {
        let mut is_asked = false;
        while let Some(wish) = self.wishes.next() {
            assert!(!self.is_closed, "nothing follows a close, but {wish:?}");
            match wish {
                Wish::Say(message) => self.is_told(&message),
                Wish::Ping => is_asked = true,
                Wish::Close(close) => {
                    assert!((4000..4300).contains(&close.code), "{close:?}");
                    self.is_closed = true;
                }
                Wish::Ask(command) => {
                    if let Some(outcome) = self.perform(command, text) {
                        self.hears(outcome);
                    }
                }
            }
        }
        assert!(self.due.is_empty(), "an outcome was not told");
        self.is_in_order();
        is_asked
    }

    /// The session hears what became of a command, which the client is told then.
    fn hears(&mut self, outcome: Outcome) {
        match &outcome {
            Outcome::Subscribed { welcome, .. } | Outcome::Reminded(welcome) => {
                let all = [Some(&welcome.succeeded), welcome.cached.as_ref()];
                let texts = all
                    .into_iter()
                    .flatten()
                    .map(|message| message.text().to_owned());
                self.due.extend(texts.map(Due::Message));
            }
            Outcome::Refused { channel, refusal } => {
                let refusal = Due::Refusal(channel.clone(), refusal.clone());
                self.due.push_back(refusal);
            }
            Outcome::SignedIn {
                online, offline, ..
            } => {
                if !online.is_empty() || !offline.is_empty() {
                    let message = Outgoing::watchlist_events(online, offline);
                    self.due.push_back(Due::Message(message.text().to_owned()));
                }
            }
        }
        self.session.handle_outcome(outcome, &mut self.wishes);
    }

    fn is_told(&mut self, message: &Outgoing) {
        let out = is_for_clients(message);
        let is_due = match self.due.front() {
            None => false,
            Some(Due::Message(text)) => message.text() == text,
            Some(Due::Refusal(channel, refusal)) => {
                let has_kind = match refusal {
                    Refusal::Denied { kind, .. } => out["data"]["type"] == **kind,
                    _ => true,
                };
                let words = refusal.to_string();
                has_kind && out["channel"] == *channel.as_str() && out["data"]["error"] == words
            }
        };
        if is_due {
            self.due.pop_front();
        }
        if let Some(data) = out["data"]["user_data"].as_str() {
            let user = UserData::parse(data).expect("a user that signed in");
            let own = self.session.user().map(|user| &user.member.id);
            assert_eq!(own, Some(&user.member.id));
        }
    }

    fn perform(&mut self, command: Command, text: &str) -> Option<Outcome> {
        match command {
            Command::Subscribe { channel, member } => {
                self.may_subscribe(&channel, member.as_ref(), text);
                let refusal = match &self.answer {
                    Answer::Seat => return Some(self.seats(channel, member)),
                    Answer::Later => {
                        self.pending.push((channel, member));
                        return None;
                    }
                    Answer::Full => Refusal::Full(self.app.limits.presence_members),
                    Answer::Denied(words) => Refusal::Denied {
                        kind: words.clone().into(),
                        status: 403,
                        message: words.clone().into(),
                    },
                };
                Some(Outcome::Refused { channel, refusal })
            }
            Command::Remind { channel, seat } => {
                let n = self.find(&channel).expect("it is subscribed");
                assert_eq!(self.chair(seat), Chair::Subscription(n as u32));
                Some(Outcome::Reminded(welcome(channel.as_str(), None)))
            }
            Command::SignIn { user, watchlist } => {
                self.may_sign_in(&watchlist, text);
                assert!(self.user.is_none(), "it is signed in as {:?}", self.user);
                self.user = Some(user);
                let seat = self.new_seat();
                self.seats.push((seat, Chair::User));
                let is_online = |user: &UserId| user.as_str().len() % 2 == 1;
                let (online, offline) = watchlist.into_iter().partition(is_online);
                Some(Outcome::SignedIn {
                    seat,
                    online,
                    offline,
                })
            }
            Command::Unsubscribe { seat, moved } => {
                let Chair::Subscription(n) = self.chair(seat) else {
                    panic!("a user's seat is kept")
                };
                self.seats.retain(|entry| entry.0 != seat);
                self.subscribed.swap_remove(n as usize);
                let last = Chair::Subscription(self.subscribed.len() as u32);
                assert_eq!(moved.is_some(), last != Chair::Subscription(n));
                if let Some((chair, seat)) = moved {
                    assert_eq!(chair, Chair::Subscription(n));
                    let mut entries = self.seats.iter_mut();
                    let entry = entries.find(|entry| entry.0 == seat).expect("a seat");
                    assert_eq!(entry.1, last);
                    entry.1 = chair;
                }
                None
            }
            Command::ClientEvent { seat, message } => {
                let Chair::Subscription(n) = self.chair(seat) else {
                    panic!("nobody sends from a user's seat")
                };
                self.may_pass_on(n as usize, &message);
                None
            }
        }
    }

    pub(super) fn find(&self, channel: &ChannelName) -> Option<usize> {
        self.subscribed.iter().position(|(name, _)| name == channel)
    }

    fn chair(&self, seat: Seat) -> Chair {
        let entry = self.seats.iter().find(|entry| entry.0 == seat);
        entry.expect("the hub gave this seat").1
    }
}

fn welcome(channel: &str, member: Option<&Member>) -> Welcome {
    let succeeded = match member {
        None => Outgoing::subscription_succeeded(channel),
        Some(member) => {
            let (mut ids, mut hash) = (Vec::new(), Vec::new());
            outgoing::presence_id(&mut ids, &member.id);
            outgoing::presence_entry(&mut hash, member);
            Outgoing::presence_succeeded(channel, 1, &ids, &hash)
        }
    };
    let is_cache = ChannelKind::of(channel).is_cache();
    let cached = is_cache.then(|| Outgoing::cache_miss(channel));
    Welcome { succeeded, cached }
}
