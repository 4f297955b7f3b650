//! The rules of a connection driven by hand: no runtime, no tokio, only threads, a socket and a clock.
//!
//! ```sh
//! cargo run -p reverb-core --no-default-features --example session_by_hand            # shows that it works, and ends
//! cargo run -p reverb-core --no-default-features --example session_by_hand -- 7000    # serves: nc 127.0.0.1 7000
//! ```
//! [`Session`] decides and never waits. Whoever drives it tells it what happened and carries out its wishes in order.
//! Here that is a thread for each connection, which speaks lines of JSON, and a small hub that knows who is in which
//! channel. The hub has public channels only; it is no match for the real one, but it is all that the rules ask for.

use std::collections::HashMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reverb_core::protocol::{App, ChannelKind, ChannelName, ClientEvents, Outgoing, SocketId};
use reverb_core::session::{Command, Now, Outcome, Refusal, Seat, Session, Welcome, Wish, Wishes};

/// What a connection's thread is told.
enum Mail {
    /// The client spoke.
    Line(String),
    /// Somebody said something in a channel.
    Event(Outgoing),
    /// The client has gone.
    End,
}

/// Most mail that waits for one connection. Whoever takes no more is cut, so that nobody waits for it.
const MOST_MAIL: usize = 256;
/// Longest line. One that is longer is nobody's message.
const LONGEST_LINE: u64 = 64 * 1024;

/// Who is in which channel.
#[derive(Default)]
struct TinyHub {
    channels: Mutex<HashMap<ChannelName, Vec<Guest>>>,
}

/// A connection, as the others know it.
#[derive(Clone)]
struct Guest {
    id: SocketId,
    mail: SyncSender<Mail>,
    socket: Arc<TcpStream>,
}

impl TinyHub {
    fn join(&self, channel: &ChannelName, guest: &Guest) {
        let mut channels = self.channels.lock().expect("nobody panics with the lock");
        channels
            .entry(channel.clone())
            .or_default()
            .push(guest.clone());
    }

    fn leave(&self, channel: &ChannelName, id: SocketId) {
        let mut channels = self.channels.lock().expect("nobody panics with the lock");
        if let Some(guests) = channels.get_mut(channel) {
            guests.retain(|guest| guest.id != id);
            if guests.is_empty() {
                channels.remove(channel);
            }
        }
    }

    /// Tells everybody in the channel but the sender.
    fn tell(&self, channel: &ChannelName, sender: SocketId, message: &Outgoing) {
        let channels = self.channels.lock().expect("nobody panics with the lock");
        let guests = channels.get(channel).into_iter().flatten();
        for guest in guests.filter(|guest| guest.id != sender) {
            if guest.mail.try_send(Mail::Event(message.clone())).is_err() {
                let _ = guest.socket.shutdown(Shutdown::Both);
            }
        }
    }
}

/// One connection: its rules, and what carries out their wishes.
struct Connection {
    app: Arc<App>,
    hub: Arc<TinyHub>,
    guest: Guest,
    session: Session,
    wishes: Wishes,
    /// What a seat's `room` stands for: the channels this connection has been in. The session keeps the number only.
    rooms: Vec<ChannelName>,
}

/// Whether the connection goes on.
#[derive(PartialEq)]
enum Next {
    On,
    Ends,
}

impl Connection {
    /// Runs until the client goes, or has to.
    fn run(app: Arc<App>, hub: Arc<TinyHub>, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        // A client that reads nothing must not keep its thread for ever.
        socket.set_write_timeout(Some(Duration::from_secs(10)))?;
        let (mail, inbox) = mpsc::sync_channel(MOST_MAIL);
        let lines = BufReader::new(socket.try_clone()?);
        let reader = mail.clone();
        std::thread::spawn(move || read_lines(lines, &reader));
        let guest = Guest {
            id: new_socket_id(),
            mail,
            socket: Arc::new(socket),
        };
        let mut wishes = Wishes::default();
        let mut connection = Self {
            session: Session::new(&app, guest.id, now(), &mut wishes),
            app,
            hub,
            guest,
            wishes,
            rooms: Vec::new(),
        };
        let result = connection.serve(&inbox);
        for subscription in connection.session.subscriptions() {
            connection
                .hub
                .leave(&subscription.channel, connection.guest.id);
        }
        connection.guest.socket.shutdown(Shutdown::Both)?;
        result
    }

