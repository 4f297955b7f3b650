//! The database in the data folder: its making, its key, and what may be wrong with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::config::SHOP;
use crate::place::{Place, Server};

#[test]
fn the_first_start_makes_an_app_and_later_ones_find_it() {
    let place = Place::new();
    let first = place.start(&[]);
    let secret = first.line("REVERB_APP_SECRET=").to_owned();
    let id = first.line("REVERB_APP_ID=").to_owned();
    let port = first.line("REVERB_PORT=").to_owned();
    assert!(first.said.contains(&format!("http://127.0.0.1:{port}\n")));
    assert_eq!((id.len(), secret.len()), (6, 32));
    drop(first);

    let mode = |name| {
        let data = fs::metadata(place.path(name)).expect("it is there");
        data.permissions().mode() & 0o777
    };
    let modes = ["data", "data/reverb.sqlite3", "data/secrets.key"].map(mode);
    assert_eq!(modes, [0o700, 0o600, 0o600]);

    let second = place.start(&[]);
    assert!(
        second
            .said
            .contains("  apps           1 in data/reverb.sqlite3\n"),
        "{}",
        second.said
    );
    assert!(!second.said.contains(&secret));
    drop(second);
    assert!(
        place
            .succeeds(&["app", "list"])
            .contains(&format!("\n{id}  "))
    );
    let shown = place.succeeds(&["app", "show", &id]);
    assert!(shown.contains(&format!("REVERB_APP_SECRET={secret}\n")) && shown.contains("curl -H"));
    let (code, said) = place.ends(&["app", "show", "7"]);
    assert_eq!(code, 3);
    assert_eq!(
        said,
        format!("reverb-server: there is no app \"7\"; there is {id}\n")
    );
}

#[test]
fn of_servers_that_start_together_one_makes_the_app() {
    let place = Place::new();
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| place.start(&[]))).collect();
        starts
            .into_iter()
            .map(|start| start.join().expect("it starts"))
            .collect()
    });
    let apps = place.json(&["app", "list", "--json"]);
    let apps = apps.as_array().expect("a list");
    assert_eq!(apps.len(), 1, "{apps:?}");
    let has_made = |server: &&Server| server.said.contains("There was no app");
    assert_eq!(servers.iter().filter(has_made).count(), 1);
    let key = apps[0]["key"].as_str().expect("text");
    for server in &servers {
        server.knock(key).hears("connection_established");
    }
}

#[test]
fn who_configures_apps_and_names_no_folder_finds_none() {
    let place = Place::new();
    place.write("reverb.toml", SHOP);
    let server = place.start(&["--config", "reverb.toml"]);
    assert!(
        server
            .said
            .contains("  apps           1001 from reverb.toml:1\n"),
        "{}",
        server.said
    );
    drop(server);
    assert!(!place.path("data").exists());
    let server = place.start(&["--config", "reverb.toml", "--data-dir", "here"]);
    let apps = "1001 from reverb.toml:1, 0 in here/reverb.sqlite3\n";
    assert!(server.said.contains(apps), "{}", server.said);
    assert!(place.path("here/reverb.sqlite3").exists());
}

