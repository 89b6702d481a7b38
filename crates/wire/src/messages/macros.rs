//! The two macros that make a message a table.
//!
//! ```text
//! wire_struct! {
//!     /// What it says.
//!     pub struct JoinGroupRequest {
//!         /// The group.
//!         group_id: String [0..],
//!         /// Absent: a dynamic member.
//!         group_instance_id: Option<String> [5..],
//!         /// In milliseconds.
//!         rebalance_timeout_ms: i32 [1..; default -1; ignorable],
//!     }
//!     tagged { /// .. ; 0 => cluster_id: Option<String> [12..] }      (only where the schema has tagged fields)
//! }
//! message! { JoinGroupRequest => JoinGroupResponse: JoinGroup, 0..=9, flexible 6 }
//! ```
//!
//! In the brackets: the versions that carry the field; then what differs from the usual:
//! `nullable 1..` (an `Option` that must not be null in the other versions), `default X` (its value where the version
//! does not carry it), `ignorable` (may be dropped silently where the version cannot carry it; without it, encoding a
//! value other than the default is an error, and [`Request::usable_versions`](crate::Request::usable_versions) leaves
//! such versions out).

/// Declares a structure of the protocol, and how it is read and written.
macro_rules! wire_struct {
    (
        $(#[$struct_meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty [$versions:expr $(; $($attributes:tt)*)?], )*
        }
        $(tagged {
            $( $(#[$tag_meta:meta])* $tag:literal => $tag_field:ident: $tag_type:ty [$tag_versions:expr $(; $($tag_attributes:tt)*)?], )*
        })?
    ) => {
        $(#[$struct_meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::exhaustive_structs, reason = "a message gains fields with the protocol only; fill in with ..Default::default()")]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
            $($( $(#[$tag_meta])* pub $tag_field: $tag_type, )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $field: $crate::messages::macros::default_of!($($($attributes)*)?), )*
                    $($( $tag_field: $crate::messages::macros::default_of!($($($tag_attributes)*)?), )*)?
                }
            }
        }

        impl $crate::Field for $name {
            #[allow(unused_variables, unused_mut, reason = "not every structure has fields of every kind")]
            fn smallest(encoding: $crate::Encoding) -> usize {
                let mut smallest = usize::from(encoding.flexible);
                $( if ($versions).contains(&encoding.version) {
                    smallest += <$type as $crate::Field>::smallest(encoding);
                } )*
                smallest
            }

            #[allow(unused_variables, unused_mut, reason = "not every structure has fields of every kind")]
            fn read(reader: &mut $crate::Reader, encoding: $crate::Encoding) -> Result<Self, $crate::DecodeError> {
                let mut value = Self::default();
                $( if ($versions).contains(&encoding.version) {
                    let position = reader.position();
                    value.$field = <$type as $crate::Field>::read(reader, encoding)?;
                    if value.$field.is_null() && !$crate::messages::macros::nullable!(encoding.version; $($($attributes)*)?) {
                        return Err($crate::DecodeError::UnexpectedNull { position });
                    }
                } )*
                if encoding.flexible {
                    reader.tagged_fields(|tag, reader| match tag {
                        $($( $tag if ($tag_versions).contains(&encoding.version) => {
                            value.$tag_field = <$tag_type as $crate::Field>::read(reader, encoding)?;
                            Ok(true)
                        } )*)?
                        _ => Ok(false),
                    })?;
                }
                Ok(value)
            }

            #[allow(unused_variables, unused_mut, reason = "not every structure has fields of every kind")]
            fn write(&self, writer: &mut $crate::Writer, encoding: $crate::Encoding) -> Result<(), $crate::EncodeError> {
                $( if ($versions).contains(&encoding.version) {
                    if self.$field.is_null() && !$crate::messages::macros::nullable!(encoding.version; $($($attributes)*)?) {
                        return Err($crate::EncodeError::NullNotInVersion {
                            message: stringify!($name), field: stringify!($field), version: encoding.version,
                        });
                    }
                    $crate::Field::write(&self.$field, writer, encoding)?;
                } else if !$crate::messages::macros::ignorable!($($($attributes)*)?)
                    && self.$field != $crate::messages::macros::typed_default::<$type>($crate::messages::macros::default_of!($($($attributes)*)?))
                {
                    return Err($crate::EncodeError::FieldNotInVersion {
                        message: stringify!($name), field: stringify!($field), version: encoding.version,
                    });
                } )*
                $($( if !($tag_versions).contains(&encoding.version)
                    && !$crate::messages::macros::ignorable!($($($tag_attributes)*)?)
                    && self.$tag_field != $crate::messages::macros::typed_default::<$tag_type>($crate::messages::macros::default_of!($($($tag_attributes)*)?))
                {
                    return Err($crate::EncodeError::FieldNotInVersion {
                        message: stringify!($name), field: stringify!($tag_field), version: encoding.version,
                    });
                } )*)?
                if encoding.flexible {
                    let mut tags: Vec<(u32, $crate::Writer)> = Vec::new();
                    $($( if ($tag_versions).contains(&encoding.version)
                        && self.$tag_field != $crate::messages::macros::typed_default::<$tag_type>($crate::messages::macros::default_of!($($($tag_attributes)*)?))
                    {
                        let mut value = $crate::Writer::new();
                        $crate::Field::write(&self.$tag_field, &mut value, encoding)?;
                        tags.push(($tag, value));
                    } )*)?
                    $crate::messages::macros::write_tagged(writer, tags);
                }
                Ok(())
            }

            fn carried_by(&self, versions: $crate::VersionRange) -> $crate::VersionRange {
                $( let versions = $crate::messages::macros::narrow(
                    &self.$field,
                    versions,
                    $crate::VersionRange::from($versions),
                    $crate::messages::macros::nullable_versions!($versions; $($($attributes)*)?),
                    $crate::messages::macros::ignorable!($($($attributes)*)?)
                        || self.$field == $crate::messages::macros::typed_default::<$type>($crate::messages::macros::default_of!($($($attributes)*)?)),
                ); )*
                $($( let versions = $crate::messages::macros::narrow(
                    &self.$tag_field,
                    versions,
                    $crate::VersionRange::from($tag_versions),
                    $crate::VersionRange::from($tag_versions),
                    $crate::messages::macros::ignorable!($($($tag_attributes)*)?)
                        || self.$tag_field == $crate::messages::macros::typed_default::<$tag_type>($crate::messages::macros::default_of!($($($tag_attributes)*)?)),
                ); )*)?
                versions
            }

            #[cfg(feature = "inspect")]
            #[allow(unused_variables, unused_mut, reason = "not every structure has fields of every kind")]
            fn inspect(&self, encoding: $crate::Encoding) -> $crate::Value {
                let mut fields: Vec<(&'static str, $crate::Value)> = Vec::new();
                $( if ($versions).contains(&encoding.version) {
                    fields.push((stringify!($field), $crate::Field::inspect(&self.$field, encoding)));
                } )*
                $($( if ($tag_versions).contains(&encoding.version)
                    && self.$tag_field != $crate::messages::macros::typed_default::<$tag_type>($crate::messages::macros::default_of!($($($tag_attributes)*)?))
                {
                    fields.push((stringify!($tag_field), $crate::Field::inspect(&self.$tag_field, encoding)));
                } )*)?
                $crate::Value::Struct(fields)
            }
        }
    };
}

/// Declares the body of a request or a response: its API, versions and, for a request, its response.
macro_rules! message {
    ($request:ident => $response:ident: $api:ident, $versions:expr, flexible $flexible:expr) => {
        message!(@body $request, $api, $versions, $flexible);
        message!(@body $response, $api, $versions, $flexible);
        impl $crate::Request for $request {
            type Response = $response;

            fn usable_versions(&self) -> $crate::VersionRange {
                $crate::Field::carried_by(self, <Self as $crate::Message>::VERSIONS)
            }
        }
    };
    // For a request whose usable versions depend on what it holds: it implements `Request` itself.
    ($request:ident, $response:ident: $api:ident, $versions:expr, flexible $flexible:expr) => {
        message!(@body $request, $api, $versions, $flexible);
        message!(@body $response, $api, $versions, $flexible);
    };
    (@body $name:ident, $api:ident, $versions:expr, $flexible:expr) => {
        impl $crate::Message for $name {
            const NAME: &'static str = stringify!($name);
            const API_KEY: $crate::ApiKey = $crate::ApiKey::$api;
            const VERSIONS: $crate::VersionRange = $crate::VersionRange::new(*$versions.start(), *$versions.end());

            fn encoding(version: i16) -> $crate::Encoding {
                $crate::Encoding::new(version, version >= $flexible)
            }
            fn read_body(reader: &mut $crate::Reader, version: i16) -> Result<Self, $crate::DecodeError> {
                $crate::Field::read(reader, Self::encoding(version))
            }
            fn write_body(&self, writer: &mut $crate::Writer, version: i16) -> Result<(), $crate::EncodeError> {
                $crate::Field::write(self, writer, Self::encoding(version))
            }
        }
    };
}

/// Reads and writes a structure that stands compactly in memory as the `Table` beside it, which has its fields as they
/// stand on the wire. What is `boxed` is charged for where it is there.
macro_rules! field_as_table {
    ($name:ident as $table:ident $(, boxed $field:ident: $boxed:ty)?) => {
        impl $crate::Field for $name {
            fn smallest(encoding: $crate::Encoding) -> usize {
                <$table as $crate::Field>::smallest(encoding)
            }

            fn read(reader: &mut $crate::Reader, encoding: $crate::Encoding) -> Result<Self, $crate::DecodeError> {
                let value = Self::from(<$table as $crate::Field>::read(reader, encoding)?);
                $( if value.$field.is_some() {
                    reader.charge(size_of::<$boxed>())?;
                } )?
                Ok(value)
            }

            fn write(&self, writer: &mut $crate::Writer, encoding: $crate::Encoding) -> Result<(), $crate::EncodeError> {
                $crate::Field::write(&$table::from(self), writer, encoding)
            }

            fn carried_by(&self, versions: $crate::VersionRange) -> $crate::VersionRange {
                $crate::Field::carried_by(&$table::from(self), versions)
            }

            #[cfg(feature = "inspect")]
            fn inspect(&self, encoding: $crate::Encoding) -> $crate::Value {
                $crate::Field::inspect(&$table::from(self), encoding)
            }
        }
    };
}

/// A field's value where nothing was said.
macro_rules! default_of {
    () => { Default::default() };
    (default $value:expr $(; $($rest:tt)*)?) => { $value };
    (ignorable $(; $($rest:tt)*)?) => { $crate::messages::macros::default_of!($($($rest)*)?) };
    (nullable $versions:expr $(; $($rest:tt)*)?) => { $crate::messages::macros::default_of!($($($rest)*)?) };
}

/// Whether a field may be dropped silently.
macro_rules! ignorable {
    () => { false };
    (ignorable $(; $($rest:tt)*)?) => { true };
    (default $value:expr $(; $($rest:tt)*)?) => { $crate::messages::macros::ignorable!($($($rest)*)?) };
    (nullable $versions:expr $(; $($rest:tt)*)?) => { $crate::messages::macros::ignorable!($($($rest)*)?) };
}

/// Whether a field may be null in a version.
macro_rules! nullable {
    ($version:expr;) => { true };
    ($version:expr; nullable $versions:expr $(; $($rest:tt)*)?) => { ($versions).contains(&$version) };
    ($version:expr; ignorable $(; $($rest:tt)*)?) => { $crate::messages::macros::nullable!($version; $($($rest)*)?) };
    ($version:expr; default $value:expr $(; $($rest:tt)*)?) => { $crate::messages::macros::nullable!($version; $($($rest)*)?) };
}

/// The versions in which a field may be null.
macro_rules! nullable_versions {
    ($all:expr;) => { $crate::VersionRange::from($all) };
    ($all:expr; nullable $versions:expr $(; $($rest:tt)*)?) => { $crate::VersionRange::from($versions) };
    ($all:expr; ignorable $(; $($rest:tt)*)?) => { $crate::messages::macros::nullable_versions!($all; $($($rest)*)?) };
    ($all:expr; default $value:expr $(; $($rest:tt)*)?) => { $crate::messages::macros::nullable_versions!($all; $($($rest)*)?) };
}

pub(crate) use {default_of, field_as_table, ignorable, message, nullable, nullable_versions, wire_struct};

use crate::{Field, VersionRange, Writer};

/// Which of `versions` can carry a field's value: those that have the field, unless it may be `left_out`; those that
/// have null where it is null; and those that can carry what is inside it.
pub(crate) fn narrow<T: Field>(
    field: &T,
    versions: VersionRange,
    present: VersionRange,
    nullable: VersionRange,
    left_out: bool,
) -> VersionRange {
    let versions = if left_out { versions } else { versions.intersect(present) };
    // Fields became nullable as the protocol grew, none ceased to be: it is always the lower versions that lack null.
    let versions =
        if field.is_null() && present.min < nullable.min { versions.at_least(nullable.min) } else { versions };
    field.carried_by(versions)
}

/// Gives a default expression its field's type.
pub(crate) fn typed_default<T>(value: T) -> T {
    value
}

/// Writes tagged fields in the order given, which is that of their tags.
pub(crate) fn write_tagged(writer: &mut Writer, tags: Vec<(u32, Writer)>) {
    writer.unsigned_varint(tags.len() as u32);
    for (tag, value) in tags {
        writer.unsigned_varint(tag);
        writer.unsigned_varint(value.len() as u32);
        writer.append(value);
    }
}
