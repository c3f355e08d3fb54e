//! Things over REST: the collection, one Thing, and every part of it as a resource of its own.

pub(crate) mod acknowledge;
pub(crate) mod asked;
pub(crate) mod bulk;
pub(crate) mod import;
pub(crate) mod partwise;
pub(crate) mod read;
pub(crate) mod stream;
pub(crate) mod write;
