//! What is refused, and in which words.

use super::shown;
use crate::place::Place;

#[test]
fn all_mistakes_are_told_at_once_with_their_places_and_nothing_is_written() {
    let place = Place::new();
    place.write(
        "bad.csv",
        "id,key,secret,max_conections,active,event_bytes,webhooks\n1,key-1,s-1,5,,,\n2,key/2,s-2,,s3cret,0,\n1,key-4,s-4,,,,ftp://s3cret\n",
    );
    place.write(
        "bad.json",
        "{\"apps\":[\n{\"id\":\"5\",\"key\":\"key-5\",\"secret\":\"s-5\",\n \"client_events\":\"s3cret\",\"limits\":{\"event_bites\":1}},\n\
         {\"id\":\"6\",\"secret\":\"s-6\",\"allowed_origins\":[\"https://\"]},\n7,\n{\"id\":\"8\",\"unreadable\":\"why\"}]}",
    );
    place.write("broken.json", "{\"apps\":[\n{\"id\":\"s3cret\",}]}");
    place.write("twin.csv", "id,key,secret\n9,key-9,s\n10,key-9,s\n");
    let said = place.fails(&[
        "import",
        "bad.csv",
        "bad.json",
        "broken.json",
        "twin.csv",
        "missing",
    ]);
    for told in [
        "bad.csv:2: max_conections: is unknown; did you mean max_connections?",
        "bad.csv:3: key: must not contain '/'",
        "bad.csv:3: active: must be true or false",
        "bad.csv:3: event_bytes: event_bytes must be at least 1",
        "bad.csv:4: webhooks: must be URL=EVENTS",
        "bad.json:3: apps[0].client_events: must be \"off\", \"members\" or \"all\"",
        "bad.json:3: apps[0].limits: event_bites: there is no limit \"event_bites\"; did you mean event_bytes?",
        "bad.json:4: apps[1].key: is missing",
        "bad.json:4: apps[1].allowed_origins: must be a list of hosts",
        "bad.json:5: apps[2]: must be an object",
        "bad.json:6: apps[3].unreadable: it was stored wrongly",
        "broken.json:2:16: not valid JSON: ",
        "twin.csv:3: key: \"key-9\" is that of the app at twin.csv:2 too",
        "missing: cannot be read: No such file",
    ] {
        assert!(said.contains(told), "{told} in:\n{said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
    assert!(!place.path("data").exists(), "nothing is made");
    place.write(
        "short.csv",
        "id,key,secret\n1,key-1\n2,key-2,s-2\n3,key-3,s-3,s3cret\n",
    );
    let said = place.fails(&["import", "short.csv"]);
    assert!(
        said.contains("short.csv:2: has 2 cells where the header has 3"),
        "{said}"
    );
    assert!(
        said.contains("short.csv:4: has 4 cells") && !said.contains("s3cret"),
        "{said}"
    );
}

#[test]
fn what_is_of_no_kind_is_refused_with_the_kinds() {
    let place = Place::new();
    place.write("plain", "hello\n");
    place.write("both", "REVERB_APP_ID=1\nSOKETI_DEFAULT_APP_ID=1\n");
    place.write(
        "bare.json",
        "{\"apps\":[{\"id\":\"1\",\"key\":\"key-1\",\"secret\":\"s-1\"}]}",
    );
    let said = place.fails(&["import", "plain"]);
    for kind in [
        "REVERB_APP_ID",
        "config('reverb')",
        "SOKETI_DEFAULT_APP_ID",
        "mysql://",
        "CSV",
        "export",
    ] {
        assert!(said.contains(kind), "{kind} in {said}");
    }
    assert!(
        place
            .fails(&["import", "both"])
            .contains("say --from reverb or --from soketi")
    );
    assert!(
        place
            .fails(&["import", "bare.json"])
            .contains("say --from json or --from soketi")
    );
    assert!(
        place
            .fails(&["import", "bare.json", "--from", "csv"])
            .contains("is no CSV, but JSON")
    );
    assert!(
        place
            .fails(&["import", "plain", "--from", "csv"])
            .contains("the first line must name the columns")
    );
    assert!(
        place
            .fails(&["import", "plain", "--from", "json"])
            .contains("is no JSON")
    );
    assert_eq!(place.ends(&["import"]).0, 2);
    assert_eq!(place.ends(&["import", "plain", "--from", "xml"]).0, 2);
    place.succeeds(&["import", "bare.json", "--from", "soketi"]);
    assert_eq!(shown(&place, "1")["client_events"], "off");
    let said = place.succeeds(&[
        "import",
        "bare.json",
        "--from",
        "json",
        "--on-clash",
        "replace",
    ]);
    assert!(
        said.contains("replace 1\n") && said.contains("1 replaced"),
        "{said}"
    );
    assert_eq!(shown(&place, "1")["client_events"], "members");
}
