//! The shapes of requests that two readers might understand differently. Behind each stands a good request that nobody
//! should ever read.

use crate::backend::{event_to, publish_with, request};
use crate::server::shop;

/// A shape: its name, and its bytes.
type Shape = (String, Vec<u8>);

/// A body and what it says.
fn event() -> String {
    event_to("a", "open", "1")
}

/// A good request that nobody should ever read.
pub(crate) fn hidden() -> Vec<u8> {
    request(
        &shop(),
        "POST",
        "/events",
        &[],
        event_to("a", "smuggled", "1").as_bytes(),
    )
}

/// One chunk, and the last.
fn chunks() -> String {
    let event = event();
    format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len())
}

/// A signed publish with these lines and this body, and the hidden one behind it.
fn with(headers: &str, sent: &str) -> Vec<u8> {
    [
        publish_with(&shop(), headers, event().as_bytes(), sent.as_bytes()),
        hidden(),
    ]
    .concat()
}

/// Values of `Content-Length`; `N` stands for the right one.
const LENGTHS: &str = "N, N
N,0
+N
-N
0xN
N.0
Ne0
N 0
\"N\"
N;
-1
abc
18446744073709551616
99999999999999999999999999
１";

/// Values of `Transfer-Encoding`.
const ENCODINGS: &str = "identity
gzip
xchunked
chunkedx
chunked, identity
identity, chunked
gzip, chunked
chunked, chunked
chunked;q=1
\"chunked\"
,chunked
chunked,
chu nked
cow";

/// Lines that could be taken for something else than they are.
const LINES: [(&str, &str); 17] = [
    ("a folded header", "X: y\r\n Transfer-Encoding: chunked\r\n"),
    (
        "a header folded by a tab",
        "X: y\r\n\tTransfer-Encoding: chunked\r\n",
    ),
    ("a folded length", "Content-Length:\r\n 5\r\n"),
    ("a folded encoding", "Transfer-Encoding:\r\n chunked\r\n"),
    (
        "a blank before the colon",
        "Transfer-Encoding : chunked\r\n",
    ),
    ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
    ("a bare line feed", "X: y\nTransfer-Encoding: chunked\r\n"),
    (
        "a bare carriage return",
        "X: y\rTransfer-Encoding: chunked\r\n",
    ),
    ("two carriage returns", "X: y\r\r\n"),
    ("a NUL in a value", "X: y\0\r\n"),
    ("a NUL in a name", "Transfer-Encoding\0: chunked\r\n"),
    ("a control character in a name", "X\u{7}: y\r\n"),
    (
        "a vertical tab in a name",
        "\u{b}Transfer-Encoding: chunked\r\n",
    ),
    ("a header without a colon", "Transfer-Encoding chunked\r\n"),
    ("a header without a name", ": chunked\r\n"),
    ("another host", "Host: other\r\n"),
    ("the same host again", "Host: localhost\r\n"),
];

/// What may be changed in the rest of a head: from, and to.
const CHANGES: [(&str, &str, &str); 11] = [
    ("no host", "Host: localhost\r\n", ""),
    ("a blank before the first header", "Host:", " Host:"),
    ("a blank in the target", "/events", "/eve nts"),
    ("a tab after the method", "POST ", "POST\t"),
    ("a NUL in the target", "/events", "/events\0"),
    (
        "a line that ends in a line feed",
        " HTTP/1.1\r\n",
        " HTTP/1.1\n",
    ),
    ("a head that ends in line feeds", "\r\n\r\n", "\n\n"),
    ("no version", " HTTP/1.1", ""),
    ("no such version", "HTTP/1.1", "HTTP/1.2"),
    ("version 2", "HTTP/1.1", "HTTP/2.0"),
    ("a version in small letters", "HTTP/1.1", "http/1.1"),
];

