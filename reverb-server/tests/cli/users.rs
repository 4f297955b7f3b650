//! `user`: who may log in to the panel.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use mysql_async::prelude::Queryable;
use reverb_server::password;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::mariadb;
use crate::place::Place;

/// A place where passwords are hashed fast.
fn place() -> Place {
    let place = Place::new();
    place.write(".env", "BCRYPT_ROUNDS=4\n");
    place
}

fn create<'a>(name: &'a str, email: &'a str) -> [&'a str; 8] {
    [
        "user",
        "create",
        "--name",
        name,
        "--email",
        email,
        "--password",
        "password 1",
    ]
}

/// The exit code and what it says on both sides, when this is its standard input.
fn told(place: &Place, args: &[&str], input: &str) -> (i32, String) {
    let mut command = place.command(args);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().expect("the binary runs");
    let mut stdin = process.stdin.take().expect("it is piped");
    // It may not want to hear anything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = process.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let code = output.status.code().expect("it ends by itself");
    (code, String::from_utf8(said).expect("text"))
}

fn audit(place: &Place) -> Vec<(String, String, String, Value)> {
    let connection = Connection::open(place.path("data/reverb.sqlite3")).expect("it opens");
    let sql = "SELECT actor, action, subject, details FROM panel_audit ORDER BY id";
    let mut entries = connection.prepare(sql).expect("a table");
    let entries = entries.query_map((), |row| {
        let details: String = row.get(3)?;
        let details = serde_json::from_str(&details).expect("JSON");
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, details))
    });
    entries
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("texts")
}

