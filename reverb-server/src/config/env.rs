//! The environment, and `.env`: [`Environment`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::ConfigError;
use super::problem::{Problem, did_you_mean};
use super::table::Found;

/// Every name we read. Those of Laravel Reverb mean what they mean there.
const OURS: [&str; 22] = [
    "API_TOKEN",
    "REVERB_SERVER_HOST",
    "REVERB_SERVER_PORT",
    "REVERB_SERVER_PATH",
    "REVERB_CONFIG",
    "REVERB_DATA_DIR",
    "REVERB_DATABASE_URL",
    "REVERB_ENFORCE_MAX_CONNECTIONS",
    "REVERB_ENCRYPTION_KEY",
    "REVERB_HOST",
    "REVERB_PORT",
    "REVERB_SCHEME",
    "REVERB_APP_ID",
    "REVERB_APP_KEY",
    "REVERB_APP_SECRET",
    "REVERB_APP_MAX_CONNECTIONS",
    "REVERB_APP_ACTIVITY_TIMEOUT",
    "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM",
    "REVERB_APP_ALLOWED_ORIGINS",
    "TOKIO_WORKER_THREADS",
    "RUST_LOG",
    "NO_COLOR",
];

/// What else Laravel Reverb reads; with `*` all names that begin so. Source: its `config/reverb.php`.
const LARAVEL_ONLY: [&str; 8] = [
    "REVERB_SERVER",
    "REVERB_SCALING_*",
    "REVERB_MAX_REQUEST_SIZE",
    "REVERB_APP_PING_INTERVAL",
    "REVERB_APP_MAX_MESSAGE_SIZE",
    "REVERB_APP_RATE_*",
    "REVERB_PULSE_*",
    "REVERB_TELESCOPE_*",
];

/// What we read of a Laravel application, where it is asked for.
const OF_LARAVEL: [&str; 12] = [
    "BCRYPT_ROUNDS",
    "APP_KEY",
    "APP_PREVIOUS_KEYS",
    "DB_CONNECTION",
    "DB_URL",
    "DB_HOST",
    "DB_PORT",
    "DB_DATABASE",
    "DB_USERNAME",
    "DB_PASSWORD",
    "DB_SOCKET",
    "MYSQL_ATTR_SSL_CA",
];

/// The variables of the process, and below them those of a `.env` file.
///
/// An empty variable counts as absent: compose files and Laravel's `.env.example` are full of them.
#[derive(Debug, Default)]
pub(super) struct Environment {
    process: HashMap<String, String>,
    file: HashMap<String, Line>,
    /// Name of the file, if there is one.
    pub(super) file_name: Option<String>,
    problems: RefCell<Vec<Problem>>,
}

/// What a line of a `.env` file says.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) value: String,
    pub(crate) number: usize,
    /// Why it may not be what was meant. It matters once somebody asks for it.
    pub(crate) doubt: Option<&'static str>,
}

impl Environment {
    /// These variables, and those of `.env` in the working folder or of the file that is named instead.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it that concerns us cannot be understood.
    pub(super) fn new(
        process: impl IntoIterator<Item = (OsString, OsString)>,
        env_file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let process = process
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| !is_service_link(name, value));
        let mut environment = Self {
            process: process.collect(),
            ..Self::default()
        };
        let path = env_file.unwrap_or_else(|| Path::new(".env"));
        match std::fs::read(path) {
            Ok(bytes) => {
                let name = path.display().to_string();
                environment.file =
                    read(&name, &String::from_utf8_lossy(&bytes)).map_err(ConfigError::Invalid)?;
                environment.file_name = Some(name);
                Ok(environment)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && env_file.is_none() => {
                Ok(environment)
            }
            Err(error) => Err(ConfigError::Unreadable {
                path: path.to_owned(),
                why: env_file
                    .map_or("is in the working folder", |_| "--env-file names")
                    .to_owned(),
                source: error,
            }),
        }
    }

