//! The management API of the built binary, as scripts meet it.

mod desk;
#[path = "../cli/place.rs"]
#[expect(dead_code, reason = "the tests of the command line use more of it")]
mod place;

#[path = "../../../reverb-mysql/tests/php/product.rs"]
#[expect(dead_code, reason = "the tests of the adapter use more of it")]
mod product;
#[path = "../../../reverb-mysql/tests/support/mod.rs"]
mod support;

mod apps;
mod hostile;
mod live;
mod php;
mod rules;
