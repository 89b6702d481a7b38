//! The two checksums of record batches, each behind one function.

/// CRC-32C (Castagnoli), of magic 2.
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// CRC-32 (that of gzip), of magic 0 and 1.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
