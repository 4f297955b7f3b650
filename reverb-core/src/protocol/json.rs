//! The few things we do with JSON that serde does not: text is relayed as it came, never parsed and written again.

use std::borrow::Cow;

use serde::Deserialize;

/// Deepest nesting that is read or relayed; a client's own parser should not be tried with more.
pub(crate) const MAX_DEPTH: usize = 32;

/// Reads a typed value from the text of a JSON object. Parts of it that are [`serde_json::value::RawValue`]s may nest to
/// any depth: ask [`is_too_deep`] before passing them on.
///
/// # Errors
/// What serde says, or that the text is no object (serde would take a list for a struct).
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    if !text.trim_start().starts_with('{') {
        return Err(serde::de::Error::custom("expected an object"));
    }
    serde_json::from_str(text)
}

/// Whether objects and lists nest deeper than [`MAX_DEPTH`]. Looks at brackets outside of strings only.
#[must_use]
pub(crate) fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
        at += 1;
    }
    false
}

/// The place of the quote that ends the string which begins at `start`, or the end of the text.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// A string inside a message: borrowed from it where nothing is escaped, also within an `Option` or a `Vec` (where serde
/// would make an owned copy of a bare `Cow`).
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The text that a JSON string token stands for.
///
/// # Errors
/// Not a string, or one with half a surrogate pair in it.
pub(crate) fn string(token: &str) -> serde_json::Result<Cow<'_, str>> {
    serde_json::from_str::<Str<'_>>(token).map(|text| text.0)
}

/// Whether every string in this well-formed JSON stands for real text.
///
/// Half a surrogate pair (`"\ud800"`) passes JSON's grammar, but is no character; strict clients would choke on it.
#[must_use]
pub(crate) fn is_text(json: &str) -> bool {
    let bytes = json.as_bytes();
    // Text in text is full of escaped quotes, and has few other escapes.
    if memchr::memmem::find(bytes, b"\\u").is_none() {
        return true;
    }
    let escape = |at: usize| match bytes.get(at..at + 6) {
        Some([b'\\', b'u', digits @ ..]) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u16::from_str_radix(digits, 16).ok()),
        _ => None,
    };
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        match escape(at) {
            Some(0xd800..=0xdbff) if matches!(escape(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => return false,
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    true
}

/// How many bytes the text has that this well-formed JSON string token stands for.
#[must_use]
pub(crate) fn decoded_len(token: &str) -> usize {
    if memchr::memchr(b'\\', token.as_bytes()).is_none() {
        return token.len() - 2;
    }
    string(token).map_or(token.len(), |text| text.len())
}

/// Writes `text` as it stands inside a JSON string, without the quotes around it.
pub(crate) fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        if short.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.extend_from_slice(short);
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

/// Writes `text` as a JSON string, with its quotes.
pub(crate) fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// The same JSON without the white space between its tokens.
#[must_use]
pub(crate) fn compact(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            out.get_or_insert_with(|| bytes[..at].to_vec());
            at += 1;
            continue;
        }
        let end = if byte == b'"' {
            (end_of_string(bytes, at) + 1).min(bytes.len())
        } else {
            at + 1
        };
        if let Some(out) = &mut out {
            out.extend_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    match out {
        None => Cow::Borrowed(text),
        // Whole tokens of a str, in order: still UTF-8.
        Some(out) => String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!is_too_deep(&nested(32)));
        assert!(is_too_deep(&nested(33)));
        assert!(!is_too_deep(&format!("\"{}\\\"[\"", "[".repeat(100))));
        assert!(is_too_deep(&"[".repeat(1_000_000)));
    }

    #[test]
    fn escaped_text_reads_back_the_same() {
        for text in [
            "",
            "plain",
            "\"q\" \\ /",
            "line\nbreak\ttab\r",
            "\u{0}\u{1f}\u{7f}",
            "Zü 😀",
        ] {
            let mut out = Vec::new();
            quote(&mut out, text);
            let token = String::from_utf8(out).expect("UTF-8");
            assert_eq!(string(&token).expect("a string"), text);
            assert_eq!(decoded_len(&token), text.len());
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        assert!(is_text(r#""\ud83d\ude00""#));
        assert!(!is_text(r#""\ud83d""#));
        assert!(is_text(r#""a\\u""#));
        assert!(is_text(r#""\\ud800""#), "a backslash, and then text");
        assert!(!is_text(r#"{"a":["\udc00"]}"#));
        assert!(!is_text(r#""\ud83d\u0041""#));
    }

    #[test]
    fn compact_leaves_strings_alone() {
        assert_eq!(
            compact("{ \"a b\" : [1, \"\\\" \"] }\n"),
            "{\"a b\":[1,\"\\\" \"]}"
        );
        assert!(matches!(compact("{\"a\":1}"), Cow::Borrowed(_)));
    }
}
