//! The index as the crates above use it.

mod model;
mod random_histories;
