//! How one field of a message is read and written.
//!
//! [`Field`] is implemented for the protocol's primitive types here, and by [`wire_struct!`](crate::messages) for
//! structures. The version and whether it is flexible (KIP-482) travel along as an [`Encoding`].

use bytes::Bytes;

use crate::{
    DecodeError, EncodeError, ErrorCode, GenerationId, LeaderEpoch, NodeId, ProducerEpoch, ProducerId, Reader, TopicId,
    VersionRange, Writer,
};

/// A message's version, and whether it is one of the flexible ones: compact lengths and tagged fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// The version.
    pub version: i16,
    /// Whether lengths are compact and structures end in tagged fields.
    pub flexible: bool,
}

impl Encoding {
    /// Version `version`, flexible or not.
    pub const fn new(version: i16, flexible: bool) -> Self {
        Self { version, flexible }
    }
}

/// A value that stands in messages.
pub trait Field: Sized {
    /// The fewest bytes that any value takes.
    fn smallest(encoding: Encoding) -> usize;

    /// Reads one.
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError>;

    /// Writes it.
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError>;

    /// Which of `versions` can carry the value without losing what must not be lost.
    fn carried_by(&self, versions: VersionRange) -> VersionRange {
        versions
    }

    /// The value as a tree.
    #[cfg(feature = "inspect")]
    fn inspect(&self, encoding: Encoding) -> crate::Value;

    /// Whether this is null, which not every version may carry.
    fn is_null(&self) -> bool {
        false
    }
}

macro_rules! integer_field {
    ($($integer:ident $size:literal,)*) => {$(
        impl Field for $integer {
            fn smallest(_: Encoding) -> usize {
                $size
            }
            fn read(reader: &mut Reader, _: Encoding) -> Result<Self, DecodeError> {
                reader.$integer()
            }
            fn write(&self, writer: &mut Writer, _: Encoding) -> Result<(), EncodeError> {
                writer.$integer(*self);
                Ok(())
            }
            #[cfg(feature = "inspect")]
            fn inspect(&self, _: Encoding) -> crate::Value {
                crate::Value::Integer(i64::from(*self))
            }
        }
    )*};
}

integer_field! { i8 1, i16 2, i32 4, i64 8, }

macro_rules! newtype_field {
    ($($newtype:ident($integer:ident),)*) => {$(
        impl Field for $newtype {
            fn smallest(encoding: Encoding) -> usize {
                $integer::smallest(encoding)
            }
            fn read(reader: &mut Reader, _: Encoding) -> Result<Self, DecodeError> {
                Ok($newtype::from(reader.$integer()?))
            }
            fn write(&self, writer: &mut Writer, _: Encoding) -> Result<(), EncodeError> {
                writer.$integer($integer::from(*self));
                Ok(())
            }
            #[cfg(feature = "inspect")]
            fn inspect(&self, _: Encoding) -> crate::Value {
                crate::Value::Integer(i64::from($integer::from(*self)))
            }
        }
    )*};
}

macro_rules! newtype_conversions {
    ($($newtype:ident($integer:ident),)*) => {$(
        impl From<$integer> for $newtype {
            fn from(value: $integer) -> Self {
                Self(value)
            }
        }
        impl From<$newtype> for $integer {
            fn from(value: $newtype) -> Self {
                value.0
            }
        }
    )*};
}

newtype_conversions! {
    NodeId(i32), LeaderEpoch(i32), GenerationId(i32), ProducerId(i64), ProducerEpoch(i16),
}
newtype_field! {
    NodeId(i32), LeaderEpoch(i32), GenerationId(i32), ProducerId(i64), ProducerEpoch(i16), ErrorCode(i16),
}

impl Field for bool {
    fn smallest(_: Encoding) -> usize {
        1
    }
    fn read(reader: &mut Reader, _: Encoding) -> Result<Self, DecodeError> {
        Ok(reader.u8()? != 0)
    }
    fn write(&self, writer: &mut Writer, _: Encoding) -> Result<(), EncodeError> {
        writer.u8(u8::from(*self));
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        crate::Value::Boolean(*self)
    }
}

impl Field for TopicId {
    fn smallest(_: Encoding) -> usize {
        16
    }
    fn read(reader: &mut Reader, _: Encoding) -> Result<Self, DecodeError> {
        Ok(TopicId(reader.array()?))
    }
    fn write(&self, writer: &mut Writer, _: Encoding) -> Result<(), EncodeError> {
        writer.slice(&self.0);
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        crate::Value::Text(self.to_string())
    }
}

