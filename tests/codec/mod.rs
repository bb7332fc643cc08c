//! causeway's HTTP/1.1 codecs against those of hyper: the same message, or a refusal with a listed reason; never looser.
//! The client's here, the server's in [`server`].

mod answers;
mod change;
mod compare;
mod generated;
mod requests;
mod server;
mod table;
