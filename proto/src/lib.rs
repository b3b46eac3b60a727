//! Wire types of etcd's API.
#![forbid(unsafe_code)]