impl Field for Option<String> {
    fn smallest(encoding: Encoding) -> usize {
        if encoding.flexible { 1 } else { 2 }
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        match reader.string_length(encoding.flexible)? {
            Some(length) => Ok(Some(reader.text(length)?)),
            None => Ok(None),
        }
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.string_length(self.as_ref().map(String::len), encoding.flexible)?;
        writer.slice(self.as_ref().map_or(&[], |text| text.as_bytes()));
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        self.clone().map_or(crate::Value::Null, crate::Value::Text)
    }
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

impl Field for Option<Bytes> {
    fn smallest(encoding: Encoding) -> usize {
        if encoding.flexible { 1 } else { 4 }
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        match reader.long_length(encoding.flexible)? {
            Some(length) => Ok(Some(reader.bytes(length)?)),
            None => Ok(None),
        }
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.long_length(self.as_ref().map(Bytes::len), encoding.flexible)?;
        if let Some(bytes) = self {
            writer.shared(bytes);
        }
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        self.clone().map_or(crate::Value::Null, crate::Value::Bytes)
    }
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

impl<T: Field> Field for Option<Vec<T>> {
    fn smallest(encoding: Encoding) -> usize {
        if encoding.flexible { 1 } else { 4 }
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        let Some(count) = reader.long_length(encoding.flexible)? else { return Ok(None) };
        let mut elements = reader.vector(count, T::smallest(encoding))?;
        for _ in 0..count {
            elements.push(T::read(reader, encoding)?);
        }
        Ok(Some(elements))
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.long_length(self.as_ref().map(Vec::len), encoding.flexible)?;
        self.iter().flatten().try_for_each(|element| element.write(writer, encoding))
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, encoding: Encoding) -> crate::Value {
        let Some(elements) = self else { return crate::Value::Null };
        crate::Value::Array(elements.iter().map(|element| element.inspect(encoding)).collect())
    }
    fn carried_by(&self, versions: VersionRange) -> VersionRange {
        self.iter().flatten().fold(versions, |versions, element| element.carried_by(versions))
    }
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

impl Field for String {
    fn smallest(encoding: Encoding) -> usize {
        Option::<Self>::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        let position = reader.position();
        Option::<Self>::read(reader, encoding)?.ok_or(DecodeError::UnexpectedNull { position })
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.string_length(Some(self.len()), encoding.flexible)?;
        writer.slice(self.as_bytes());
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        crate::Value::Text(self.clone())
    }
}

/// A boxed string is a third smaller than one that can grow, which decides where a message holds tens of thousands.
impl Field for Box<str> {
    fn smallest(encoding: Encoding) -> usize {
        String::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Ok(String::read(reader, encoding)?.into_boxed_str())
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.string_length(Some(self.len()), encoding.flexible)?;
        writer.slice(self.as_bytes());
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        crate::Value::Text(self.to_string())
    }
}

impl Field for Option<Box<str>> {
    fn smallest(encoding: Encoding) -> usize {
        Option::<String>::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Ok(Option::<String>::read(reader, encoding)?.map(String::into_boxed_str))
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.string_length(self.as_ref().map(|text| text.len()), encoding.flexible)?;
        writer.slice(self.as_ref().map_or(&[], |text| text.as_bytes()));
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        self.as_ref().map_or(crate::Value::Null, |text| crate::Value::Text(text.to_string()))
    }
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

/// What is seldom there takes least where it is not.
impl<T> Field for Option<Box<T>>
where
    Option<T>: Field,
    T: Clone,
{
    fn smallest(encoding: Encoding) -> usize {
        Option::<T>::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        let Some(value) = Option::<T>::read(reader, encoding)? else { return Ok(None) };
        reader.charge(size_of::<T>())?;
        Ok(Some(Box::new(value)))
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        self.as_deref().cloned().write(writer, encoding)
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, encoding: Encoding) -> crate::Value {
        Field::inspect(&self.as_deref().cloned(), encoding)
    }
    fn carried_by(&self, versions: VersionRange) -> VersionRange {
        self.as_deref().cloned().carried_by(versions)
    }
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

impl Field for Bytes {
    fn smallest(encoding: Encoding) -> usize {
        Option::<Self>::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        let position = reader.position();
        Option::<Self>::read(reader, encoding)?.ok_or(DecodeError::UnexpectedNull { position })
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.long_length(Some(self.len()), encoding.flexible)?;
        writer.shared(self);
        Ok(())
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, _: Encoding) -> crate::Value {
        crate::Value::Bytes(self.clone())
    }
}

impl<T: Field> Field for Vec<T> {
    fn smallest(encoding: Encoding) -> usize {
        Option::<Self>::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        let position = reader.position();
        Option::<Self>::read(reader, encoding)?.ok_or(DecodeError::UnexpectedNull { position })
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.long_length(Some(self.len()), encoding.flexible)?;
        self.iter().try_for_each(|element| element.write(writer, encoding))
    }
    fn carried_by(&self, versions: VersionRange) -> VersionRange {
        self.iter().fold(versions, |versions, element| element.carried_by(versions))
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, encoding: Encoding) -> crate::Value {
        crate::Value::Array(self.iter().map(|element| element.inspect(encoding)).collect())
    }
}

/// A boxed slice is a third smaller than a vector, which decides where a message holds tens of thousands of short ones.
impl<T: Field> Field for Box<[T]> {
    fn smallest(encoding: Encoding) -> usize {
        Vec::<T>::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Ok(Vec::read(reader, encoding)?.into_boxed_slice())
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        writer.long_length(Some(self.len()), encoding.flexible)?;
        self.iter().try_for_each(|element| element.write(writer, encoding))
    }
    fn carried_by(&self, versions: VersionRange) -> VersionRange {
        self.iter().fold(versions, |versions, element| element.carried_by(versions))
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, encoding: Encoding) -> crate::Value {
        crate::Value::Array(self.iter().map(|element| element.inspect(encoding)).collect())
    }
}

/// Bytes that hold or may hold a secret: `Debug` prints how many, never which.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(Bytes);

impl From<Bytes> for SecretBytes {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<SecretBytes> for Bytes {
    fn from(secret: SecretBytes) -> Self {
        secret.0
    }
}

impl std::ops::Deref for SecretBytes {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "[{} bytes not shown]", self.0.len())
    }
}

impl Field for SecretBytes {
    fn smallest(encoding: Encoding) -> usize {
        Bytes::smallest(encoding)
    }
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Bytes::read(reader, encoding).map(Self)
    }
    fn write(&self, writer: &mut Writer, encoding: Encoding) -> Result<(), EncodeError> {
        self.0.write(writer, encoding)
    }
    #[cfg(feature = "inspect")]
    fn inspect(&self, encoding: Encoding) -> crate::Value {
        self.0.inspect(encoding)
    }
}
