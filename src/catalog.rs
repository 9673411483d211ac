//! Listings become routes, routes become the catalog.
