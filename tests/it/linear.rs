//! Messages of a peer cost what they weigh: the largest legal input of every way in costs at most
//! fifteen times what a tenth of it costs.

mod callers;
mod cost;
mod upstreams;

use cost::{Cost, many};
