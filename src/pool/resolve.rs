//! Names to endpoints: keeps the members of a pool in step with the name server.
