//! One suite of cases over any cluster.
