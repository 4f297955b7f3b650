//! `import`: apps of other servers and of exports come into the database.
//!
//! A source becomes [entries](entry::Entry), whatever it is written in; what its kind knows of fields makes
//! [drafts](entry::Draft) out of them; and the [plan](plan::Plan) says what is made, replaced and skipped. Nothing is written
//! unless all of it is fine.

mod entry;
mod json;
pub(super) mod ours;
mod plan;
mod reverb;
mod soketi;
mod source;
mod text;

use std::collections::HashMap;
use std::fmt::Write;

use clap::{Args, ValueEnum};
use reverb_core::app_store::EditError;

use self::entry::Draft;
use self::plan::{Action, Done, Plan};
use super::CommandError;
use crate::apps::{Apps, AppsError};
use crate::config::{Config, Problem};

/// What to take over, and how.
#[derive(Clone, Debug, Args)]
pub struct ImportFlags {
    /// Files, - for standard input, or mysql://user:password@host/database
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// What they are [default: what they look like]
    #[arg(long, value_name = "KIND")]
    pub from: Option<Kind>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// If there is an app of the same id already
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    pub on_clash: OnClash,
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// .env of Laravel Reverb, or config('reverb') as JSON
    Reverb,
    /// Configuration of soketi as JSON or .env, or its database
    Soketi,
    /// What export and app show --json write
    Json,
    /// A table whose first line names id, key, secret and others
    Csv,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Reverb => "reverb",
            Self::Soketi => "soketi",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// What to do about apps that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnClash {
    /// Leave them as they are
    Skip,
    /// Replace them as a whole, secret and settings
    Replace,
    /// Do nothing at all
    Fail,
}

/// Why apps were not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There are mistakes in what was to be taken over, and perhaps clashes.
    #[error("nothing is imported: {}", list(.0, "mistake"))]
    Invalid(Vec<Problem>),
    /// There are such apps already.
    #[error("nothing is imported: {}", list(.0, "clash"))]
    Clashes(Vec<Problem>),
    /// The database did not take one.
    #[error(
        "{made} apps are made and {replaced} replaced, but not all: import again with --on-clash skip once this is mended{}",
        failed(.errors)
    )]
    Interrupted {
        /// How many are made.
        made: usize,
        /// How many are replaced.
        replaced: usize,
        /// Ids of some that are not, and why.
        errors: Vec<(String, EditError)>,
    },
}

/// Nobody reads more at once.
const MOST_TOLD: usize = 100;

fn list(problems: &[Problem], what: &str) -> String {
    let count = match (problems.len(), what) {
        (1, what) => format!("1 {what}"),
        (number, "clash") => format!("{number} clashes"),
        (number, what) => format!("{number} {what}s"),
    };
    let few = problems.iter().take(MOST_TOLD);
    let mut told = few.fold(count, |all, problem| format!("{all}\n  {problem}"));
    if let Some(more) = problems.len().checked_sub(MOST_TOLD + 1) {
        let _ = write!(told, "\n  and {} more", more + 1);
    }
    told
}

fn failed(errors: &[(String, EditError)]) -> String {
    let line = |(id, error): &(String, EditError)| format!("\n  the app {id}: {error}");
    errors.iter().map(line).collect()
}

/// Does it. What is said goes into `said`, also if it fails.
pub(super) async fn obey(
    config: &Config,
    flags: &ImportFlags,
    said: &mut String,
) -> Result<(), CommandError> {
    let (mut drafts, mut problems) = (Vec::new(), Vec::new());
    for (n, name) in flags.sources.iter().enumerate() {
        if name == "-" && flags.sources[..n].contains(name) {
            continue;
        }
        let read = source::read(name, flags.from).await;
        if !read.what.is_empty() {
            let shown = shown(name);
            let _ = writeln!(said, "{shown}: {}, {}", read.what, apps(read.drafts.len()));
        }
        tell_notes(said, &read.drafts);
        drafts.extend(read.drafts);
        problems.extend(read.problems);
    }
    problems.extend(plan::twins(&drafts));
    let store = match Apps::existing(config).await {
        Err(AppsError::Pending(_)) if !flags.dry_run => Apps::to_edit(config).await?,
        store => store?,
    };
    let plan = Plan::new(drafts, &store, config, flags.on_clash).await?;
    if !problems.is_empty() {
        problems.extend(plan.clashes);
        return Err(ImportError::Invalid(problems).into());
    }
    if !plan.clashes.is_empty() {
        return Err(ImportError::Clashes(plan.clashes).into());
    }
    tell_steps(said, &plan, flags.dry_run);
    let kept = plan.count(|action| matches!(action, Action::Keep));
    let skipped = plan.count(|action| matches!(action, Action::Skip(_)));
    let mut done = Done {
        made: plan.count(|action| matches!(action, Action::Make)),
        replaced: plan.count(|action| matches!(action, Action::Replace(_))),
    };
    if flags.dry_run {
        said.push_str("Nothing is written, as this is a dry run. It would be: ");
    } else {
        let store = match store.database() {
            Some(_) => store,
            None => Apps::to_edit(config).await?,
        };
        let database = store.database().expect("it was made for this");
        done = Done::default();
        let carried_out = plan.carry_out(&database.apps, &mut done).await;
        carried_out.map_err(|errors| ImportError::Interrupted {
            made: done.made,
            replaced: done.replaced,
            errors,
        })?;
    }
    let Done { made, replaced } = done;
    let _ = writeln!(
        said,
        "{} made, {replaced} replaced, {skipped} skipped, {kept} just so already.",
        apps(made)
    );
    Ok(())
}

fn apps(number: usize) -> String {
    match number {
        1 => "1 app".to_owned(),
        number => format!("{number} apps"),
    }
}

/// An address without its password.
fn shown(name: &str) -> String {
    match (name, crate::config::said(name)) {
        ("-", _) => "standard input".to_owned(),
        (name, Ok(crate::config::Said::Url(url))) if name.contains("://") => url.to_string(),
        (name, _) if name.contains("://") => "the database".to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// What is lost, and for which apps.
fn tell_notes(said: &mut String, drafts: &[Draft]) {
    let mut notes: Vec<(&str, Vec<String>)> = Vec::new();
    let mut places = HashMap::new();
    for draft in drafts {
        for note in &draft.notes {
            let at = *places.entry(note.as_str()).or_insert_with(|| {
                notes.push((note, Vec::new()));
                notes.len() - 1
            });
            notes[at].1.push(draft.app.id.to_string());
        }
    }
    for (note, ids) in notes {
        let _ = writeln!(said, "  {}: {note}", crate::apps::some(&ids));
    }
}

/// What is done with each: of a dry run all, and else those that there are already.
fn tell_steps(said: &mut String, plan: &Plan, is_dry: bool) {
    for step in &plan.steps {
        let id = &step.app.id;
        let _ = match &step.action {
            Action::Make if is_dry => writeln!(said, "make {id}"),
            Action::Replace(_) => writeln!(said, "replace {id}"),
            Action::Keep if is_dry => writeln!(said, "keep {id}, which is just so already"),
            Action::Skip(why) => writeln!(said, "skip {id}: {why}"),
            Action::Make | Action::Keep => Ok(()),
        };
    }
}