    /// What a variable says; it must be one of [`OURS`] or [`OF_LARAVEL`].
    pub(super) fn get(&self, name: &str) -> Option<Found<&str>> {
        debug_assert!(
            OURS.contains(&name) || OF_LARAVEL.contains(&name),
            "{name} would be reported as unknown"
        );
        let process = self.process.get(name).map(|value| (value, name.to_owned()));
        let line = self.file.get(name).filter(|_| process.is_none());
        if let Some((line, message)) = line.and_then(|line| Some((line, line.doubt?))) {
            let problem = Problem {
                place: self.origin(line),
                key: name.to_owned(),
                message: message.to_owned(),
            };
            let mut problems = self.problems.borrow_mut();
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let file = self
            .file
            .get(name)
            .map(|line| (&line.value, self.origin(line)));
        let (value, from) = [process, file]
            .into_iter()
            .flatten()
            .find(|(value, _)| !value.is_empty())?;
        Some(Found::new(value.as_str(), from))
    }

    /// What a variable says, if this function accepts it; its error is the sentence for whoever set it.
    pub(super) fn parse<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        let found = self.get(name)?;
        match parse(found.value) {
            Ok(value) => Some(Found::new(value, found.from)),
            Err(message) => {
                self.complain(name, message);
                None
            }
        }
    }

    /// Notes a mistake in this variable.
    pub(super) fn complain(&self, name: &str, message: String) {
        let from = self.get(name).map(|found| found.from);
        self.problems.borrow_mut().push(Problem {
            place: from.filter(|from| from != name).unwrap_or_default(),
            key: name.to_owned(),
            message,
        });
    }

    /// The mistakes so far.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.borrow().clone()
    }

    /// Whether anything of ours is in the process's environment, and in the file.
    pub(super) fn used(&self) -> (bool, bool) {
        let ours = || OURS.iter().filter(|name| name.starts_with("REVERB_"));
        (
            ours().any(|name| self.process.contains_key(*name)),
            ours().any(|name| self.file.contains_key(*name)),
        )
    }

    /// A sentence for every `REVERB_*` that has no effect.
    pub(super) fn without_effect(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.process.keys().chain(self.file.keys()).collect();
        names
            .into_iter()
            .filter(|name| name.starts_with("REVERB_") && !OURS.contains(&name.as_str()))
            .map(|name| {
                let laravel = LARAVEL_ONLY
                    .iter()
                    .any(|known| match known.strip_suffix('*') {
                        Some(start) => name.starts_with(start),
                        None => name == known,
                    });
                match did_you_mean(name, &OURS) {
                    _ if laravel => {
                        format!("{name} is known from Laravel Reverb, has no effect here")
                    }
                    Some(meant) => {
                        format!("{name} is unknown and has no effect; did you mean {meant}?")
                    }
                    None => format!("{name} is unknown and has no effect"),
                }
            })
            .collect()
    }

    fn origin(&self, line: &Line) -> String {
        format!(
            "{}:{}",
            self.file_name.as_deref().unwrap_or(".env"),
            line.number
        )
    }
}

/// Kubernetes describes a Service called `reverb` by `REVERB_PORT=tcp://…` and the like; nobody meant us by it.
fn is_service_link(name: &str, value: &str) -> bool {
    name.contains("_SERVICE_") || name.contains("_TCP") || value.starts_with("tcp://")
}

/// The lines of somebody's `.env` file by their names; none of them must be understood.
pub(crate) fn lines(text: &str) -> HashMap<String, Line> {
    read_lines(text).0
}

/// Reads a `.env` file. Only lines that begin with `REVERB_` must be understood; the others are somebody else's, unless they
/// are asked for.
fn read(name: &str, text: &str) -> Result<HashMap<String, Line>, Vec<Problem>> {
    let (lines, doubts) = read_lines(text);
    let problem = |(number, key, message): (usize, String, &str)| Problem {
        place: format!("{name}:{number}"),
        key,
        message: message.to_owned(),
    };
    let ours = doubts
        .into_iter()
        .filter(|(_, key, _)| key.starts_with("REVERB_"));
    let problems: Vec<Problem> = ours.map(problem).collect();
    match problems.is_empty() {
        true => Ok(lines),
        false => Err(problems),
    }
}

