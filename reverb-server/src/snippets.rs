//! What to paste where so that clients and backends find an app: [`snippets`].

use std::fmt::Write;

use reverb_core::protocol::App;

use crate::config::Config;

/// Where clients and backends find the server, as URLs write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// In brackets if it is an IPv6 address.
    pub host: String,
    /// As clients see it.
    pub port: u16,
    /// Whether they speak TLS, to a proxy in front of us.
    pub tls: bool,
    /// The prefix of all paths; empty, or `/prefix`.
    pub path: String,
}

impl Address {
    /// The public address as far as it was said, else where the server listens, on this port.
    #[must_use]
    pub fn new(config: &Config, listening_on: u16) -> Self {
        let public = &config.public;
        let tls = public.tls.unwrap_or_else(|| public.port == Some(443));
        let host = public.host.as_ref().unwrap_or(&config.host);
        Self {
            host: match host.as_str() {
                // "Every address" is none that one could call.
                "0.0.0.0" | "::" => "localhost".to_owned(),
                host if host.contains(':') => format!("[{host}]"),
                host => host.to_owned(),
            },
            // We speak no TLS ourselves, so that TLS means a proxy, on its usual port.
            port: public.port.unwrap_or(if tls { 443 } else { listening_on }),
            tls,
            path: config.path.clone(),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Lines for `.env`, Laravel Echo, pusher-js and a shell, **with the secret**.
#[must_use]
pub fn snippets(app: &App, address: &Address) -> String {
    format!(
        "{}\n{}\n{}\n{}",
        env(app, address),
        echo(app, address),
        pusher_js(app, address),
        curl(app, address)
    )
}

fn env(app: &App, address: &Address) -> String {
    let mut text = format!(
        "# .env of a Laravel application\n\
         BROADCAST_CONNECTION=reverb\n\
         REVERB_APP_ID={}\n\
         REVERB_APP_KEY={}\n\
         REVERB_APP_SECRET={}\n\
         REVERB_HOST={}\n\
         REVERB_PORT={}\n\
         REVERB_SCHEME={}\n",
        env_value(app.id.as_str()),
        env_value(app.key.as_str()),
        env_value(app.secret.reveal()),
        env_value(&address.host),
        address.port,
        address.scheme()
    );
    for name in ["APP_KEY", "HOST", "PORT", "SCHEME"] {
        let _ = writeln!(text, "VITE_REVERB_{name}=\"${{REVERB_{name}}}\"");
    }
    if !address.path.is_empty() {
        let _ = writeln!(
            text,
            "# and in config/broadcasting.php, under connections.reverb.options: 'path' => {},",
            js(&address.path)
        );
    }
    text
}

fn echo(app: &App, address: &Address) -> String {
    format!(
        "// Laravel Echo\n\
         import Echo from 'laravel-echo';\n\
         import Pusher from 'pusher-js';\n\
         window.Pusher = Pusher;\n\
         window.Echo = new Echo({{\n    broadcaster: 'reverb',\n    key: {},\n{}}});\n\
         window.Echo.channel('my-channel').listen('.my-event', (data) => console.log(data));\n",
        js(app.key.as_str()),
        client_options(address)
    )
}

fn pusher_js(app: &App, address: &Address) -> String {
    format!(
        "// pusher-js\n\
         import Pusher from 'pusher-js';\n\
         const pusher = new Pusher({}, {{\n{}    cluster: '',\n}});\n\
         pusher.subscribe('my-channel').bind('my-event', (data) => console.log(data));\n",
        js(app.key.as_str()),
        client_options(address)
    )
}

fn client_options(address: &Address) -> String {
    let Address {
        host,
        port,
        tls,
        path,
    } = address;
    let path = match path.as_str() {
        "" => String::new(),
        path => format!("    wsPath: {},\n", js(path)),
    };
    format!(
        "    wsHost: {},\n    wsPort: {port},\n    wssPort: {port},\n{path}    forceTLS: {tls},\n    \
         enabledTransports: ['ws', 'wss'],\n",
        js(host)
    )
}

/// Publishes an event with what every shell has: the signature of the HTTP API, step by step.
fn curl(app: &App, address: &Address) -> String {
    let Address {
        host, port, path, ..
    } = address;
    let path = format!("{path}/apps/{}/events", percent(app.id.as_str()));
    format!(
        "# curl: publishes an event\n\
         body='{{\"name\":\"my-event\",\"channels\":[\"my-channel\"],\"data\":\"{{\\\"hello\\\":\\\"world\\\"}}\"}}'\n\
         md5=$(printf %s \"$body\" | openssl md5 -r | cut -d ' ' -f 1)\n\
         query=\"auth_timestamp=$(date +%s)&auth_version=1.0&body_md5=$md5\"\n\
         signature=$(printf 'POST\\n%s\\nauth_key=%s&%s' {} {} \"$query\" | openssl dgst -sha256 -hmac {} -r | cut -d ' ' -f 1)\n\
         curl -H 'Content-Type: application/json' -d \"$body\" \\\n  \
         {}\"&$query&auth_signature=$signature\"\n",
        shell(&path),
        shell(app.key.as_str()),
        shell(app.secret.reveal()),
        shell(&format!(
            "{}://{host}:{port}{path}?auth_key={}",
            address.scheme(),
            percent(app.key.as_str())
        )),
    )
}

/// A value of a `.env` file, in quotes if it needs them.
fn env_value(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=[]".contains(c);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    if text.contains('\'') {
        let escaped = text
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('$', "\\$");
        return format!("\"{escaped}\"");
    }
    format!("'{text}'")
}

/// A string of JavaScript or PHP.
fn js(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A word of a shell.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A part of a URL.
fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte.into())
            }
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use reverb_core::protocol::auth::Request;
    use std::process::Command;

