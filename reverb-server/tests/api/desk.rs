//! [`Desk`]: a server whose API is open, and a caller who compares every answer with what the server says of itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::{Place, Server};
use crate::support;

pub(crate) const TOKEN: &str = "a-token-that-is-long-enough";

/// A running server, and what its API is said to be like.
pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(crate) place: Place,
    document: Value,
    calls: AtomicU32,
}

/// Where the apps are.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    File,
    MariaDb,
}

impl Store {
    pub(crate) fn desk(self) -> Desk {
        self.configured("")
    }

    pub(crate) fn configured(self, more: &str) -> Desk {
        match self {
            Self::File => Desk::configured(more),
            Self::MariaDb => {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                let url = runtime.block_on(support::database());
                Desk::with(&format!("REVERB_DATABASE_URL={url}\n"), more)
            }
        }
    }
}

/// Makes two tests of each of these functions, one for each [`Store`].
macro_rules! with_each_store {
    ($($test:ident),+ $(,)?) => {
        mod in_a_file {
            $(#[test] fn $test() { super::$test(crate::desk::Store::File); })+
        }
        mod in_mariadb {
            $(#[test] fn $test() { super::$test(crate::desk::Store::MariaDb); })+
        }
    };
}
pub(crate) use with_each_store;

/// What was answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) length: usize,
}

impl Desk {
    /// A server behind a proxy that is this caller, so that each call may come from an address of its own.
    pub(crate) fn new() -> Self {
        Self::configured("")
    }

    pub(crate) fn configured(more: &str) -> Self {
        Self::with("", more)
    }

    /// The same with these lines in its `.env`.
    pub(crate) fn with(env: &str, more: &str) -> Self {
        let place = Place::new();
        place.write(".env", &format!("API_TOKEN={TOKEN}\n{env}"));
        let toml = format!("trusted_proxies = [\"127.0.0.1\"]\n{more}");
        place.write("reverb.toml", &toml);
        let server = place.start(&["--config", "reverb.toml", "--data-dir", "data"]);
        let mut desk = Self {
            server,
            place,
            document: Value::Null,
            calls: AtomicU32::new(0),
        };
        let head = "GET /api/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        desk.document = desk.raw(head.as_bytes()).body;
        assert_eq!(desk.document["openapi"], "3.1.0");
        desk
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.call("GET", path, Value::Null)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, body)
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Reply {
        self.call("PATCH", path, body)
    }

    /// An app with this, and a name.
    pub(crate) fn made(&self, mut body: Value) -> Value {
        let fields = body.as_object_mut().expect("an object");
        fields.entry("name").or_insert_with(|| "Shop".into());
        self.post("/api/reverb-apps", body).ok(201)["data"].clone()
    }

    /// A call from an address of its own.
    pub(crate) fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(
            method,
            path,
            &format!("Authorization: Bearer {TOKEN}\r\n"),
            body.as_bytes(),
        )
    }

    /// The same with these headers instead of the token.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let number = self.calls.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let from = format!("10.{}.{}.{}", number[1], number[2], number[3]);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n{headers}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let reply = self.raw(&[head.as_bytes(), body].concat());
        self.compare(method, path, &reply);
        reply
    }

    /// These bytes, and whatever is answered until the connection ends.
    pub(crate) fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.server.address()).expect("it listens");
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("set");
        // Whoever is refused early may find the connection closed.
        let _ = stream.write_all(request);
        Reply::read(stream)
    }

    /// Every answer must be as the document says.
    fn compare(&self, method: &str, path: &str, reply: &Reply) {
        assert!(reply.has("cache-control: no-store"), "{}", reply.head);
        let bare = path.split('?').next().expect("a path");
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let segments: Vec<&str> = bare.split('/').collect();
        let fits = |template: &&String| {
            let parts: Vec<&str> = template.split('/').collect();
            parts.len() == segments.len()
                && parts
                    .iter()
                    .zip(&segments)
                    .all(|(part, segment)| *part == "{id}" || part == segment)
        };
        let method = method.to_ascii_lowercase();
        let paths = self.document["paths"].as_object().expect("paths");
        let mut operations = paths
            .keys()
            .filter(fits)
            .filter(|path| paths[*path].get(&method).is_some());
        // A name before a place for one.
        let Some(template) = operations
            .by_ref()
            .max_by_key(|path| !path.contains("{id}"))
        else {
            return;
        };
        let escape = |text: &str| text.replace('~', "~0").replace('/', "~1");
        let mut pointer = format!(
            "/paths/{}/{method}/responses/{}",
            escape(template),
            reply.status
        );
        let response = self.document.pointer(&pointer);
        let response = response.unwrap_or_else(|| panic!("{pointer} is not described"));
        if let Some(elsewhere) = response["$ref"].as_str() {
            pointer = elsewhere.trim_start_matches('#').to_owned();
        }
        let response = self.document.pointer(&pointer).expect("it leads somewhere");
        if response.get("content").is_none() {
            assert_eq!((reply.length, &reply.body), (0, &Value::Null));
            return;
        }
        let mut schema = self.document.clone();
        let content = &response["content"]["application/json"]["schema"];
        schema["allOf"] = json!([content]);
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        if let Err(error) = validator.validate(&reply.body) {
            panic!(
                "{method} {path}: {error} at {} in {}",
                error.instance_path(),
                reply.body
            );
        }
    }
}

impl Reply {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A connection that was closed with something unread ends in an error, behind what was answered.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("an answer, not {text:?}")),
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or_default(),
            length: body.len(),
        }
    }

    /// Its body, if it is as it should be.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{}", self.body);
        &self.body
    }

    /// A refusal with this message.
    #[track_caller]
    pub(crate) fn says(&self, status: u16, message: &str) {
        assert_eq!(self.ok(status)["message"], message);
    }

    /// Whether the head has this line.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|other| other == line)
    }
}