/// Heads that nobody may read in his own way.
pub(crate) fn heads() -> Vec<Shape> {
    let (event, chunks) = (event(), chunks());
    let (n, zero) = (event.len(), "Content-Length: 0\r\n");
    let (length, chunked) = (
        format!("Content-Length: {n}\r\n"),
        "Transfer-Encoding: chunked\r\n",
    );
    let capitals = format!("{length}{chunked}").to_uppercase();
    let mut all: Vec<Shape> = [
        ("both lengths", format!("{length}{chunked}"), &chunks),
        (
            "both lengths, the chunks first",
            format!("{chunked}{length}"),
            &chunks,
        ),
        (
            "both lengths, one of them zero",
            format!("{chunked}{zero}"),
            &chunks,
        ),
        ("both lengths, in capitals", capitals, &chunks),
        ("two lengths that differ", format!("{length}{zero}"), &event),
        (
            "two lengths that differ, zero first",
            format!("{zero}{length}"),
            &event,
        ),
        (
            "two lengths that agree",
            format!("{length}{length}"),
            &event,
        ),
        (
            "a length that is none",
            "Content-Length: \r\n".to_owned(),
            &event,
        ),
        (
            "a length with a vertical tab",
            format!("Content-Length: {n}\u{b}\r\n"),
            &event,
        ),
        (
            "an encoding that is none",
            "Transfer-Encoding: \r\n".to_owned(),
            &chunks,
        ),
        (
            "an encoding with a vertical tab",
            "Transfer-Encoding: chunked\u{b}\r\n".to_owned(),
            &chunks,
        ),
        ("chunked twice", format!("{chunked}{chunked}"), &chunks),
        (
            "chunked and something else",
            format!("{chunked}Transfer-Encoding: x\r\n"),
            &chunks,
        ),
    ]
    .into_iter()
    .map(|(what, headers, sent)| (what.to_owned(), with(&headers, sent)))
    .collect();
    for value in LENGTHS
        .lines()
        .map(|value| value.replace('N', &n.to_string()))
    {
        let headers = format!("Content-Length: {value}\r\n");
        all.push((format!("length {value}"), with(&headers, &event)));
    }
    for value in ENCODINGS.lines() {
        let headers = format!("Transfer-Encoding: {value}\r\n");
        all.push((format!("encoding {value}"), with(&headers, &chunks)));
    }
    for (what, line) in LINES {
        all.push((what.to_owned(), with(&format!("{length}{line}"), &event)));
        all.push((
            format!("{what}, in front"),
            with(&format!("{line}{length}"), &event),
        ));
    }
    let changed = |headers: &str, sent: &str, from: &str, to: &str| {
        let text = String::from_utf8(with(headers, sent)).expect("text");
        assert!(text.contains(from), "{from:?} in {text}");
        text.replacen(from, to, 1).into_bytes()
    };
    for (what, from, to) in CHANGES {
        all.push((what.to_owned(), changed(&length, &event, from, to)));
    }
    let old = changed(chunked, &chunks, "HTTP/1.1", "HTTP/1.0");
    all.push(("chunks in HTTP/1.0".to_owned(), old));
    all
}

/// Sizes of a chunk; `N` stands for the right one.
const SIZES: [&str; 17] = [
    "0xN",
    "+N",
    "-N",
    "Ng",
    "N, N",
    " N",
    "N\u{b}",
    "N\0",
    "N\n",
    "N\r",
    "-1",
    "g",
    "",
    "1000000000000000N",
    "ffffffffffffffff",
    "10000000000000000",
    "fffffffffffffffffffffffffffff",
];

/// Chunks that nobody may read in his own way; `N` stands for the right size, `M` for one that is too large by two, and
/// `E` for the event.
const CHUNKS: [(&str, &str); 8] = [
    ("a size that ends in a line feed", "N\nE\r\n0\r\n\r\n"),
    ("an extension with a line feed", "N;a\nE\r\n0\r\n\r\n"),
    ("a chunk that ends in a line feed", "N\r\nE\n0\r\n\r\n"),
    ("a chunk longer than its size", "N\r\nEx\r\n0\r\n\r\n"),
    ("a chunk without its end", "N\r\nE0\r\n\r\n"),
    ("a chunk shorter than its size", "M\r\nE\r\n0\r\n\r\n"),
    (
        "a trailer with a blank in its name",
        "N\r\nE\r\n0\r\nX y: z\r\n\r\n",
    ),
    ("a trailer without a colon", "N\r\nE\r\n0\r\nX\r\n\r\n"),
];

/// Bodies in chunks that nobody may read in his own way, with the hidden request where another reader would look for it.
pub(crate) fn odd_chunks() -> Vec<Shape> {
    let event = event();
    let (right, larger) = (
        format!("{:x}", event.len()),
        format!("{:x}", event.len() + 2),
    );
    let filled = |form: &str| {
        form.replace('N', &right)
            .replace('M', &larger)
            .replace('E', &event)
    };
    let mut all = Vec::new();
    for size in SIZES {
        all.push((
            format!("a chunk of {size:?}"),
            filled(&format!("{size}\r\nE\r\n0\r\n\r\n")),
        ));
    }
    for (what, form) in CHUNKS {
        all.push((what.to_owned(), filled(form)));
    }
    let (extension, trailers) = ("a".repeat(100_000), "X: y\r\n".repeat(20_000));
    let endless = format!("N;{extension}\r\nE\r\n0\r\n\r\n");
    all.push(("an endless extension".to_owned(), filled(&endless)));
    let endless = format!("N\r\nE\r\n0\r\n{trailers}\r\n");
    all.push(("endless trailers".to_owned(), filled(&endless)));
    let chunked = "Transfer-Encoding: chunked\r\n";
    all.into_iter()
        .map(|(what, body)| (what, with(chunked, &body)))
        .collect()
}