    fn address(path: &str) -> Address {
        Address {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            tls: false,
            path: path.to_owned(),
        }
    }

    /// Runs the curl snippet with a `curl` that only says what it was given: the body, and the URL.
    fn run(snippet: &str) -> (String, String) {
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}\n{snippet}");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .output()
            .expect("bash");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8(output.stdout).expect("text");
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said[..3], ["-H", "Content-Type: application/json", "-d"]);
        (said[3].to_owned(), said[4].to_owned())
    }

    #[test]
    fn the_curl_snippet_signs_a_publish_that_the_server_accepts() {
        let odd = App::new("a&b", "k+y='$x", "s'e\"c$r`e\\t").expect("an app");
        let plain = App::new("1001", "app-key", "app-secret").expect("an app");
        for (app, prefix) in [
            (&plain, ""),
            (&plain, "/reverb"),
            (&odd, "/a/b"),
            (&odd, ""),
        ] {
            let (body, url) = run(&curl(app, &address(prefix)));
            let rest = url
                .strip_prefix("http://127.0.0.1:8080")
                .expect("the address");
            let (path, query) = rest.split_once('?').expect("a query");
            assert!(path.starts_with(&format!("{prefix}/apps/")), "{path}");
            let timestamp = query
                .split("auth_timestamp=")
                .nth(1)
                .and_then(|rest| rest.split('&').next());
            let now = timestamp
                .and_then(|seconds| seconds.parse().ok())
                .expect("a timestamp");
            let body = body.as_bytes();
            let request = Request {
                method: "POST",
                path,
                query,
                body,
            };
            assert_eq!(request.check(app, now), Ok(()));
            let event: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            assert_eq!(event["channels"][0], "my-channel");
        }
    }

    #[test]
    fn every_snippet_knows_the_prefix() {
        let app = App::new("1001", "app-key", "app-secret").expect("an app");
        let all = snippets(&app, &address("/reverb"));
        assert_eq!(all.matches("    wsPath: '/reverb',\n").count(), 2);
        assert!(
            all.contains("'path' => '/reverb'") && all.contains("8080/reverb/apps/1001/events")
        );
        assert!(!snippets(&app, &address("")).contains("wsPath"));
    }

    #[test]
    fn values_with_special_characters_survive_a_dotenv_file() {
        for value in [
            "plain",
            "[::1]",
            "with $dollar",
            "it's",
            "\"double\"",
            "both ' and \" and \\ and $x",
        ] {
            let line = format!("A={}\n", env_value(value));
            let read = dotenvy::from_read_iter(line.as_bytes())
                .next()
                .expect("a line")
                .expect("readable");
            assert_eq!(read.1, value, "{line}");
        }
    }
}
