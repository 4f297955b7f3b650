//! `protocol::json`: what is done with JSON by hand, against serde_json.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::protocol::json;

use super::{depth, is_json, value};

/// Any text, JSON or not: quoting it, and looking at it as JSON.
pub fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    quoting(text);
    let is_object = text.trim_start().starts_with('{');
    assert_eq!(
        json::object::<BTreeMap<String, IgnoredAny>>(text).is_ok(),
        is_object && serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text).is_ok(),
        "{text}"
    );
    assert_eq!(json::is_too_deep(text), naive_depth(text) > json::MAX_DEPTH);
    // These two are for JSON alone, but should bear anything.
    let is_text = json::is_text(text);
    let compact = json::compact(text);
    assert!(compact.len() <= text.len());
    if is_json(text) {
        reading(text, is_text, &compact);
    }
}

fn quoting(text: &str) {
    let mut out = b"before".to_vec();
    json::quote(&mut out, text);
    let token = std::str::from_utf8(&out[6..]).expect("UTF-8");
    assert_eq!(
        serde_json::from_str::<String>(token).expect("a string"),
        text
    );
    assert_eq!(json::string(token).expect("a string"), text);
    assert_eq!(json::decoded_len(token), text.len());
    assert!(json::is_text(token), "{token}");
    assert_eq!(json::compact(token), token);
    assert!(!json::is_too_deep(token));
    let mut inner = Vec::new();
    json::escape(&mut inner, text);
    assert_eq!(inner, token.as_bytes()[1..token.len() - 1]);
    // Text in text, as most of our messages have it.
    let mut twice = Vec::new();
    json::quote(&mut twice, token);
    let twice = std::str::from_utf8(&twice).expect("UTF-8");
    assert_eq!(json::string(twice).expect("a string"), token);
}

fn reading(text: &str, is_text: bool, compact: &str) {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(whole) => {
            assert!(is_text, "{text}");
            assert_eq!(json::is_too_deep(text), depth(&whole) > json::MAX_DEPTH);
            assert_eq!(value(compact).as_ref(), Some(&whole), "{text}");
        }
        Err(error) => {
            let error = error.to_string();
            let is_number = error.starts_with("number out of range");
            let is_deep = error.starts_with("recursion limit exceeded");
            assert!(!is_text || is_number || is_deep, "{error}: {text}");
            assert!(is_json(compact), "{text}");
        }
    }
    assert_eq!(compact, naive_compact(text), "{text}");
    assert_eq!(json::compact(compact), compact);
    let token = text.trim_matches([' ', '\t', '\r', '\n']);
    if token.starts_with('"') {
        let (ours, serde) = (
            json::string(token).ok(),
            serde_json::from_str::<String>(token).ok(),
        );
        assert_eq!(ours.is_some(), is_text, "{token}");
        assert_eq!(ours.as_deref(), serde.as_deref());
        assert!(json::decoded_len(token) <= token.len());
        if let Some(serde) = serde {
            assert_eq!(json::decoded_len(token), serde.len());
        }
    }
    // What is relayed in part is judged in part.
    if let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(text) {
        assert_eq!(
            is_text,
            parts.iter().all(|part| json::is_text(part.get())),
            "{text}"
        );
    }
}

/// Calls `see` with every character, and whether it is within a string.
fn walk(text: &str, mut see: impl FnMut(char, bool)) {
    let (mut within, mut escaped) = (false, false);
    for c in text.chars() {
        see(c, within);
        match c {
            _ if escaped => escaped = false,
            '\\' if within => escaped = true,
            '"' => within = !within,
            _ => {}
        }
    }
}

fn naive_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    walk(text, |c, within| match c {
        '{' | '[' if !within => {
            depth += 1;
            deepest = deepest.max(depth);
        }
        '}' | ']' if !within => depth = depth.saturating_sub(1),
        _ => {}
    });
    deepest
}

fn naive_compact(text: &str) -> String {
    let mut out = String::new();
    walk(text, |c, within| {
        if within || !matches!(c, ' ' | '\n' | '\r' | '\t') {
            out.push(c);
        }
    });
    out
}
