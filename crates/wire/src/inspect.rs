//! Messages as trees of named values, for tests that compare them with the JSON of the Java classes.

use bytes::Bytes;

/// A value of a message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Null, in Kafka's sense.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer of any width.
    Integer(i64),
    /// A string, or an id in Kafka's text form.
    Text(String),
    /// Bytes or records.
    Bytes(Bytes),
    /// An array, in its order.
    Array(Vec<Value>),
    /// A structure: its fields by their names here, those of the version only.
    Struct(Vec<(&'static str, Value)>),
}

/// A message that can be taken apart without knowing its type.
pub trait Inspect {
    /// The fields that `version` carries.
    fn inspect(&self, version: i16) -> Value;
}

impl<M: crate::Message + crate::Field> Inspect for M {
    fn inspect(&self, version: i16) -> Value {
        crate::Field::inspect(self, M::encoding(version))
    }
}
