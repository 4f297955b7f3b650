//! `reverb-server import` and `export`: from other servers, from tables and exports, and back.

mod clashes;
mod csv;
mod export;
mod mistakes;
mod reverb;
mod soketi;

use serde_json::Value;

use crate::place::Place;

/// An app with everything that can be set.
fn furnish(place: &Place) {
    let args = [
        "app",
        "create",
        "--id",
        "1",
        "--key",
        "key-1",
        "--secret",
        "secret-1",
        "--name",
        "=Shop, \"große\"\nKasse",
        "--description",
        "'-x",
        "--client-events",
        "off",
        "--max-connections",
        "7",
        "--allowed-origin",
        "shop.test",
        "--allowed-origin",
        "*.shop.test",
        "--limit",
        "event_bytes=999",
        "--limit",
        "events_per_second=3",
        "--webhook",
        "https://shop.test/hook?a=b=member_added,cache_miss",
        "--webhook",
        "https://b.test=all",
        "--subscription-count",
        "true",
        "--watchlist",
        "false",
        "--force-tls",
        "true",
        "--activity-timeout",
        "17",
    ];
    place.succeeds(&args);
    place.succeeds(&["app", "create", "--id", "2", "--key", "key-2"]);
    place.succeeds(&[
        "app",
        "rotate-secret",
        "2",
        "--secret",
        "after",
        "--overlap",
        "7d",
    ]);
    place.succeeds(&["app", "deactivate", "2"]);
}

fn exported(place: &Place) -> String {
    place.succeeds(&["export", "--with-secrets"])
}

fn shown(place: &Place, id: &str) -> Value {
    place.json(&["app", "show", id, "--json"])
}

#[test]
fn help_keeps_within_80_columns() {
    let place = Place::new();
    for command in ["import", "export"] {
        let help = place.succeeds(&[command, "--help"]);
        assert_eq!(help.lines().find(|line| line.len() > 80), None, "{help}");
    }
}
