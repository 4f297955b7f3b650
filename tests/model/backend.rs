//! A backend of an app: signed requests over a socket, written by hand so that nothing of the hub checks itself.

use std::fmt::Write;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::protocol::App;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Stage, in_time};

/// Sends a signed POST on a connection of its own, so that every shard gets some. The answer must be a 200.
pub(crate) async fn post(stage: &Stage, app: &App, path: &str, body: &Value) -> Value {
    request(stage, app, "POST", path, &[], &body.to_string()).await
}

/// Sends a signed GET. The answer must be a 200.
pub(crate) async fn get(stage: &Stage, app: &App, path: &str, query: &[(&str, &str)]) -> Value {
    request(stage, app, "GET", path, query, "").await
}

async fn request(
    stage: &Stage,
    app: &App,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    body: &str,
) -> Value {
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
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", stage.at);
    if method == "POST" {
        let _ = write!(
            head,
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
    }
    let exchange = async {
        let mut socket = TcpStream::connect(stage.at).await.expect("the hub listens");
        socket
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .await
            .expect("the hub reads");
        read_answer(&mut socket).await
    };
    let answer = in_time(&format!("the answer to {method} {path}"), exchange).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.starts_with("HTTP/1.1 200 "),
        "{method} {path}: {answer}"
    );
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
pub(crate) fn escaped(text: &str) -> String {
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