#[test]
fn a_user_is_made_listed_changed_and_deleted() {
    let place = place();
    assert_eq!(
        place.succeeds(&["user", "list"]),
        "no user yet: user create makes one\n"
    );
    assert_eq!(place.json(&["user", "list", "--json"]), json!([]));
    assert!(!place.path("data").exists());
    let said = place.succeeds(&create("Ada", "Ada@example.com"));
    assert_eq!(said, "The user Ada@example.com is made.\n");
    let made = place.json(
        &[
            &create("Bob", "bob@example.com")[..],
            &["--inactive", "--verified", "--json"],
        ]
        .concat(),
    );
    assert_eq!(
        (&made["name"], &made["active"]),
        (&json!("Bob"), &json!(false))
    );
    assert_eq!(made["verified_at"], made["created"]);
    let listed = place.json(&["user", "list", "--json"]);
    assert_eq!(listed[1], made);
    let keys: Vec<_> = listed[0].as_object().expect("a user").keys().collect();
    assert_eq!(
        keys,
        ["active", "created", "email", "id", "name", "updated"]
    );

    let update = [
        "user",
        "update",
        "ADA@example.com",
        "--email",
        "ada@example.com",
        "--verified",
    ];
    assert_eq!(
        place.succeeds(&update),
        "The user ada@example.com is changed.\n"
    );
    place.succeeds(&[
        "user",
        "update",
        "bob@example.com",
        "--name",
        "Böb",
        "--unverified",
    ]);
    let table = place.succeeds(&["user", "list"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(
        lines[0].starts_with("EMAIL") && lines[0].ends_with("NAME"),
        "{table}"
    );
    assert!(
        lines[1].starts_with("ada@example.com  active    20") && lines[1].ends_with("  Ada"),
        "{table}"
    );
    assert!(
        lines[2].starts_with("bob@example.com  inactive   ") && lines[2].ends_with("  Böb"),
        "{table}"
    );

    assert_eq!(
        place.succeeds(&["user", "activate", "bob@example.com"]),
        "The user bob@example.com is active.\n"
    );
    assert_eq!(
        place.succeeds(&["user", "deactivate", "ada@example.com"]),
        "The user ada@example.com is inactive.\n"
    );
    assert_eq!(
        place.succeeds(&["user", "delete", "ada@example.com", "--yes"]),
        "The user ada@example.com is deleted.\n"
    );
    let noted = audit(&place);
    let actions: Vec<_> = noted
        .iter()
        .map(|(_, action, ..)| action.as_str())
        .collect();
    let expected = [
        "create",
        "create",
        "update",
        "update",
        "activate",
        "deactivate",
        "delete",
    ];
    assert_eq!(actions, expected.map(|action| format!("user.{action}")));
    assert!(noted.iter().all(|(actor, ..)| actor == "command line"));
    assert_eq!(noted[2].2, "Ada@example.com");
    assert_eq!(noted[2].3["email"], "ada@example.com");
    let all = format!("{noted:?}");
    assert!(
        !all.contains("password 1") && !all.contains("$2y$"),
        "{all}"
    );
}

#[test]
fn its_help_has_80_columns() {
    let place = Place::new();
    let commands = [
        "create",
        "update",
        "password",
        "activate",
        "deactivate",
        "delete",
        "verify",
        "list",
    ];
    for args in commands.map(|command| ["user", command, "--help"]) {
        let help = place.succeeds(&args);
        assert_eq!(help.lines().find(|line| line.len() > 80), None);
        // A password on the command line is no secret.
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            words.contains("--password <TEXT>"),
            words.contains("others on this machine can see it"),
            "{help}"
        );
    }
    let help = place.succeeds(&["user", "--help"]);
    assert_eq!(help.lines().find(|line| line.len() > 80), None);
}

#[test]
fn each_refusal_has_its_sentence_and_its_exit_code() {
    let place = place();
    place.succeeds(&create("Ada", "ada@example.com"));
    let long = "x".repeat(256);
    let ends = |args: &[&str], code, sentence: &str| {
        let (ended, said) = told(&place, args, "");
        assert_eq!(ended, code, "{args:?} {said}");
        assert!(said.contains(sentence), "{args:?} {said}");
    };
    ends(
        &create("Ada", "ADA@example.com"),
        4,
        "the e-mail address \"ADA@example.com\" is taken",
    );
    ends(&create("", "bob@example.com"), 2, "the name is empty");
    ends(
        &create(&long, "bob@example.com"),
        2,
        "the name has more than 255 characters",
    );
    ends(
        &create("Bob", "bob"),
        2,
        "the e-mail address \"bob\" is none",
    );
    ends(&create("Bob", "böb@example.com"), 2, "is not in ASCII");
    ends(&["user", "update", "ada@example.com"], 2, "required");
    ends(
        &[
            "user",
            "update",
            "ada@example.com",
            "--verified",
            "--unverified",
        ],
        2,
        "cannot be used with",
    );
    ends(
        &["user", "update", "ada@example.com", "--name", " "],
        2,
        "the name is empty",
    );
    for command in ["activate", "deactivate", "delete", "password", "verify"] {
        ends(
            &["user", command, "bob@example.com"],
            3,
            "there is no user with the e-mail address \"bob@example.com\"",
        );
    }
    let last = "ada@example.com is the last active user";
    ends(&["user", "deactivate", "ada@example.com"], 4, last);
    ends(&["user", "delete", "ada@example.com", "--yes"], 4, last);
    ends(
        &["user", "delete", "ada@example.com"],
        4,
        "nobody has confirmed it for the user ada@example.com",
    );
    assert_eq!(audit(&place).len(), 1);
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    let place = place();
    place.succeeds(&create("Ada", "ada@example.com"));
    place.succeeds(&create("Bob", "bob@example.com"));
    let before = place.json(&["user", "list", "--json"]);
    let connection = Connection::open(place.path("data/reverb.sqlite3")).expect("it opens");
    let trigger =
        "CREATE TRIGGER no BEFORE INSERT ON panel_audit BEGIN SELECT RAISE(ABORT, 'no'); END";
    connection.execute_batch(trigger).expect("made");
    for args in [
        &create("Eve", "eve@example.com")[..],
        &["user", "update", "bob@example.com", "--name", "Böb"],
        &[
            "user",
            "password",
            "bob@example.com",
            "--password",
            "password 2",
        ],
        &["user", "deactivate", "bob@example.com"],
        &["user", "delete", "bob@example.com", "--yes"],
    ] {
        assert_eq!(told(&place, args, "").0, 1, "{args:?}");
    }
    assert_eq!(place.json(&["user", "list", "--json"]), before);
    assert_eq!(audit(&place).len(), 2);
}

#[test]
fn a_password_is_a_line_of_standard_input() {
    let place = place();
    let line = &create("Ada", "ada@example.com")[..6];
    for (input, sentence) in [
        ("", "fewer than 8 characters"),
        ("short\n", "fewer than 8 characters"),
        ("123456\u{fc}\n", "fewer than 8 characters"),
        ("nul in\0side\n", "NUL"),
    ] {
        let (code, said) = told(&place, line, input);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(sentence), "{said}");
    }
    let (code, said) = told(&place, line, " right, it is \r\nnothing to do with it\n");
    assert_eq!(code, 0, "{said}");
    let verify = |input: &str| told(&place, &["user", "verify", "ada@example.com"], input);
    assert_eq!(
        verify(" right, it is "),
        (0, "The password of ada@example.com is right.\n".to_owned())
    );
    for wrong in ["right, it is\n", " right, it is \0\n", "\n", ""] {
        assert_eq!(verify(wrong).0, 4, "{wrong:?}");
    }
    let change = ["user", "password", "ada@example.com"];
    let (code, said) = told(&place, &change, "another one\n");
    assert_eq!(
        (code, said.contains("sessions have ended")),
        (0, true),
        "{said}"
    );
    assert_eq!(
        (verify("another one\n").0, verify(" right, it is ").0),
        (0, 4)
    );
    place.succeeds(&[&change[..], &["--password", "the third one"]].concat());
    assert_eq!(verify("the third one\n").0, 0);
    let told = place
        .run(&["check-config"], &[("BCRYPT_ROUNDS", "32")])
        .stderr;
    let told = String::from_utf8_lossy(&told);
    assert!(
        told.contains("BCRYPT_ROUNDS: must be a whole number from 4 to 31"),
        "{told}"
    );
}

