//! Requests in no language that we speak, or to nowhere: each is answered once, in words. Source: RFC 9110 and 9112.

use crate::backend::{Backend, event_to, md5, request, target};
use crate::client::Client;
use crate::server::{Server, shop};
use crate::wire::{Reply, Wire, handshake, only_answer};

pub(crate) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// Sends this and that nothing more is to come, and takes the one answer.
#[track_caller]
pub(crate) fn answer(server: &Server, bytes: impl AsRef<[u8]>) -> Reply {
    let mut wire = Wire::connect(server);
    wire.send(bytes);
    wire.finish();
    let reply = wire.reply();
    wire.ends();
    reply
}

/// What other programs say first, and what is nearly a request.
const NO_HTTP: [&[u8]; 22] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"nonsense\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n",
    b"GET / HTTP/3.0\r\n\r\n",
    b"GET / HTTP/1.1.1\r\n\r\n",
    b"GET / HTTP/11\r\n\r\n",
    b"GET  HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xef\xbb\xbfGET / HTTP/1.1\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"G\xc3\x89T / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /apps/1001/channels?\xff=\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"{}\r\n\r\n",
    b"<xml/>\r\n\r\n",
];

#[test]
fn what_is_no_http_is_told_so_once() {
    let server = Server::start();
    for bytes in NO_HTTP {
        let shown = String::from_utf8_lossy(bytes);
        let reply = only_answer(&server, bytes);
        assert_eq!(reply.status, 400, "{shown}: {reply:?}");
        assert!(reply.is_told() && reply.says_close(), "{shown}: {reply:?}");
        server.is_well();
    }
    server.ends_well();
}

/// Paths that are none of ours, though some would be if they were cleaned up first; each is signed as it is.
const NOWHERE: &str = r"/
/apps
/apps/
/apps/1001
/apps/1001/
/apps/1001/event
/apps/1001/events/
/apps//events
//apps/1001/events
/apps/1001//events
/apps/../apps/1001/events
/apps/1001/../1001/events
/apps/./1001/events
/apps/1001/events/..
/apps/1001/channels/../events
/%61pps/1001/events
/apps%2f1001%2fevents
/apps/1001%2fevents
/apps/1001/%65vents
/%2e%2e/apps/1001/events
/apps/%2e%2e/events
/APPS/1001/events
/apps/1001/events%00
/apps/1001/events%ff
/apps/1001/events;x=y
/apps/1001/events\
/..%2f..%2fetc/passwd
/pusher/app/app-key/1/abcdefgh/xhr_streaming
/app
/up/
/up/..";

#[test]
fn what_leads_nowhere_is_not_found() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let body = event_to("a", "e", "1");
    for path in NOWHERE.lines() {
        let target = target(&shop(), "POST", path, &[], body.as_bytes());
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
        let reply = answer(&server, format!("{head}\r\n{body}"));
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(reply.is_told(), "{path}: {reply:?}");
        server.is_well();
    }
    client.hears_nothing();
    server.ends_well();
}

/// Paths, and the methods that are theirs.
const METHODS: [(&str, &str); 8] = [
    ("/apps/1001/events", "POST"),
    ("/apps/1001/batch_events", "POST"),
    ("/apps/1001/users/7/terminate_connections", "POST"),
    ("/apps/1001/channels", "GET, HEAD"),
    ("/apps/1001/channels/a", "GET, HEAD"),
    ("/apps/1001/channels/presence-a/users", "GET, HEAD"),
    ("/apps/1001/connections", "GET, HEAD"),
    ("/app/app-key", "GET"),
];

