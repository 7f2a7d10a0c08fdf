//! The server over its socket: frames, endings, real clients.

mod client;
mod drivers;
mod ending;
mod frames;
