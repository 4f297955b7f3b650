//! A database of the PHP product, in each of its historical states, and both at work in it.

mod product;
#[path = "../support/mod.rs"]
mod support;

mod edits;
mod rows;
mod secrets;
mod times;
mod writes;
