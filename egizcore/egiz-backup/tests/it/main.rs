//! Repositories by their public interface: in a folder, with and without encryption.

mod damage;
mod repository;
mod support;
