//! What the binary is told, and what it says of that.

use std::fs;
use std::net::TcpListener;

use crate::place::Place;

#[test]
fn help_shows_commands_defaults_examples_and_variables_in_80_columns() {
    let place = Place::new();
    let help = place.succeeds(&["--help"]);
    for word in [
        "check-config",
        "[default: 127.0.0.1]",
        "REVERB_SERVER_PORT",
        "reverb-server app show",
    ] {
        assert!(help.contains(word), "{word}");
    }
    assert_eq!(help.lines().find(|line| line.len() > 80), None);
    let version = format!("reverb-server {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(place.succeeds(&["--version"]), version);
}

#[test]
fn without_anything_the_defaults_are_in_force_and_nothing_is_made() {
    let place = Place::new();
    let shown = place.succeeds(&["check-config"]);
    let lines: Vec<&str> = shown.lines().skip(1).take(6).collect();
    let expected = [
        (r#"host = "127.0.0.1""#, "default"),
        ("port = 8080", "default"),
        (r#"path = """#, "default"),
        ("activity_timeout = 30", "default"),
        ("trusted_proxies = []", "default"),
        ("defer_accept = 5", "default"),
    ];
    assert_eq!(
        lines,
        expected.map(|(line, from)| format!("{line:<40} # {from}"))
    );
    assert!(!place.path("data").exists());
}

#[test]
fn flags_win_over_environment_over_dotenv_over_file_and_each_origin_is_shown() {
    let place = Place::new();
    place.write(
        "reverb.toml",
        &format!("host = \"0.0.0.0\"\nport = 1\npath = \"x/\"\nactivity_timeout = 60\n{SHOP}"),
    );
    place.write(
        ".env",
        "REVERB_SERVER_HOST=127.0.0.3\nREVERB_SERVER_PORT=2\nREVERB_CONFIG=reverb.toml\n",
    );
    let shown = |args: &[&str], env: &[(&str, &str)]| {
        let output = place.run(&[&["check-config"], args].concat(), env);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        move |line: &str, from: &str| {
            assert!(
                text.contains(&format!("{line:<40} # {from}\n")),
                "{line} from {from} in:\n{text}"
            );
        }
    };
    let check = shown(&[], &[]);
    check("host = \"127.0.0.3\"", ".env:1");
    check("port = 2", ".env:2");
    check("path = \"/x\"", "reverb.toml:3");
    check("activity_timeout = 60", "reverb.toml:4");
    check("[[apps]]", "reverb.toml:5");
    let check = shown(
        &[],
        &[
            ("REVERB_SERVER_PORT", "3"),
            ("REVERB_SERVER_PATH", "/y"),
            ("REVERB_SERVER_HOST", ""),
        ],
    );
    check("port = 3", "REVERB_SERVER_PORT");
    check("path = \"/y\"", "REVERB_SERVER_PATH");
    check("host = \"127.0.0.3\"", ".env:1");
    let check = shown(
        &["--port", "4", "--host", "::1"],
        &[("REVERB_SERVER_PORT", "3")],
    );
    check("port = 4", "--port");
    check("host = \"::1\"", "--host");
    place.write("other.env", "REVERB_SERVER_PORT=5\n");
    shown(&["--env-file", "other.env"], &[])("port = 5", "other.env:1");
}

#[test]
fn a_good_file_is_shown_with_defaults_and_without_secrets() {
    let place = Place::new();
    place.write("reverb.toml", SHOP);
    let shown = place.succeeds(&["check-config", "--config", "reverb.toml"]);
    for line in [
        "secret = \"***\"",
        "allowed_origins = [\"*.shop.test\"]",
        "client_events = \"all\"",
        "max_connections = 400",
        "watchlist = true",
        "event_bytes = 20000",
        "batch_size = 10",
    ] {
        assert!(
            shown.contains(&format!("\n{line}\n")),
            "{line} in:\n{shown}"
        );
    }
    assert!(!shown.contains("app-secret"));
    let output = place.run(
        &["check-config"],
        &[
            ("REVERB_APP_ID", "1"),
            ("REVERB_APP_KEY", "k"),
            ("REVERB_APP_SECRET", "from-env"),
        ],
    );
    assert!(output.status.success() && !format!("{output:?}").contains("from-env"));
}

#[test]
fn the_environment_of_a_laravel_application_defines_an_app_and_what_has_no_effect_is_said() {
    let place = Place::new();
    place.write(
        ".env",
        "APP_NAME=\"My Shop\"\nAPP_KEY=base64:x+y/z==\nDB_PASSWORD=pa$$ word\n\nREVERB_APP_ID=123456\n\
         REVERB_APP_KEY=\"the-key\"\nREVERB_APP_SECRET='the-secret'\nREVERB_HOST=\"ws.${DOMAIN}\"\nDOMAIN=later.test\n\
         REVERB_PORT=443\nREVERB_SCHEME=https\nREVERB_SCALING_ENABLED=false\n\
         REVERB_APP_MAX_CONNECTIONS=7\nREVERB_APP_ACTIVITY_TIMEOUT=45\nREVERB_APP_ACCEPT_CLIENT_EVENTS_FROM=none\n\
         REVERB_APP_ALLOWED_ORIGINS=shop.test, *.shop.test\nREVERB_APP_SECRETS=x\n\
         VITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"\n",
    );
    // The blank in the list of origins needs quotes, as it does in Laravel.
    assert!(
        place
            .fails(&["check-config"])
            .starts_with("reverb-server: .env:16: REVERB_APP_ALLOWED_ORIGINS: cannot be read")
    );
    let text = fs::read_to_string(place.path(".env")).expect("our file");
    let text = text.replace("shop.test, *.shop.test", "\"shop.test, *.shop.test\"");
    place.write(
        ".env",
        &text
            .replace("DOMAIN=later.test\n", "")
            .replace("APP_NAME", "DOMAIN=shop.test\nAPP_NAME"),
    );

    let output = place.run(&["check-config"], &[]);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "warning: REVERB_APP_SECRETS is unknown and has no effect; did you mean REVERB_APP_SECRET?\n\
         warning: REVERB_SCALING_ENABLED is known from Laravel Reverb, has no effect here\n"
    );
    let shown = String::from_utf8_lossy(&output.stdout);
    for line in [
        "key = \"the-key\"",
        "max_connections = 7",
        "# activity_timeout: 45 (of this app)",
        "client_events = \"off\"",
        "allowed_origins = [\"shop.test\", \"*.shop.test\"]",
    ] {
        assert!(
            shown.contains(&format!("\n{line}\n")),
            "{line} in:\n{shown}"
        );
    }
    let snippets = place.succeeds(&["app", "show", "123456"]);
    for part in [
        "REVERB_HOST=ws.shop.test\n",
        "wsPort: 443,",
        "forceTLS: true",
        "'https://ws.shop.test:443/apps/123456/events",
    ] {
        assert!(snippets.contains(part), "{part} in:\n{snippets}");
    }
}

#[test]
fn mistakes_in_the_file_are_told_with_line_column_key_and_remedy() {
    for (text, told) in [
        ("prot = 1", "1:1: prot: unknown key; did you mean port?"),
        (
            "port = \"8080\"",
            "1:8: port: must be a whole number from 0 to 65535, without quotes",
        ),
        (
            "port = 65536",
            "1:8: port: must be a whole number from 0 to 65535",
        ),
        (
            "port = -1",
            "1:8: port: must be a whole number from 0 to 65535",
        ),
        (
            "host = 1",
            "1:8: host: must be text, in quotes: host = \"1\"",
        ),
        (
            "host = 0.0.0.0",
            "1:11: host: not valid TOML: invalid float, expected nothing; text, such as an address, stands in quotes",
        ),
        (
            "host = \"a:80\"",
            "1:8: host: must be an address such as 127.0.0.1, or a host name, without scheme, port and path; not \"a:80\"",
        ),
        (
            "path = \"/a?b\"",
            "1:8: path: must not contain '?'; a prefix looks like /reverb",
        ),
        (
            "activity_timeout = 0",
            "1:20: activity_timeout: must be a whole number from 1 to 86400",
        ),
        (
            "trusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/99\"]",
            "1:19: trusted_proxies: \"10.0.0.0/99\" is neither an address nor a network such as 10.0.0.0/8 (0.0.0.0/0 is everybody)",
        ),
        (
            "port = 1\nport = 2",
            "2:1: port: not valid TOML: duplicate key",
        ),
        (
            "event_bytes = 1",
            "1:1: event_bytes: unknown key; it belongs under [apps.limits]",
        ),
        (
            "[apps]\nid = \"1\"",
            "1:1: apps: must be a list of tables: [[apps]], with two brackets",
        ),
        (
            "[[apps]]\nid = \"1\"\nkey = \"k\"",
            "1:1: apps[0]: secret is missing; an app has an id, a key and a secret",
        ),
        (
            "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = \"\"",
            "4:10: apps[0].secret: must not be empty",
        ),
        (
            "[[apps]]\nid = 1\nkey = \"k\"\nsecret = \"s\"",
            "2:6: apps[0].id: must be text, in quotes: id = \"1\"",
        ),
        (
            "[[apps]]\nid = \"a/b\"\nkey = \"k\"\nsecret = \"s\"",
            "2:6: apps[0].id: must not contain '/'",
        ),
    ] {
        mistake(text, told);
    }
}

#[test]
fn mistakes_in_an_app_are_told_with_line_column_key_and_remedy() {
    for (text, told) in [
        (
            "allowed_origins = \"*\"",
            "9:19: apps[0].allowed_origins: must be a list of texts: allowed_origins = [\"…\", \"…\"]",
        ),
        (
            "allowed_origins = [1]",
            "9:19: apps[0].allowed_origins: must be a list of texts: allowed_origins = [\"…\", \"…\"]",
        ),
        (
            "allowed_origins = [\"\"]",
            "9:19: apps[0].allowed_origins: \"\" names no host; write \"example.com\", \"*.example.com\", or \"*\" for all",
        ),
        (
            "client_events = \"everyone\"",
            "9:17: apps[0].client_events: must be \"off\", \"members\" or \"all\", not \"everyone\"",
        ),
        (
            "max_connections = 0",
            "9:19: apps[0].max_connections: must be a whole number, at least 1",
        ),
        (
            "watchlist = \"yes\"",
            "9:13: apps[0].watchlist: must be true or false, without quotes",
        ),
        (
            "port = 1",
            "9:1: apps[0].port: unknown key; it belongs at the top of the file, above [[apps]]",
        ),
        ("limits = 1", "9:10: apps[0].limits: must be a table"),
        (
            "[apps.limits]\nevent_bites = 1",
            "10:1: apps[0].limits.event_bites: unknown key; did you mean event_bytes?",
        ),
        (
            "[apps.limits]\nevent_bytes = 0",
            "10:15: apps[0].limits.event_bytes: must be a whole number, at least 1",
        ),
        (
            "[apps.limits]\nwatchlist = true",
            "10:1: apps[0].limits.watchlist: unknown key; it belongs above [apps.limits], under [[apps]]",
        ),
        (
            "[[apps]]\nid = \"1001\"\nkey = \"k\"\nsecret = \"s\"",
            "10:6: apps[1].id: \"1001\" is taken by the app at reverb.toml:3; each app has its own",
        ),
        (
            "[[apps]]\nid = \"1\"\nkey = \"app-key\"\nsecret = \"s\"",
            "11:7: apps[1].key: \"app-key\" is taken by the app at reverb.toml:4; each app has its own",
        ),
    ] {
        mistake(
            &format!(
                "\n[[apps]]\nid = \"1001\"\nkey = \"app-key\"\nsecret = \"s\"\n\n\n\n{text}\n"
            ),
            told,
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let place = Place::new();
    place.write(
        "reverb.toml",
        "port = 1.5\n\n[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = \"s\"\nactiv = true\n",
    );
    let output = place.run(
        &["check-config", "--config", "reverb.toml"],
        &[("REVERB_SERVER_PORT", "eighty"), ("REVERB_APP_ID", "1")],
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "reverb-server: the configuration has 5 mistakes\n  \
         reverb.toml:1:8: port: must be a whole number from 0 to 65535\n  \
         reverb.toml:7:1: apps[0].activ: unknown key; did you mean active?\n  \
         REVERB_SERVER_PORT: must be a whole number from 0 to 65535, not \"eighty\"\n  \
         REVERB_APP_KEY: is missing, but REVERB_APP_ID is set; an app needs all three\n  \
         REVERB_APP_SECRET: is missing, but REVERB_APP_ID is set; an app needs all three\n"
    );
}

#[test]
fn an_app_from_the_environment_must_not_be_one_of_the_file() {
    let place = Place::new();
    place.write("reverb.toml", SHOP);
    let env = [
        ("REVERB_APP_ID", "1001"),
        ("REVERB_APP_KEY", "other"),
        ("REVERB_APP_SECRET", "s"),
    ];
    let output = place.run(&["--config", "reverb.toml"], &env);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "reverb-server: REVERB_APP_ID: \"1001\" is taken by the app at reverb.toml:1; remove one of the two\n"
    );
}

#[test]
fn files_that_are_named_must_be_there() {
    let place = Place::new();
    let missing = "  No such file or directory (os error 2)\n";
    assert_eq!(
        place.fails(&["--config", "missing.toml"]),
        format!("reverb-server: cannot read missing.toml, which --config names\n{missing}")
    );
    assert_eq!(
        place.fails(&["--env-file", "missing.env"]),
        format!("reverb-server: cannot read missing.env, which --env-file names\n{missing}")
    );
}

#[test]
fn a_port_in_use_is_told_with_its_address_and_no_app_is_made() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let said = place.fails(&["--port", &address.port().to_string()]);
    assert!(
        said.starts_with(&format!("reverb-server: cannot listen on {address}: ")),
        "{said}"
    );
    assert!(said.contains("--port"), "{said}");
    assert!(!place.path("data").exists());
}

#[test]
fn a_wrong_command_line_is_usage_and_ends_with_2() {
    let place = Place::new();
    for args in [
        ["--port", "65536"],
        ["--host", "http://a"],
        ["app", "delete"],
    ] {
        assert_eq!(place.run(&args, &[]).status.code(), Some(2), "{args:?}");
    }
}

pub(crate) const SHOP: &str = "[[apps]]\nid = \"1001\"\nkey = \"app-key\"\nsecret = \"app-secret\"\nname = \"Shop\"\n\
                    allowed_origins = [\"https://*.shop.test\"]\nclient_events = \"all\"\nmax_connections = 400\n\
                    [apps.limits]\nevent_bytes = 20_000\n";

/// This file is refused with this message, by `check-config` and by the start alike.
fn mistake(text: &str, told: &str) {
    let place = Place::new();
    place.write("reverb.toml", text);
    for command in ["check-config", "serve"] {
        let said = place.fails(&[command, "--config", "reverb.toml"]);
        assert_eq!(said, format!("reverb-server: reverb.toml:{told}\n"));
    }
}
