//! Small histories, each of which breaks one rule, or none.
