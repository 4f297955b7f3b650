//! The protocol over a transport of your own: lines of text over plain TCP, beside WebSocket, in one hub.
//!
//! ```sh
//! cargo run --example own_transport            # shows that it works, and ends
//! cargo run --example own_transport -- 7000    # serves lines on 7000, and WebSocket on 7001
//! nc 127.0.0.1 7000                            # in another terminal, or in several; then type:
//! demo
//! {"event":"pusher:subscribe","data":{"channel":"room"}}
//! {"event":"client-hello","channel":"room","data":"Good morning"}
//! ```
//! The first line names the app key; from then on every line is a message. An empty line is a sign of life. Everything
//! else is the hub's: the greeting, channels, limits, deadlines, and what happens to those who do not read.

use std::borrow::Cow;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reverb_core::app_store::MemoryApps;
use reverb_core::hub::Hub;
use reverb_core::protocol::{App, ClientEvents, Close, Event, Outgoing};
use reverb_core::transport::{Heard, Transport};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// Messages as lines. It remembers how far it has looked for the end of one that has not come whole.
#[derive(Default)]
struct Lines {
    searched: usize,
}

impl Transport for Lines {
    fn decode<'a>(&mut self, input: &'a mut [u8], max: usize) -> (usize, Heard<'a>) {
        let all = input.len();
        let end = input[self.searched..].iter().position(|b| *b == b'\n');
        let Some(end) = end.map(|n| self.searched + n) else {
            self.searched = all;
            // Refused as soon as that is known: until then everything is kept.
            return match all > max {
                true => (all, Heard::Fail(Close::TOO_BIG)),
                false => (0, Heard::More),
            };
        };
        self.searched = 0;
        let line = input[..end].trim_ascii_end();
        let heard = match std::str::from_utf8(line) {
            _ if line.len() > max => Heard::Fail(Close::TOO_BIG),
            Ok("") => Heard::Pong,
            Ok(text) => Heard::Text(Cow::Borrowed(text)),
            Err(_) => Heard::Fail(Close::NOT_UTF8),
        };
        (end + 1, heard)
    }

    /// JSON as the hub writes it has no line breaks.
    fn message(&self, message: &Outgoing) -> Vec<u8> {
        [message.text().as_bytes(), b"\n"].concat()
    }

    /// Lines have no ping of their own; the protocol has a message for it, that the client answers with `pusher:pong`.
    fn ping(&self) -> Vec<u8> {
        self.message(&Outgoing::ping())
    }

    /// Never asked for: [`Lines::decode`] hears no [`Heard::Ping`].
    fn pong(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    /// Where WebSocket has a close frame.
    fn close(&self, close: &Close) -> Vec<u8> {
        let line = json!({"event": "closed", "data": {"code": close.code, "reason": close.reason}});
        format!("{line}\n").into_bytes()
    }

    /// Never asked for either: who closes, closes the connection.
    fn close_reply(&self, _: Option<u16>) -> Vec<u8> {
        Vec::new()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut app = App::new("1", "demo", "secret")?;
    // On public channels too, so that one can try it without signatures.
    app.client_events = ClientEvents::All;
    let hub = Hub::builder(MemoryApps::from([app])).build()?;
    let port = match std::env::args().nth(1) {
        Some(port) => port.parse()?,
        None => 0,
    };
    let lines = TcpListener::bind(("127.0.0.1", port)).await?;
    let websocket = match port {
        0 => TcpListener::bind("127.0.0.1:0").await?,
        port => TcpListener::bind(("127.0.0.1", port + 1)).await?,
    };
    let (for_lines, for_websocket) = (lines.local_addr()?, websocket.local_addr()?);
    println!("lines: nc {} {}", for_lines.ip(), for_lines.port());
    println!("WebSocket: ws://{for_websocket}/app/demo");
    hub.listen(websocket, hub.service());
    let serving = tokio::spawn(accept(hub.clone(), lines));
    if port == 0 {
        let tested = show(&hub, for_lines, for_websocket);
        return tokio::time::timeout(Duration::from_secs(30), tested).await?;
    }
    serving.await?;
    Ok(())
}

/// Takes whoever comes.
async fn accept(hub: Hub, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                let hub = hub.clone();
                tokio::spawn(async move {
                    if let Err(error) = let_in(&hub, stream).await {
                        println!("somebody did not come in: {error}");
                    }
                });
            }
            // Out of file descriptors, for instance: that passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Reads the line that names the app, in good time and of decent length; the rest is the hub's.
async fn let_in(hub: &Hub, stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    // What it has read beyond the line, the hub reads from it first.
    let mut stream = BufReader::new(stream);
    let mut key = String::new();
    let mut start = (&mut stream).take(256);
    tokio::time::timeout(Duration::from_secs(10), start.read_line(&mut key)).await??;
    match hub
        .connect(key.trim_end(), None, stream, Lines::default())
        .await
    {
        Ok(socket_id) => println!("{socket_id} came in"),
        // The client has been told so already.
        Err(close) => println!("{:?} was refused: {} {}", key, close.code, close.reason),
    }
    Ok(())
}

/// Two that speak lines and one that speaks WebSocket, in one channel.
async fn show(hub: &Hub, lines: SocketAddr, websocket: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut ann = LineClient::connect(lines, "demo").await?;
    let mut bob = LineClient::connect(lines, "demo").await?;
    let (mut zoe, _) =
        tokio_tungstenite::connect_async(format!("ws://{websocket}/app/demo")).await?;
    let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": "room"}});
    zoe.send(Message::text(subscribe.to_string())).await?;
    // The greeting, and that the subscription stands.
    for _ in 0..2 {
        zoe.next().await.ok_or("it ended")??;
    }
    for client in [&mut ann, &mut bob] {
        client.next("pusher:connection_established").await?;
        client.say(&subscribe).await?;
        client
            .next("pusher_internal:subscription_succeeded")
            .await?;
    }

    ann.say(&json!({"event": "client-hello", "channel": "room", "data": "from Ann"}))
        .await?;
    assert_eq!(bob.next("client-hello").await?["data"], "from Ann");
    let text = zoe.next().await.ok_or("it ended")??.into_text()?;
    assert!(text.contains("from Ann"), "{text}");
    println!("what Ann says in lines, Bob hears in lines, and Zoe by WebSocket");

    let hello = json!({"event": "client-hello", "channel": "room", "data": "from Zoe"});
    zoe.send(Message::text(hello.to_string())).await?;
    let sent = hub.publish("1", Event::new("news", "for all").to("room"));
    assert_eq!(sent.await?.subscriptions, 3);
    for client in [&mut ann, &mut bob] {
        // Who was first, Zoe or the program, is open.
        let mut heard =
            [client.hear().await?, client.hear().await?].map(|event| event["data"].clone());
        heard.sort_by_key(Value::to_string);
        assert_eq!(heard, ["for all", "from Zoe"]);
    }
    println!("what Zoe says and what the program publishes reaches both of them");

    ann.say(&json!({"event": "pusher:subscribe", "data": {"channel": "private-room"}}))
        .await?;
    ann.next("pusher:error").await?;
    let refused = ann.next("pusher:subscription_error").await?;
    assert_eq!(refused["data"]["status"], 401);
    println!(
        "a channel that Ann may not see: {}",
        refused["data"]["error"]
    );

    let mut stranger = LineClient::connect(lines, "nobody").await?;
    assert_eq!(stranger.next("pusher:error").await?["data"]["code"], 4001);
    let closed = stranger.next("closed").await?;
    stranger.ends().await?;
    println!("a key that nobody has: {}", closed["data"]);

    bob.stream.write_all(&[b'x'; 100 * 1024]).await?;
    let closed = bob.next("closed").await?;
    assert_eq!(closed["data"]["code"], 1009);
    bob.ends().await?;
    println!("a line without end: {}", closed["data"]);
    Ok(())
}

struct LineClient {
    stream: BufReader<TcpStream>,
}

impl LineClient {
    async fn connect(address: SocketAddr, key: &str) -> Result<Self, Box<dyn Error>> {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(format!("{key}\n").as_bytes()).await?;
        Ok(Self { stream })
    }

    async fn say(&mut self, message: &Value) -> Result<(), Box<dyn Error>> {
        Ok(self
            .stream
            .write_all(format!("{message}\n").as_bytes())
            .await?)
    }

    async fn hear(&mut self) -> Result<Value, Box<dyn Error>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The next message, which must be this event.
    async fn next(&mut self, event: &str) -> Result<Value, Box<dyn Error>> {
        let message = self.hear().await?;
        assert_eq!(message["event"], event, "{message}");
        Ok(message)
    }

    async fn ends(&mut self) -> Result<(), Box<dyn Error>> {
        assert_eq!(self.stream.read(&mut [0]).await?, 0);
        Ok(())
    }
}