/// Somebody at a terminal, whom `script` plays.
#[test]
fn at_a_terminal_a_password_is_typed_twice_and_not_shown() {
    let place = place();
    place.succeeds(&create("Ada", "ada@example.com"));
    let line = format!(
        "'{}' user password ada@example.com",
        env!("CARGO_BIN_EXE_reverb-server")
    );
    let at_terminal = |once: &str, more: &str| {
        let mut script = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(place.path("."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is there");
        let mut keyboard = script.stdin.take().expect("it is piped");
        let mut screen = script.stdout.take().expect("it is piped");
        let mut shown = Vec::new();
        for (prompt, typed) in [("Password: ", once), ("Once more: ", more)] {
            while !shown.ends_with(prompt.as_bytes()) {
                let mut byte = [0];
                screen.read_exact(&mut byte).expect("it goes on");
                shown.push(byte[0]);
            }
            writeln!(keyboard, "{typed}").expect("typed");
        }
        screen.read_to_end(&mut shown).expect("it ends");
        let code = script.wait().expect("it ends").code();
        (code, String::from_utf8_lossy(&shown).into_owned())
    };
    let (code, shown) = at_terminal("a new secret", "a new secret");
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(
        told(
            &place,
            &["user", "verify", "ada@example.com"],
            "a new secret"
        )
        .0,
        0
    );
    let (code, shown) = at_terminal("one secret", "another secret");
    assert_eq!(
        (code, shown.contains("typed in two ways")),
        (Some(2), true),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_database_of_the_php_product_they_are_its_users() {
    let url = mariadb::database().await;
    let mut conn = mariadb::connect(&url).await;
    for statement in [
        crate::mysql::TABLE,
        "CREATE TABLE users (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL,
             email VARCHAR(255) NOT NULL UNIQUE, email_verified_at TIMESTAMP NULL, active TINYINT(1) NOT NULL DEFAULT 1,
             password VARCHAR(255) NOT NULL, remember_token VARCHAR(100) NULL, created_at TIMESTAMP NULL,
             updated_at TIMESTAMP NULL) COLLATE utf8mb4_unicode_ci",
        "INSERT INTO users (name, email, password, active) VALUES
             ('Ada', 'ada@example.com', '$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi', 0)",
    ] {
        conn.query_drop(statement).await.expect("done");
    }
    let place = place();
    let with = |args: &[&'static str]| [args, &["--database-url"]].concat();
    let asked = |args: &[&'static str], input: &str| {
        let mut args = with(args);
        args.push(&url);
        told(&place, &args, input)
    };
    // Another version may be at work with it: only a start, or who makes something, changes tables.
    let (code, said) = asked(&["user", "list"], "");
    assert_eq!(
        (code, said.contains("001_panel is to do")),
        (1, true),
        "{said}"
    );
    assert_eq!(asked(&["migrate"], "").0, 0);
    let (code, said) = asked(&["user", "list"], "");
    assert!(
        code == 0 && said.contains("ada@example.com  inactive"),
        "{said}"
    );
    let right = "The password of ada@example.com is right, but the user is inactive.\n";
    assert_eq!(
        asked(&["user", "verify", "ADA@example.com"], "password")
            .1
            .to_lowercase(),
        right.to_lowercase()
    );
    let (code, said) = asked(
        &[
            "user",
            "create",
            "--name",
            "Bob",
            "--email",
            "bob@example.com",
        ],
        "password 1\n",
    );
    assert_eq!(code, 0, "{said}");
    let stored: Option<(String, bool)> = conn
        .query_first("SELECT password, active FROM users WHERE email = 'bob@example.com'")
        .await
        .expect("a row");
    let (stored, active) = stored.expect("a row");
    assert!(active && stored.starts_with("$2y$04$") && password::fits("password 1", &stored));
    let noted: Option<u64> = conn
        .query_first("SELECT COUNT(*) FROM rp_panel_audit WHERE action = 'user.create'")
        .await
        .expect("a number");
    assert_eq!(noted, Some(1));
    // Its own panel may have taken the last one away: there is a way back.
    let off = "UPDATE users SET active = 0";
    conn.query_drop(off).await.expect("changed");
    assert_eq!(asked(&["user", "activate", "bob@example.com"], "").0, 0);
    let active = "SELECT COUNT(*) FROM users WHERE active = 1";
    let active: Option<u64> = conn.query_first(active).await.expect("a number");
    assert_eq!(active, Some(1));
    // Whose they are stays as it was decided; a server says that it looks otherwise now.
    let convert = "ALTER TABLE reverb_apps CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    conn.query_drop(convert).await.expect("converted");
    let (code, said) = asked(&["user", "list"], "");
    let remedy = "UPDATE rp_panel_guard SET users_table = 'rp_panel_users'";
    assert!(code == 0 && said.contains("bob@example.com"), "{said}");
    let server = place.start(&["--database-url", &url]);
    server.logs(remedy);
    assert_eq!(server.log().matches(remedy).count(), 1);
    drop(server);
    conn.query_drop("DROP TABLE users").await.expect("dropped");
    let (code, said) = asked(&["user", "list"], "");
    assert!(code == 1 && said.contains(remedy), "{said}");
}
