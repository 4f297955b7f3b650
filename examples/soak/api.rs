//! [`Api`]: a backend of an app: signed requests on a connection that is kept.

use std::time::Duration;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::clock::{Clock, SystemClock};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::guest::Home;
use crate::ledger::count;

/// An answer comes within this, or counts as refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// A backend.
pub(crate) struct Api {
    home: Home,
    socket: Option<TcpStream>,
}

impl Api {
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            socket: None,
        }
    }

    /// The answer to `GET /apps/{id}/{path}`, if it is a 200; `query` must stand in the order of the alphabet.
    pub(crate) async fn get(&mut self, path: &str, query: &str) -> Option<Value> {
        self.request("GET", path, query, "").await
    }

    /// The answer to `POST /apps/{id}/{path}`, if it is a 200.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Option<Value> {
        self.request("POST", path, "", &body.to_string()).await
    }

    async fn request(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: &str,
    ) -> Option<Value> {
        let request = self.signed(method, path, query, body);
        count(&self.home.totals.requests, 1);
        let answer = timeout(PATIENCE, self.exchange(&request)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match answer {
            Ok(body) => Some(body),
            Err(why) => {
                // Whatever still comes on it answers something else.
                self.socket = None;
                count(&self.home.totals.refused, 1);
                eprintln!("refused: {method} {path}: {why}");
                None
            }
        }
    }

    fn signed(&self, method: &str, path: &str, query: &str, body: &str) -> String {
        let app = &self.home.app;
        let path = format!("/apps/{}/{path}", app.id);
        let time = SystemClock.unix_time().as_secs();
        let mut parameters = format!(
            "auth_key={}&auth_timestamp={time}&auth_version=1.0",
            app.key
        );
        if !body.is_empty() {
            let md5 = HEXLOWER.encode(&Md5::digest(body));
            parameters.push_str(&format!("&body_md5={md5}"));
        }
        if !query.is_empty() {
            parameters.push_str(&format!("&{query}"));
        }
        let text = format!("{method}\n{path}\n{parameters}");
        let signature = HEXLOWER.encode(&app.secret.sign(&[text.as_bytes()]));
        format!(
            "{method} {path}?{parameters}&auth_signature={signature} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    async fn exchange(&mut self, request: &str) -> Result<Value, String> {
        let broken = |error: std::io::Error| error.to_string();
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = TcpStream::connect(self.home.at).await.map_err(broken)?;
                socket.set_nodelay(true).map_err(broken)?;
                none.insert(socket)
            }
        };
        socket.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        loop {
            if socket.read_buf(&mut answer).await.map_err(broken)? == 0 {
                return Err("the connection ended".to_owned());
            }
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|n| n.parse().ok()).ok_or("no length")?;
            if body.len() < length {
                continue;
            }
            if !head.starts_with("http/1.1 200 ") {
                return Err(text.into_owned());
            }
            return serde_json::from_str(body).map_err(|error| error.to_string());
        }
    }
}
