//! A record as plain data: what tests send, expect and compare, whoever wrote or read it.

/// One record. Equality is byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainRecord {
    /// Its partition; when producing, `None` leaves it to the partitioner.
    pub partition: Option<i32>,
    /// Its offset, `None` before it is produced.
    pub offset: Option<i64>,
    /// Milliseconds since 1970; when producing, `None` is now.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl PlainRecord {
    /// A record of a key and a value, without headers, for any partition, at whatever time it is sent.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// For this partition.
    pub fn to_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With this time.
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// With one more header.
    pub fn header(mut self, key: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((key.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    /// The same without what a broker decides: offset and time.
    pub fn content(&self) -> Self {
        Self { offset: None, timestamp_ms: None, ..self.clone() }
    }
}

/// Records of many shapes, the same for the same seed: nulls, empty and repeated fields, compressible and random bytes of `sizes`.
pub fn assorted(seed: u64, partition: i32, sizes: &[usize]) -> Vec<PlainRecord> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut records = Vec::new();
    for (i, &size) in sizes.iter().enumerate() {
        let text = b"the sister of Kafka ".iter().copied().cycle().take(size).collect::<Vec<_>>();
        let noise = std::iter::repeat_with(|| random.u8(..)).take(size).collect::<Vec<_>>();
        let timestamp = 1_700_000_000_000 + i as i64;
        records.push(PlainRecord::new(format!("key-{i}"), text).to_partition(partition).at(timestamp));
        records.push(
            PlainRecord::new(noise.get(..size.min(40)).unwrap_or_default(), noise.clone())
                .to_partition(partition)
                .at(timestamp)
                .header("trace", Some(&noise[..size.min(16)]))
                .header("trace", None)
                .header("größe", Some(size.to_string().as_bytes())),
        );
    }
    records.push(
        PlainRecord { key: None, value: Some(b"no key".to_vec()), ..PlainRecord::default() }
            .to_partition(partition)
            .at(1),
    );
    records
        .push(PlainRecord { key: Some(b"tombstone".to_vec()), ..PlainRecord::default() }.to_partition(partition).at(0));
    records.push(PlainRecord::default().to_partition(partition).at(2));
    records.push(PlainRecord::new("", "").to_partition(partition).at(3).header("", Some(b"")));
    records
}
