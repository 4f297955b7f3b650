//! Which request asks for what: [`find`], from the table [`ROUTES`].

use http::Method;
use reverb_core::protocol::auth::decode;

use super::reply::Refusal;

/// What a request asks for; an app by what stands in its path.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    List,
    Create,
    Show(String),
    Update(String),
    Delete(String),
    RotateSecret(String),
    RotateKey(String),
    Restart,
    Document,
}

type Route = (Method, &'static str, fn(String) -> Action);

/// Method, path below the API's own, and what that asks for; `{id}` is one segment. The first that fits counts, whatever
/// stands behind it: a restart is no app.
const ROUTES: [Route; 9] = [
    (Method::GET, "openapi.json", |_| Action::Document),
    (Method::GET, "reverb-apps", |_| Action::List),
    (Method::POST, "reverb-apps", |_| Action::Create),
    (Method::POST, "reverb-apps/restart", |_| Action::Restart),
    (Method::GET, "reverb-apps/{id}", Action::Show),
    (Method::PATCH, "reverb-apps/{id}", Action::Update),
    (Method::DELETE, "reverb-apps/{id}", Action::Delete),
    (
        Method::POST,
        "reverb-apps/{id}/rotate-secret",
        Action::RotateSecret,
    ),
    (
        Method::POST,
        "reverb-apps/{id}/rotate-key",
        Action::RotateKey,
    ),
];

/// What describes all of them.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

/// What of a path is said again, in characters.
const SAID: usize = 100;

/// What this method asks for at this path. One slash at the end does no harm, and segments are decoded one by one, so that an
/// encoded slash splits nothing.
pub(super) fn find(method: &Method, path: &str) -> Result<Action, Refusal> {
    let inner = path.strip_prefix("/api").unwrap_or_default();
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let segments = inner.strip_prefix('/').map(|inner| inner.split('/'));
    let segments = segments.into_iter().flatten();
    let segments: Vec<String> = segments
        .map(|part| decode(part, false).into_owned())
        .collect();
    let mut allow = String::new();
    for (allowed, template, action) in ROUTES {
        let Some(id) = fits(template, &segments) else {
            continue;
        };
        let is_head = *method == Method::HEAD && allowed == Method::GET;
        if *method == allowed || is_head {
            return Ok(action(id));
        }
        let separator = if allow.is_empty() { "" } else { ", " };
        let head = if allowed == Method::GET { ", HEAD" } else { "" };
        allow += &format!("{separator}{allowed}{head}");
    }
    let path: String = path.trim_matches('/').chars().take(SAID).collect();
    match allow.as_str() {
        "" => Err(Refusal::Path(path)),
        _ => Err(Refusal::Method {
            method: method.as_str().chars().take(SAID).collect(),
            path,
            allow,
        }),
    }
}

/// The `{id}` in these segments, or nothing where there is none, if they are as the template says.
fn fits(template: &str, segments: &[String]) -> Option<String> {
    let mut id = String::new();
    let parts: Vec<&str> = template.split('/').collect();
    if parts.len() != segments.len() {
        return None;
    }
    for (part, segment) in parts.iter().zip(segments) {
        match *part {
            "{id}" if !segment.is_empty() => id.clone_from(segment),
            part if part == segment => {}
            _ => return None,
        }
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn found(method: Method, path: &str) -> String {
        match find(&method, path) {
            Ok(action) => format!("{action:?}"),
            Err(Refusal::Method { allow, .. }) => allow,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn a_path_is_split_first_and_decoded_then() {
        let show = |id: &str| format!("Show({id:?})");
        assert_eq!(found(Method::GET, "/api/reverb-apps/7"), show("7"));
        assert_eq!(found(Method::HEAD, "/api/reverb-apps/7/"), show("7"));
        assert_eq!(found(Method::GET, "/api/reverb%2Dapps/%37"), show("7"));
        assert_eq!(
            found(Method::GET, "/api/reverb-apps/7%2Frotate-key"),
            show("7/rotate-key")
        );
        assert_eq!(
            found(Method::GET, "/api/reverb-apps/restart"),
            show("restart")
        );
        assert_eq!(found(Method::POST, "/api/reverb-apps/restart"), "Restart");
        assert_eq!(found(Method::GET, "/api/reverb-apps/"), "List");
        for nothing in [
            "/api",
            "/api/",
            "/api//",
            "/api//reverb-apps",
            "/api/reverb-apps//",
            "/api/x",
            "/api/reverb-apps/7/x",
        ] {
            let path = nothing.trim_matches('/');
            assert_eq!(
                found(Method::GET, nothing),
                format!("Path({path:?})"),
                "{nothing}"
            );
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        assert_eq!(found(Method::PUT, "/api/reverb-apps"), "GET, HEAD, POST");
        assert_eq!(
            found(Method::POST, "/api/reverb-apps/7"),
            "GET, HEAD, PATCH, DELETE"
        );
        assert_eq!(found(Method::GET, "/api/reverb-apps/7/rotate-key"), "POST");
        assert_eq!(found(Method::POST, "/api/openapi.json"), "GET, HEAD");
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        let mut described = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for method in operations.as_object().expect("operations").keys() {
                if method != "parameters" {
                    described.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        let routes = ROUTES.map(|(method, path, _)| format!("{method} /api/{path}"));
        assert_eq!(described, BTreeSet::from(routes));
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