/// A line that may not be what was meant: its number, its name and why.
type Doubt = (usize, String, &'static str);

fn read_lines(text: &str) -> (HashMap<String, Line>, Vec<Doubt>) {
    let text = text.trim_start_matches('\u{feff}');
    // Later lines win, as in Laravel.
    let values: HashMap<String, String> =
        dotenvy::from_read_iter(text.as_bytes()).flatten().collect();
    let mut numbers = BTreeMap::new();
    let mut doubts = HashMap::new();
    let mut told = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some((key, raw)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else {
            continue;
        };
        let (key, raw) = (key.trim(), raw.trim());
        if key.starts_with('#') {
            continue;
        }
        numbers.insert(key.to_owned(), n + 1);
        // A quote left open further up swallows lines, and a bare $ swallows what follows it: better to stop than to run
        // with half a secret.
        let message = if !values.contains_key(key) {
            "cannot be read; put the value into double quotes, and look for an open quote further up"
        } else if has_bare_dollar(raw) {
            "contains a $ that is no ${NAME}; put the value into single quotes"
        } else {
            continue;
        };
        doubts.insert(key.to_owned(), message);
        told.push((n + 1, key.to_owned(), message));
    }
    let unread = doubts.keys().filter(|key| !values.contains_key(*key));
    let unread: Vec<_> = unread.map(|key| (key.clone(), String::new())).collect();
    let line = |(key, value)| {
        let number = numbers.get(&key).copied().unwrap_or_default();
        let doubt = doubts.get(&key).copied();
        let line = Line {
            value,
            number,
            doubt,
        };
        (key, line)
    };
    (values.into_iter().chain(unread).map(line).collect(), told)
}

fn has_bare_dollar(raw: &str) -> bool {
    let value = raw.replace("\\$", "");
    !value.starts_with('\'') && value.split('$').skip(1).any(|rest| !rest.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(process: &[(&str, &str)], file: &str) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment {
            process: process.iter().map(owned).collect(),
            file: read(".env", file).expect("a good file"),
            file_name: Some(".env".to_owned()),
            ..Environment::default()
        }
    }

    #[test]
    fn the_process_wins_over_the_file_unless_it_is_empty() {
        let environment = environment(
            &[("REVERB_HOST", "process"), ("REVERB_APP_ID", "")],
            "REVERB_HOST=file\nREVERB_APP_ID=7\n",
        );
        let get = |name| environment.get(name).map(|found| (found.value, found.from));
        assert_eq!(
            get("REVERB_HOST"),
            Some(("process", "REVERB_HOST".to_owned()))
        );
        assert_eq!(get("REVERB_APP_ID"), Some(("7", ".env:2".to_owned())));
        assert_eq!(get("REVERB_PORT"), None);
    }

    #[test]
    fn quotes_references_and_foreign_lines_are_read_as_laravel_does() {
        let file = "APP_NAME=Bob and Ann\nexport REVERB_APP_ID=\"1001\"\nID=9\nREVERB_APP_KEY='k$y'\n\
                    VITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"\nREVERB_HOST=\"ws${ID}.test\" # public\nREVERB_APP_ID=1002";
        let environment = environment(&[], file);
        let get = |name| environment.get(name).map(|found| found.value);
        assert_eq!(get("REVERB_APP_ID"), Some("1002"));
        assert_eq!(get("REVERB_APP_KEY"), Some("k$y"));
        assert_eq!(get("REVERB_HOST"), Some("ws9.test"));
    }

    #[test]
    fn a_line_of_ours_that_is_not_understood_is_named() {
        let told = |text| read(".env", text).map(|_| ()).expect_err("a problem")[0].to_string();
        assert_eq!(
            told("A=1\nREVERB_HOST=a b"),
            ".env:2: REVERB_HOST: cannot be read; put the value into double quotes, and look for an open quote further up"
        );
        assert!(told("A='open\nREVERB_HOST=a\nB='x'").starts_with(".env:2: REVERB_HOST: cannot"));
        assert_eq!(
            told("REVERB_APP_SECRET=pa$word"),
            ".env:1: REVERB_APP_SECRET: contains a $ that is no ${NAME}; put the value into single quotes"
        );
    }

    #[test]
    fn names_without_effect_are_told_apart() {
        let environment = environment(
            &[("REVERB_APP_KEYS", "x"), ("PATH", "x"), ("REVERB_XYZ", "x")],
            "REVERB_SCALING_ENABLED=false\nREVERB_SERVER=reverb\nREVERB_SERVER_PORT=1\n",
        );
        assert_eq!(
            environment.without_effect(),
            [
                "REVERB_APP_KEYS is unknown and has no effect; did you mean REVERB_APP_KEY?",
                "REVERB_SCALING_ENABLED is known from Laravel Reverb, has no effect here",
                "REVERB_SERVER is known from Laravel Reverb, has no effect here",
                "REVERB_XYZ is unknown and has no effect",
            ]
        );
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_are_not_ours() {
        let set = [
            ("REVERB_PORT", "tcp://10.0.0.1:8080"),
            ("REVERB_SERVICE_HOST", "10.0.0.1"),
        ];
        let set = set.map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::new(set, None).expect("an environment");
        assert!(environment.get("REVERB_PORT").is_none());
        assert!(environment.without_effect().is_empty());
    }
}
