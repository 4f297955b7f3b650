//! What is exported, and how it comes back.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{exported, furnish, shown};
use crate::place::Place;

#[test]
fn an_export_comes_back_elsewhere_as_it_was() {
    let here = Place::new();
    furnish(&here);
    let before = exported(&here);
    let list = serde_json::from_str::<Value>(&before).expect("JSON");
    assert_eq!(list["apps"][1]["secret"], "after");
    assert_eq!(
        list["apps"][1]["old_secret"].as_str().map(str::len),
        Some(32)
    );
    assert_eq!(before.lines().count(), 4, "an app on each line");
    for format in ["json", "csv"] {
        let there = Place::new();
        let file = there.path("apps");
        let file = file.to_str().expect("text");
        here.succeeds(&["export", "--with-secrets", "--format", format, "-o", file]);
        let mode = fs::metadata(file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let said = there.succeeds(&["import", "apps"]);
        assert!(
            said.ends_with("2 apps made, 0 replaced, 0 skipped, 0 just so already.\n"),
            "{said}"
        );
        assert_eq!(exported(&there), before, "{format}");
        let again = there.succeeds(&["import", "apps", "--on-clash", "replace"]);
        assert!(
            again.ends_with("0 apps made, 0 replaced, 0 skipped, 2 just so already.\n"),
            "{again}"
        );
    }
}

#[test]
fn an_export_without_secrets_has_none_and_is_refused_by_import() {
    let place = Place::new();
    furnish(&place);
    for format in ["json", "csv"] {
        let text = place.succeeds(&["export", "--format", format]);
        assert!(
            !text.contains("secret-1") && !text.contains("after") && !text.contains("old_secret"),
            "{text}"
        );
        place.write("apps", &text);
        let said = Place::new().fails(&["import", place.path("apps").to_str().expect("text")]);
        assert!(
            said.contains("2 mistakes") && said.contains("secret: is missing"),
            "{said}"
        );
        assert!(said.contains("--with-secrets"), "{said}");
    }
    let csv = place.succeeds(&["export", "--format", "csv"]);
    assert!(
        csv.starts_with("id,key,name,description,active,allowed_origins,"),
        "{csv}"
    );
    assert!(
        csv.contains("\"'=Shop, \"\"große\"\"\nKasse\",''-x,true,shop.test *.shop.test,off,7,"),
        "{csv}"
    );
}

#[test]
fn a_file_is_written_whole_or_not_at_all_and_a_link_stays_one() {
    let place = Place::new();
    place.write("before", "old");
    symlink("before", place.path("link")).expect("a link");
    place.succeeds(&["export", "-o", "link"]);
    assert_eq!(
        fs::read_to_string(place.path("before")).expect("a file"),
        "{\"apps\":[]}\n"
    );
    assert!(place.path("link").is_symlink());
    let said = place.fails(&["export", "-o", "nowhere/apps.json"]);
    assert!(said.contains("cannot write nowhere/apps.json"), "{said}");
    let said = place.fails(&["export", "-o", "/dev/null"]);
    assert!(said.contains("it is no file"), "{said}");
    assert_eq!(place.succeeds(&["export", "-o", "-"]), "{\"apps\":[]}\n");
    assert!(!place.path("data").exists(), "who only looks makes nothing");
}

#[test]
fn an_app_that_is_stored_wrongly_is_named_and_left_out() {
    let place = Place::new();
    furnish(&place);
    let database =
        rusqlite::Connection::open(place.path("data/reverb.sqlite3")).expect("a database");
    database
        .execute("UPDATE apps SET settings = '{\"x\":1}' WHERE id = '1'", [])
        .expect("changed");
    let output = place.run(&["export", "--with-secrets"], &[]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let apps: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (
            apps["apps"].as_array().map(Vec::len),
            &apps["apps"][0]["id"]
        ),
        (Some(1), &json!("2"))
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("1 app is left out") && said.contains("stored wrongly"),
        "{said}"
    );
    // It holds its id and its key all the same.
    place.write("apps.csv", "id,key,secret\n1,key-1,s\n3,key-3,s\n");
    let (code, said) = place.ends(&["import", "apps.csv", "--on-clash", "replace"]);
    assert_eq!(code, 4);
    assert!(
        said.contains("apps.csv:2: id: ") && said.contains("app delete removes it"),
        "{said}"
    );
}

#[test]
fn standard_input_is_a_source_and_the_output_of_app_show_another() {
    let (here, there) = (Place::new(), Place::new());
    furnish(&here);
    let one = here.succeeds(&["app", "show", "1", "--json"]);
    let mut process = there
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut input = process.stdin.take().expect("it is piped");
    input.write_all(one.as_bytes()).expect("it reads");
    drop(input);
    let output = process.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("standard input: JSON of reverb-server, 1 app\n"),
        "{said}"
    );
    assert_eq!(shown(&there, "1"), shown(&here, "1"));
}
