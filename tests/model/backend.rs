//! A backend of an app: signed requests over a socket, written by hand so that nothing of the hub checks itself.

use std::fmt::Write;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::protocol::App;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cast::User;
use crate::stage::{Stage, in_time};

/// Sends a signed POST on a connection of its own, so that every shard gets some. The answer must be a 200.
pub(crate) async fn post(stage: &Stage, app: &App, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let head = format!("content-length: {}\r\n\r\n", body.len());
    let rest = [head.as_bytes(), body.as_bytes()].concat();
    let request = request(stage, app, "POST", path, &[], &body, &rest);
    ask(path, &mut connect(stage).await, &request).await
}

/// The same, with a body whose length is not told beforehand.
pub(crate) async fn post_in_chunks(stage: &Stage, app: &App, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let mut rest = b"transfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.as_bytes().chunks(100) {
        rest.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        rest.extend_from_slice(chunk);
        rest.extend_from_slice(b"\r\n");
    }
    rest.extend_from_slice(b"0\r\n\r\n");
    let request = request(stage, app, "POST", path, &[], &body, &rest);
    ask(path, &mut connect(stage).await, &request).await
}

/// Sends a signed GET, on the connection that the last one came by if nobody else uses it. The answer must be a 200.
pub(crate) async fn get(stage: &Stage, app: &App, path: &str, query: &[(&str, &str)]) -> Value {
    let kept = stage.kept.lock().expect("nobody panics here").take();
    let mut socket = match kept {
        Some(socket) => socket,
        None => connect(stage).await,
    };
    let request = request(stage, app, "GET", path, query, "", b"\r\n");
    let answer = ask(path, &mut socket, &request).await;
    *stage.kept.lock().expect("nobody panics here") = Some(socket);
    answer
}

/// Closes all connections of a user.
pub(crate) async fn terminate(stage: &Stage, app: &App, user: User) -> Value {
    let path = format!("users/{}/terminate_connections", escaped(user.id()));
    post(stage, app, &path, &json!({})).await
}

async fn connect(stage: &Stage) -> TcpStream {
    TcpStream::connect(stage.at).await.expect("the hub listens")
}

/// A signed request; `rest` is what follows the headers that all requests have.
fn request(
    stage: &Stage,
    app: &App,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    body: &str,
    rest: &[u8],
) -> Vec<u8> {
    let path = format!("/apps/{}/{path}", app.id);
    let md5 = HEXLOWER.encode(&Md5::digest(body));
    let now = stage.unix_time().to_string();
    let mut parameters = vec![
        ("auth_key", app.key.as_str()),
        ("auth_timestamp", &now),
        ("auth_version", "1.0"),
    ];
    if !body.is_empty() {
        parameters.push(("body_md5", &md5));
    }
    parameters.extend(query);
    parameters.sort();
    let joined: Vec<String> = parameters
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let joined = joined.join("&");
    let signature = app
        .secret
        .sign(&[format!("{method}\n{path}\n{joined}").as_bytes()]);
    let target = format!(
        "{path}?{joined}&auth_signature={}",
        HEXLOWER.encode(&signature)
    );
    let head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", stage.at);
    [head.as_bytes(), rest].concat()
}

/// Sends a request and reads the answer.
async fn ask(path: &str, socket: &mut TcpStream, request: &[u8]) -> Value {
    let exchange = async {
        socket.write_all(request).await.expect("the hub reads");
        read_answer(socket).await
    };
    let answer = in_time(&format!("the answer to {path}"), exchange).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    serde_json::from_str(body).expect("JSON")
}

/// Reads until the body is as long as the head says.
async fn read_answer(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length: ")
                    .and_then(|n| n.parse::<usize>().ok())
            });
            if body.len() >= length.expect("a length") {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        match socket.read(&mut chunk).await.expect("the hub answers") {
            0 => panic!("the hub hung up after {text:?}"),
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Writes a user's id as it stands in a path.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}
