//! causeway's HTTP/1.1 server codec against hyper's: the same requests, or a refusal with a listed reason; never
//! looser. And every answer is one to a reader that forgives nothing.

mod answers;
mod compare;
mod generated;
mod requests;
mod table;
