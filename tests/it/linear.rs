//! What a peer sends costs what it weighs: the largest legal input of every way in costs at most
//! fifteen times what a tenth of it costs.

mod callers;
mod cost;
mod upstreams;

use cost::{Cost, many};
