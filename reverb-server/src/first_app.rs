//! The app that the server makes for itself when it is started without any.
//!
//! It is kept as `apps.toml` in the data folder, in the shape of the configuration file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand::RngExt;
use reverb_core::protocol::App;

/// Why there is no first app.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot keep the new app in {}: let this user write there, choose another folder with --data-dir \
     (REVERB_DATA_DIR), or configure an app with --config or REVERB_APP_ID, _KEY and _SECRET",
    path.display()
)]
pub struct FirstAppError {
    /// The file that cannot be written.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// Where the app is kept.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("apps.toml")
}

/// Makes an app with random credentials and writes it down.
///
/// # Errors
/// The data folder cannot be made or written.
pub fn make(data_dir: &Path) -> Result<App, FirstAppError> {
    let id = rand::rng().random_range(100_000..1_000_000).to_string();
    let app =
        App::new(&id, &random_text(20), &random_text(32)).expect("letters and digits will do");
    match write(data_dir, &file_text(&app)) {
        Ok(()) => Ok(app),
        Err(source) => Err(FirstAppError {
            path: path(data_dir),
            source,
        }),
    }
}

/// A sentence if others than the owner can read the file.
#[must_use]
pub fn exposed(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let path = path.display();
    (mode & 0o077 != 0).then(|| {
        format!("{path} holds a secret, but others can read it (mode {mode:o}): chmod 600 {path}")
    })
}

/// Lower-case letters and digits; 20 of them are 103 bits.
fn random_text(length: usize) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect()
}

fn file_text(app: &App) -> String {
    format!(
        "# The app that reverb-server made at its first start, because none was configured.\n\
         # You can move it into your configuration file (--config): as soon as that, or the environment, has an app,\n\
         # this file is not used any more. Whoever knows the secret can do everything in this app.\n\
         \n\
         [[apps]]\n\
         id = \"{}\"\n\
         key = \"{}\"\n\
         secret = \"{}\"\n",
        app.id,
        app.key,
        app.secret.reveal()
    )
}

/// Writes the file whole or not at all, for its owner alone.
fn write(data_dir: &Path, text: &str) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)?;
    let unfinished = data_dir.join(format!(".apps.toml.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path(data_dir))
    })();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_look_as_laravel_makes_them_and_never_repeat() {
        let folder = tempfile::tempdir().expect("a folder");
        let app = make(folder.path()).expect("an app");
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let id: u32 = app.id.as_str().parse().expect("digits");
        assert!((100_000..1_000_000).contains(&id));
        assert!(app.key.as_str().len() == 20 && app.key.as_str().chars().all(is_plain));
        assert!(app.secret.reveal().len() == 32 && app.secret.reveal().chars().all(is_plain));
        assert_ne!(random_text(32), random_text(32));
    }

    #[test]
    fn the_file_and_its_folder_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("a/data");
        make(&data).expect("an app");
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode(&data), mode(&path(&data))), (0o700, 0o600));
        assert_eq!(
            fs::read_dir(&data).expect("a folder").count(),
            1,
            "nothing unfinished stays"
        );
        assert_eq!(exposed(&path(&data)), None);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_with_the_remedy() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = make(&file.path().join("data")).expect_err("a file is no folder");
        let told = error.to_string();
        assert!(
            told.contains("data/apps.toml") && told.contains("--data-dir"),
            "{told}"
        );
    }
}