    fn serve(&mut self, inbox: &Receiver<Mail>) -> io::Result<()> {
        while self.carry_out()? == Next::On {
            let deadline = self.session.next_timeout(&self.app);
            match inbox.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(Mail::Line(line)) => {
                    self.session
                        .handle_text(&self.app, &line, moment(), &mut self.wishes);
                }
                Ok(Mail::Event(message)) => self.say(&message)?,
                Err(RecvTimeoutError::Timeout) => {
                    self.session
                        .handle_timeout(&self.app, now(), &mut self.wishes);
                }
                Ok(Mail::End) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Carries out what the session wants, in order. What comes of a command may be another wish.
    fn carry_out(&mut self) -> io::Result<Next> {
        while let Some(wish) = self.wishes.next() {
            match wish {
                Wish::Say(message) => self.say(&message)?,
                Wish::Ask(command) => {
                    if let Some(outcome) = self.obey(command) {
                        self.session.handle_outcome(outcome, &mut self.wishes);
                    }
                }
                // Lines have no ping frames; the protocol has a message that says the same.
                Wish::Ping => self.say(&Outgoing::ping())?,
                // The session has said why.
                Wish::Close(_) => return Ok(Next::Ends),
            }
        }
        Ok(Next::On)
    }

    fn obey(&mut self, command: Command) -> Option<Outcome> {
        match command {
            Command::Subscribe { channel, .. } if channel.kind() != ChannelKind::Public => {
                Some(Outcome::Refused {
                    channel,
                    refusal: Refusal::Denied {
                        kind: "NotImplemented".into(),
                        status: 501,
                        message: "This hub has public channels only".into(),
                    },
                })
            }
            Command::Subscribe { channel, .. } => {
                self.hub.join(&channel, &self.guest);
                let room = self.room(&channel);
                Some(Outcome::Subscribed {
                    welcome: welcome(&channel),
                    channel,
                    seat: Seat { room, place: 0 },
                    user: None,
                })
            }
            Command::Remind { channel, .. } => Some(Outcome::Reminded(welcome(&channel))),
            // No seat ever moves here, so it does not matter which chair takes the place of this one.
            Command::Unsubscribe { seat, .. } => {
                let channel = &self.rooms[seat.room as usize];
                self.hub.leave(channel, self.guest.id);
                None
            }
            Command::ClientEvent { seat, message } => {
                let channel = &self.rooms[seat.room as usize];
                self.hub.tell(channel, self.guest.id, &message);
                None
            }
            // Who has signed in has a channel of its own; nobody here sends anything to it.
            Command::SignIn { watchlist, user } => {
                let room = self.room(&ChannelName::of_user(user.as_str()));
                Some(Outcome::SignedIn {
                    seat: Seat { room, place: 0 },
                    online: Vec::new(),
                    offline: watchlist,
                })
            }
        }
    }

    /// The number of a channel on this connection.
    fn room(&mut self, channel: &ChannelName) -> u32 {
        let known = self.rooms.iter().position(|room| room == channel);
        known.unwrap_or_else(|| {
            self.rooms.push(channel.clone());
            self.rooms.len() - 1
        }) as u32
    }

    fn say(&self, message: &Outgoing) -> io::Result<()> {
        let line = [message.text().as_bytes(), b"\n"].concat();
        (&*self.guest.socket).write_all(&line)
    }
}

fn welcome(channel: &ChannelName) -> Welcome {
    Welcome {
        succeeded: Outgoing::subscription_succeeded(channel.as_str()),
        cached: None,
    }
}

fn read_lines(mut input: BufReader<TcpStream>, mail: &SyncSender<Mail>) {
    loop {
        let mut line = String::new();
        let read = (&mut input).take(LONGEST_LINE).read_line(&mut line);
        if !read.is_ok_and(|length| length > 0) || !line.ends_with('\n') {
            let _ = mail.send(Mail::End);
            return;
        }
        if mail.send(Mail::Line(line)).is_err() {
            return;
        }
    }
}

/// A name that cannot be guessed: it is part of what apps sign. The hub of this crate asks the system's generator; the
/// standard library has none but the keys of its hash maps.
fn new_socket_id() -> SocketId {
    let random = RandomState::new().hash_one("socket");
    SocketId::new((random >> 32) as u32, random as u32)
}

#[expect(
    clippy::disallowed_methods,
    reason = "without the feature `hub` there is no Clock to ask"
)]
fn now() -> Instant {
    Instant::now()
}

