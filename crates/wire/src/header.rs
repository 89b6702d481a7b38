//! The headers before every request and response.
//!
//! Request headers have version 2 where the request is flexible, else 1; response headers 1 or 0. An ApiVersions
//! response has header 0 always, because the client cannot know yet what the broker speaks (KIP-511).

use bytes::Bytes;

use crate::{ApiKey, DecodeError, EncodeError, Encoding, Field, Frame, Message, Reader, Request, Writer};

/// What stands before a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the protocol's own header, unchanged since version 2")]
pub struct RequestHeader {
    /// The API's number; it may be one that is not known here.
    pub api_key: i16,
    /// The version of the request and of its answer.
    pub api_version: i16,
    /// Given back in the answer.
    pub correlation_id: i32,
    /// Who is asking, in the client's own words (`client.id`).
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads a header. `flexible` tells whether it is of version 2.
    pub fn read(reader: &mut Reader, flexible: bool) -> Result<Self, DecodeError> {
        let mut header = Self::read_fixed(reader)?;
        // The client id is never compact, so that a broker can read it before it knows the version.
        header.client_id = Field::read(reader, Encoding::new(1, false))?;
        if flexible {
            reader.skip_tagged_fields()?;
        }
        Ok(header)
    }

    /// Reads the first three fields, by which a broker finds out how to read the rest. `client_id` stays `None`.
    pub fn read_fixed(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { api_key: reader.i16()?, api_version: reader.i16()?, correlation_id: reader.i32()?, client_id: None })
    }

    /// Writes a header. `flexible` tells whether it is to be of version 2.
    pub fn write(&self, writer: &mut Writer, flexible: bool) -> Result<(), EncodeError> {
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        self.client_id.write(writer, Encoding::new(1, false))?;
        if flexible {
            writer.unsigned_varint(0);
        }
        Ok(())
    }
}

/// What stands before a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the protocol's own header, unchanged since version 1")]
pub struct ResponseHeader {
    /// That of the request that is answered.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads a header. `flexible` tells whether it is of version 1.
    pub fn read(reader: &mut Reader, flexible: bool) -> Result<Self, DecodeError> {
        let correlation_id = reader.i32()?;
        if flexible {
            reader.skip_tagged_fields()?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes a header. `flexible` tells whether it is to be of version 1.
    pub fn write(&self, writer: &mut Writer, flexible: bool) {
        writer.i32(self.correlation_id);
        if flexible {
            writer.unsigned_varint(0);
        }
    }

    /// Whether the response to version `version` of `M`'s API has the flexible header.
    pub fn is_flexible<M: Message>(version: i16) -> bool {
        M::API_KEY != ApiKey::ApiVersions && M::encoding(version).flexible
    }
}

/// A whole frame that asks `request` in `version`.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Frame, EncodeError> {
    let header = RequestHeader {
        api_key: R::API_KEY.number(),
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    let mut writer = Writer::new();
    header.write(&mut writer, R::encoding(version).flexible)?;
    request.encode(&mut writer, version)?;
    into_frame(writer)
}

/// A whole frame that answers with `response`.
pub fn encode_response<M: Message>(response: &M, version: i16, correlation_id: i32) -> Result<Frame, EncodeError> {
    let mut writer = Writer::new();
    ResponseHeader { correlation_id }.write(&mut writer, ResponseHeader::is_flexible::<M>(version));
    response.encode(&mut writer, version)?;
    into_frame(writer)
}

/// Reads the frame (without its length) that answers a request in `version`: its header, then its body.
pub fn decode_response<M: Message>(frame: Bytes, version: i16) -> Result<(ResponseHeader, M), DecodeError> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::read(&mut reader, ResponseHeader::is_flexible::<M>(version))?;
    Ok((header, M::decode(&mut reader, version)?))
}

fn into_frame(writer: Writer) -> Result<Frame, EncodeError> {
    let length = writer.len();
    let prefix = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
    let mut segments = writer.into_segments();
    // The length goes in front of the first segment, which holds little more than the header.
    let mut first = bytes::BytesMut::with_capacity(4 + segments.first().map_or(0, Bytes::len));
    first.extend_from_slice(&prefix.to_be_bytes());
    match segments.first_mut() {
        Some(segment) => {
            first.extend_from_slice(segment);
            *segment = first.freeze();
        }
        None => segments.push(first.freeze()),
    }
    Ok(Frame { segments, total_bytes: 4 + length })
}
