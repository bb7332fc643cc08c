//! causeway's HTTP/1.1 client codec against hyper's: the same message, or a refusal with a listed reason; never looser.

mod answers;
mod compare;
mod generated;
mod requests;
mod table;