/// An old secret of the app is accepted by date; this house has none, and no need of a calendar.
fn moment() -> Now {
    Now {
        instant: now(),
        unix: 0,
    }
}

fn serve(app: App, hub: Arc<TinyHub>, socket: &TcpListener) {
    let app = Arc::new(app);
    for stream in socket.incoming().flatten() {
        let (app, hub) = (app.clone(), hub.clone());
        std::thread::spawn(move || Connection::run(app, hub, stream));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut app = App::new("1", "demo", "secret")?;
    app.client_events = ClientEvents::All;
    let hub = Arc::new(TinyHub::default());
    let Some(port) = std::env::args().nth(1) else {
        // So short that one can wait for it.
        app.activity_timeout = Duration::from_secs(1);
        return show(app, hub);
    };
    let socket = TcpListener::bind(("127.0.0.1", port.parse()?))?;
    println!("nc 127.0.0.1 {port}");
    serve(app, hub, &socket);
    Ok(())
}

/// Two clients, as the rules want them.
fn show(app: App, hub: Arc<TinyHub>) -> Result<(), Box<dyn Error>> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let served = hub.clone();
    std::thread::spawn(move || serve(app, served, &socket));

    let mut ann = Client::connect(address)?;
    let mut bob = Client::connect(address)?;
    for client in [&mut ann, &mut bob] {
        client.expect(r#""event":"pusher:connection_established""#)?;
        client.say(r#"{"event":"pusher:subscribe","data":{"channel":"room"}}"#)?;
        client.expect(r#""event":"pusher_internal:subscription_succeeded","channel":"room""#)?;
    }
    ann.say(r#"{"event":"client-hello","channel":"room","data":"from Ann"}"#)?;
    bob.expect(r#"{"event":"client-hello","channel":"room","data":"from Ann"}"#)?;
    println!("Bob hears what Ann says");

    ann.say(r#"{"event":"pusher:subscribe","data":{"channel":"private-room"}}"#)?;
    ann.expect(r#""event":"pusher:error""#)?;
    ann.expect(r#""event":"pusher:subscription_error","channel":"private-room""#)?;
    ann.say(r#"{"event":"client-hello","channel":"elsewhere","data":"?"}"#)?;
    ann.expect("The client is not a member of the specified channel")?;
    println!("Ann is told what she may not do");

    ann.expect(r#"{"event":"pusher:ping","data":{}}"#)?;
    ann.say(r#"{"event":"pusher:pong"}"#)?;
    println!("after a second of silence she is asked whether she is there");

    bob.say(r#"{"event":"pusher:unsubscribe","data":{"channel":"room"}}"#)?;
    bob.say(r#"{"event":"pusher:subscribe","data":{"channel":"room"}}"#)?;
    bob.skip_to(r#""event":"pusher_internal:subscription_succeeded","channel":"room""#)?;
    drop(ann);
    drop(bob);
    // Their threads notice that by themselves; nobody says when.
    let is_empty = || {
        hub.channels
            .lock()
            .is_ok_and(|channels| channels.is_empty())
    };
    let until = now() + Duration::from_secs(10);
    while !is_empty() && now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(is_empty());
    println!("when all have gone, nothing is left");
    Ok(())
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(BufReader::new(socket)))
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line)
    }

    /// The next line must contain this.
    fn expect(&mut self, part: &str) -> io::Result<()> {
        let line = self.hear()?;
        assert!(line.contains(part), "{part} was expected, not {line}");
        Ok(())
    }

    /// Passes over what comes before a line with this.
    fn skip_to(&mut self, part: &str) -> io::Result<()> {
        loop {
            let line = self.hear()?;
            assert!(!line.is_empty(), "{part} was expected, and nothing came");
            if line.contains(part) {
                return Ok(());
            }
        }
    }
}