#[test]
fn a_wrong_method_is_told_the_right_one() {
    let server = Server::start();
    let all = "GET POST PUT DELETE PATCH OPTIONS TRACE PROPFIND get X";
    for (path, allowed) in METHODS {
        for method in all
            .split(' ')
            .filter(|method| !allowed.split(", ").any(|ours| ours == *method))
        {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n");
            let reply = answer(&server, format!("{head}\r\n{{}}"));
            assert_eq!(reply.status, 405, "{method} {path}: {reply:?}");
            assert_eq!(
                reply.header("allow"),
                Some(allowed),
                "{method} {path}: {reply:?}"
            );
            assert!(reply.is_told(), "{method} {path}: {reply:?}");
        }
        server.is_well();
    }
    // What proxies are asked, and what concerns no path.
    for line in [
        "CONNECT localhost:80",
        "CONNECT /",
        "OPTIONS *",
        "TRACE /",
        "GET *",
        "GET localhost",
        "DELETE http://x/apps",
    ] {
        let reply = answer(&server, format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(matches!(reply.status, 400 | 404 | 405), "{line}: {reply:?}");
        assert!(reply.is_told(), "{line}: {reply:?}");
    }
    server.ends_well();
}

#[test]
fn unusual_but_honest_requests_are_obeyed() {
    const H2C: &str =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nHost:";
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let body = event_to("a", "e", "1");
    let text = request(&shop(), "POST", "/events", &[], body.as_bytes());
    let text = String::from_utf8(text).expect("text");
    let old = text.replacen("HTTP/1.1", "HTTP/1.0", 1);
    for (what, request) in [
        (
            "HTTP/1.0 without a host",
            old.replacen("Host: localhost\r\n", "", 1),
        ),
        ("HTTP/1.0", old),
        (
            "an absolute target",
            text.replacen("POST /", "POST http://localhost/", 1),
        ),
        (
            "another absolute target",
            text.replacen("POST /", "POST http://example.org:99/", 1),
        ),
        ("empty lines in front", format!("\r\n\r\n{text}")),
        ("an offer of HTTP/2", text.replacen("Host:", H2C, 1)),
    ] {
        let reply = answer(&server, request);
        assert_eq!(
            (reply.status, &*reply.body),
            (200, "{}"),
            "{what}: {reply:?}"
        );
        client.expect_on("a", "e", "1");
    }
    server.ends_well();
}

#[test]
fn a_handshake_that_is_none_is_told_so_once() {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let server = Server::start();
    let without = |line: &str| (line.to_owned() + "\r\n", String::new());
    let with = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    for ((from, to), status) in [
        (without(KEY), 400),
        (with(KEY, "Sec-WebSocket-Key: dGhl"), 400),
        (
            with(KEY, "Sec-WebSocket-Key: ????????????????????????"),
            400,
        ),
        (without("Connection: Upgrade"), 400),
        (with("Connection: Upgrade", "Connection: keep-alive"), 400),
        (with("HTTP/1.1", "HTTP/1.0"), 400),
        (with("GET", "POST"), 405),
        (without("Sec-WebSocket-Version: 13"), 426),
        (with("Version: 13", "Version: 8"), 426),
        (without("Upgrade: websocket"), 426),
        (with("Upgrade: websocket", "Upgrade: h2c"), 426),
    ] {
        let good = handshake("/app/app-key");
        assert!(good.contains(&from), "{from}");
        let reply = answer(&server, good.replacen(&from, &to, 1));
        assert_eq!(reply.status, status, "{to:?} for {from}: {reply:?}");
        assert!(reply.is_told(), "{to:?} for {from}: {reply:?}");
        server.is_well();
    }
    server.ends_well();
}

#[test]
fn a_body_is_signed_byte_for_byte_whatever_is_in_it() {
    let server = Server::start();
    let mut backend = Backend::of(&server, &shop());
    let nul = b"{\"name\":\"e\",\"channel\":\"a\",\"data\":\"\0\"}";
    for body in [
        &b"\0"[..],
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        &[0; 1000],
        nul,
        b"\r\n\r\n",
    ] {
        let reply = backend.post("/events", body);
        assert_eq!(reply.status, 400, "{}: {reply:?}", md5(body));
        assert!(reply.is_told(), "{reply:?}");
    }
    server.ends_well();
}
