//! Apps whose id or key another has already.

use serde_json::json;

use super::{exported, shown};
use crate::place::Place;

#[test]
fn clashes_are_named_and_end_as_was_said() {
    let place = Place::new();
    place.succeeds(&[
        "app", "create", "--id", "1", "--key", "key-1", "--secret", "before",
    ]);
    place.succeeds(&["app", "create", "--id", "2", "--key", "key-2"]);
    place.write(
        "apps.csv",
        "id,key,secret\n1,key-1,after\n3,key-2,s-3\n4,key-4,s-4\n",
    );
    let before = exported(&place);
    let (code, said) = place.ends(&["import", "apps.csv"]);
    assert_eq!(code, 4);
    assert!(said.contains("nothing is imported: 2 clashes"), "{said}");
    assert!(
        said.contains("apps.csv:2: id: there is an app \"1\" already; --on-clash skip"),
        "{said}"
    );
    assert!(
        said.contains("apps.csv:3: key: \"key-2\" is the key of the app \"2\" already"),
        "{said}"
    );
    // An app of another id is none that this one replaces.
    let (code, said) = place.ends(&["import", "apps.csv", "--on-clash", "replace"]);
    assert_eq!(code, 4);
    assert!(said.contains("1 clash\n"), "{said}");
    assert_eq!(exported(&place), before);

    let args = ["import", "apps.csv", "--on-clash", "skip", "--dry-run"];
    let said = place.succeeds(&args);
    assert!(
        said.contains("skip 1: there is an app \"1\" already\nskip 3: ")
            && said.contains("make 4\n"),
        "{said}"
    );
    assert!(
        said.ends_with("It would be: 1 app made, 0 replaced, 2 skipped, 0 just so already.\n"),
        "{said}"
    );
    assert_eq!(exported(&place), before);
    place.succeeds(&args[..4]);
    assert_eq!(shown(&place, "1")["secret"], "before");
    assert_eq!(shown(&place, "4")["secret"], "s-4");
    place.write("one.csv", "id,key,secret\n1,key-9,after\n");
    place.succeeds(&["import", "one.csv", "--on-clash", "replace"]);
    let app = shown(&place, "1");
    assert_eq!(
        (&app["key"], &app["secret"]),
        (&json!("key-9"), &json!("after"))
    );
}
