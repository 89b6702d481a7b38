//! Tests of the whole.

pub mod golden;
