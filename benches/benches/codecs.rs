//! Each codec by itself, on records as they stand in a batch. Throughput is in uncompressed bytes.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla_wire::compression::{Compression, CompressionLevel, Compressor, Decompressor};

fn codecs(criterion: &mut Criterion) {
    let levels = [
        ("gzip", CompressionLevel::from(Compression::Gzip)),
        ("snappy", CompressionLevel::from(Compression::Snappy)),
        ("lz4", CompressionLevel::from(Compression::Lz4)),
        ("zstd", CompressionLevel::from(Compression::Zstd)),
        ("zstd-1", CompressionLevel::new(Compression::Zstd, 1).expect("a level")),
    ];
    for (name, level) in levels {
        let mut group = criterion.benchmark_group(name);
        for kibibytes in [16, 1024] {
            let records = records(kibibytes << 10);
            group.throughput(Throughput::Bytes(records.len() as u64));
            let mut compressor = Compressor::new(level);
            let mut compressed = Vec::new();
            group.bench_function(BenchmarkId::new("compress", kibibytes), |bencher| {
                bencher.iter(|| {
                    compressed.clear();
                    compressor.compress_into(black_box(&records), &mut compressed).expect("compressible");
                });
            });
            compressed.clear();
            compressor.compress_into(&records, &mut compressed).expect("compressible");
            let mut decompressor = Decompressor::default();
            let mut output = Vec::new();
            group.bench_function(BenchmarkId::new("decompress", kibibytes), |bencher| {
                bencher.iter(|| {
                    let length = decompressor.decompress_into(level.compression(), black_box(&compressed), &mut output);
                    assert_eq!(length, Ok(records.len()));
                });
            });
        }
        group.finish();
    }
}

/// Page views in JSON, each behind a few bytes of binary.
fn records(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(11);
    let mut records = Vec::with_capacity(bytes + 256);
    while records.len() < bytes {
        records.extend_from_slice(&random.u32(..).to_be_bytes());
        let (page, user, milliseconds) = (random.u32(..500), random.u32(..100_000), random.u32(..900));
        let view = format!(
            "{{\"page\":\"/articles/{page}\",\"user\":\"user-{user}\",\"load_ms\":{milliseconds},\"status\":200}}"
        );
        records.extend_from_slice(view.as_bytes());
    }
    records.truncate(bytes);
    records
}

criterion_group!(benches, codecs);
criterion_main!(benches);
