//! The management API of the built binary, as scripts meet it.

mod desk;
#[path = "../cli/place.rs"]
#[expect(dead_code, reason = "the tests of the command line use more of it")]
mod place;

mod apps;
mod hostile;
mod live;
mod rules;
