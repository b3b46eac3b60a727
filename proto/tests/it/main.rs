//! What the crate promises about bytes: etcd's names and numbers, etcd's encodings, and stored
//! responses that equal plain ones.

#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_raft;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod served;
#[cfg(test)]
mod stored;
