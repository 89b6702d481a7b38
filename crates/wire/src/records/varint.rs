//! Zig-zag variable-length integers at a position of a slice, with one and two bytes on the fast path.
//!
//! Lengths of up to 63 take one byte, of up to 8191 two; everything longer, and every error, is out of line.
#![allow(clippy::inline_always, reason = "measured: a call for a record costs as much as the record")]

use super::RecordFault;

/// A zig-zag encoded integer of up to five bytes; moves `position` behind it.
#[inline(always)]
pub(super) fn varint(bytes: &[u8], position: &mut usize) -> Result<i32, RecordFault> {
    if let Some(value) = short(bytes, position) {
        return Ok(zig_zag(value));
    }
    // The position is passed by value: one that the caller keeps in a register must not have an address.
    let (value, behind) = unsigned(bytes, *position, 5)?;
    *position = behind;
    // The fifth byte holds the last four bits; Java drops what is beyond them.
    Ok(zig_zag(value as u32))
}

/// A zig-zag encoded integer of up to ten bytes; moves `position` behind it.
#[inline(always)]
pub(super) fn varlong(bytes: &[u8], position: &mut usize) -> Result<i64, RecordFault> {
    if let Some(value) = short(bytes, position) {
        return Ok(i64::from(zig_zag(value)));
    }
    let (value, behind) = unsigned(bytes, *position, 10)?;
    *position = behind;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// A length and as many bytes; null where the length is negative.
#[inline(always)]
pub(super) fn sized<'b>(bytes: &'b [u8], position: &mut usize) -> Result<Option<&'b [u8]>, RecordFault> {
    let length = varint(bytes, position)?;
    if length < 0 {
        return Ok(None);
    }
    let end = *position + length as usize;
    let sized = bytes.get(*position..end).ok_or(RecordFault::Truncated)?;
    *position = end;
    Ok(Some(sized))
}

/// Appends a zig-zag encoded integer.
pub(super) fn put_varint(output: &mut Vec<u8>, value: i32) {
    put_unsigned(output, u64::from((value << 1 ^ value >> 31) as u32));
}

/// Appends a zig-zag encoded integer of 64 bits.
pub(super) fn put_varlong(output: &mut Vec<u8>, value: i64) {
    put_unsigned(output, (value << 1 ^ value >> 63) as u64);
}

/// How many bytes the integer takes.
pub(super) fn varint_size(value: i32) -> usize {
    unsigned_size(u64::from((value << 1 ^ value >> 31) as u32))
}

/// How many bytes the integer takes.
pub(super) fn varlong_size(value: i64) -> usize {
    unsigned_size((value << 1 ^ value >> 63) as u64)
}

/// An integer of one or two bytes.
#[inline(always)]
fn short(bytes: &[u8], position: &mut usize) -> Option<u32> {
    let first = u32::from(*bytes.get(*position)?);
    if first < 0x80 {
        *position += 1;
        return Some(first);
    }
    let second = u32::from(*bytes.get(*position + 1)?);
    if second < 0x80 {
        *position += 2;
        return Some(first & 0x7f | second << 7);
    }
    None
}

#[inline(always)]
fn zig_zag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// An integer of up to `most` bytes, and the position behind it.
#[inline(never)]
fn unsigned(bytes: &[u8], position: usize, most: usize) -> Result<(u64, usize), RecordFault> {
    let rest = bytes.get(position..).unwrap_or_default();
    let mut value = 0u64;
    for (index, byte) in rest.iter().take(most).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, position + index + 1));
        }
    }
    Err(if rest.len() < most { RecordFault::Truncated } else { RecordFault::MalformedVarint })
}

fn put_unsigned(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

fn unsigned_size(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}