#[test]
fn a_clash_with_the_file_is_named_at_the_start() {
    let place = Place::new();
    place.succeeds(&[
        "app", "create", "--id", "1001", "--key", "other", "--name", "hidden",
    ]);
    place.succeeds(&["app", "create", "--id", "2", "--key", "app-key"]);
    place.write("reverb.toml", SHOP);
    let server = place.start(&["--config", "reverb.toml"]);
    server.knock("other").hears("4001");
    server.knock("app-key").hears("connection_established");
    let said = server.log();
    for clash in [
        "the id \"1001\" of the app 1001",
        "the key \"app-key\" of the app 2",
    ] {
        assert!(said.contains(clash), "{said}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused_with_the_remedy() {
    let place = Place::new();
    place.write("file", "");
    let said = place.fails(&["--port", "0", "--data-dir", "file/data"]);
    let expected = "reverb-server: cannot keep apps in file/data/reverb.sqlite3: let this user write there, \
                    choose another folder with --data-dir";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let place = Place::new();
    place.succeeds(&["app", "create"]);
    let file = place.path("data/secrets.key");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("our file");
    let said = place.run(&["check-config"], &[]).stderr;
    let expected = "warning: data/secrets.key opens all secrets, but others can read it (mode 640): \
                    chmod 600 data/secrets.key\n";
    assert_eq!(String::from_utf8_lossy(&said), expected);
}

#[test]
fn without_its_key_a_database_is_not_served_and_no_new_key_is_made() {
    let place = Place::new();
    place.succeeds(&["app", "create", "--id", "1", "--key", "key-1"]);
    let kept = fs::read_to_string(place.path("data/secrets.key")).expect("the key");
    fs::remove_file(place.path("data/secrets.key")).expect("our file");
    for command in [["serve"].as_slice(), &["app", "list"], &["app", "create"]] {
        let said = place.fails(&[command, &["--port", "0"]].concat());
        assert!(
            said.contains("put data/secrets.key back from a backup"),
            "{said}"
        );
    }
    assert!(!place.path("data/secrets.key").exists());

    // Another key: nothing can be read, so that nothing is served.
    let other = Place::new();
    other.succeeds(&["app", "create"]);
    fs::copy(
        other.path("data/secrets.key"),
        place.path("data/secrets.key"),
    )
    .expect("copied");
    let said = place.fails(&["--port", "0"]);
    assert!(
        said.contains("none of the apps in data/reverb.sqlite3 can be read"),
        "{said}"
    );
    assert!(said.contains("was sealed with the key"), "{said}");
    assert!(place.succeeds(&["app", "list"]).contains("unreadable"));

    // Once one can be read, only the others are off, and named.
    place.succeeds(&["app", "create", "--id", "2", "--key", "key-2"]);
    let server = place.start(&[]);
    server.knock("key-2").hears("connection_established");
    server.knock("key-1").hears("4003");
    server.logs("an app is off until it is stored rightly");
    drop(server);

    // The environment says it as well, both keys if need be.
    let new = fs::read_to_string(place.path("data/secrets.key")).expect("the key");
    let key = |text: &str| text.lines().last().map(str::to_owned).expect("a key");
    let both = format!("{},{}", key(&new), key(&kept));
    fs::remove_file(place.path("data/secrets.key")).expect("our file");
    let listed = place.run(
        &["app", "list"],
        &[("REVERB_ENCRYPTION_KEY", both.as_str())],
    );
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.lines().count() == 3 && !listed.contains("unreadable"),
        "{listed}"
    );
    let shown = place.run(
        &["check-config"],
        &[("REVERB_ENCRYPTION_KEY", both.as_str())],
    );
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("# encryption key: ") && !shown.contains("base64:"),
        "{shown}"
    );
    let refused = place.run(&["check-config"], &[("REVERB_ENCRYPTION_KEY", "s3cret")]);
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.contains("REVERB_ENCRYPTION_KEY: key 1 is none") && !refused.contains("s3cret")
    );
}

#[test]
fn the_app_of_an_earlier_version_does_not_give_way_to_a_new_one() {
    let place = Place::new();
    fs::create_dir(place.path("data")).expect("a folder");
    place.write("data/apps.toml", SHOP);
    for command in [
        ["serve", "--port", "0"].as_slice(),
        &["app", "list"],
        &["app", "create"],
    ] {
        let said = place.fails(command);
        assert!(
            said.contains("start with --config data/apps.toml"),
            "{said}"
        );
    }
    let server = place.start(&["--config", "data/apps.toml"]);
    server.knock("app-key").hears("connection_established");
}

#[test]
fn what_a_database_needs_is_told_and_done() {
    let place = Place::new();
    let checked = place.run(&["migrate", "--check"], &[]);
    assert_eq!(checked.status.code(), Some(5));
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(told.starts_with("To do: 001_apps"), "{told}");
    assert!(!place.path("data").exists());
    let done = place.succeeds(&["migrate"]);
    assert!(done.starts_with("Brought up to date: 001_apps"), "{done}");
    assert_eq!(
        place.succeeds(&["migrate", "--check"]),
        "The tables are up to date.\n"
    );

    // A new key in front of the old one: what was sealed with that is written anew.
    place.succeeds(&["app", "create", "--id", "1", "--secret", "secret"]);
    let (old, new) = (place.path("data/secrets.key"), Place::new());
    new.succeeds(&["app", "create"]);
    let keys = [new.path("data/secrets.key"), old.clone()]
        .map(|path| fs::read_to_string(path).expect("a key"));
    fs::write(&old, keys.concat()).expect("written");
    let told = place.succeeds(&["migrate", "--check"]);
    assert!(told.contains("The secrets of 1 apps are plain"), "{told}");
    assert!(
        place
            .succeeds(&["migrate", "--seal-secrets"])
            .contains("Secrets written anew: 1.\n")
    );
    fs::write(&old, &keys[0]).expect("written");
    assert_eq!(
        place.json(&["app", "show", "1", "--json"])["secret"],
        "secret"
    );
}
