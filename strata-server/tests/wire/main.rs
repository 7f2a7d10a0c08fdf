//! The server over its socket: frames, endings, real clients.

mod client;
mod copy;
mod drivers;
mod ending;
mod frames;
mod full_disk;
mod hostile;
mod refusals;
mod savepoints;
