//! Tables, as people and spreadsheets write them, small and large.

use std::fmt::Write as _;
use std::time::Instant;

use super::{exported, shown};
use crate::place::Place;

#[test]
fn tables_of_people_are_read_as_spreadsheets_write_them() {
    let place = Place::new();
    place.write(
        "pusher.csv",
        "\u{feff}Name;App_ID;Key;Secret;Cluster;Max_Connections;Event_Bytes\r\nDer Laden;1001;key-1;s-1;eu;;20000\r\n;;;;;;\r\n\
         \"Zwei;\r\nZeilen\";1002;key-2;s-2;mt1;none;\r\n",
    );
    let said = place.succeeds(&["import", "pusher.csv"]);
    assert!(said.starts_with("pusher.csv: CSV, 2 apps\n"), "{said}");
    assert!(
        said.contains("  1001, 1002: Cluster has no counterpart"),
        "{said}"
    );
    assert_eq!(shown(&place, "1002")["name"], "Zwei;\r\nZeilen");
    assert_eq!(shown(&place, "1001")["limits"]["event_bytes"], 20_000);
}

#[test]
fn an_import_is_in_force_while_the_server_runs() {
    let place = Place::new();
    let server = place.start(&[]);
    place.write("apps.csv", "id;key;secret\n7;key-7;s-7\n");
    place.succeeds(&["import", "apps.csv"]);
    server.knock("key-7").hears("connection_established");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is printed")]
fn ten_thousand_apps_are_imported_and_exported() {
    let place = Place::new();
    let mut csv = "id,key,secret,name\n".to_owned();
    for n in 0..10_000 {
        let _ = writeln!(csv, "{n},key-{n},secret-{n},App {n}");
    }
    place.write("apps.csv", &csv);
    let begin = Instant::now();
    let said = place.succeeds(&["import", "apps.csv"]);
    let imported = begin.elapsed();
    assert!(
        said.ends_with("10000 apps made, 0 replaced, 0 skipped, 0 just so already.\n"),
        "{said}"
    );
    let text = exported(&place);
    assert_eq!(text.lines().count(), 10_002);
    println!(
        "10,000 apps: imported in {imported:?}, exported in {:?}",
        begin.elapsed() - imported
    );
}
