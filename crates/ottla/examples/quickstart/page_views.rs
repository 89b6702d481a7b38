//! Page views: what is written, and how it is counted when it is read.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla::{Batch, CorruptRecord};

/// How many pages there are to be viewed.
const PAGES: usize = 200;
const CHAPTERS: [&str; 8] =
    ["arrest", "cathedral", "lawyer", "painter", "merchant", "thrasher", "interrogation", "end"];

/// One view of a page.
pub(crate) struct PageView {
    pub(crate) page: String,
    pub(crate) json: String,
}

impl PageView {
    /// The view of that number. Some pages are viewed more than others.
    pub(crate) fn new(id: u64, random: &mut fastrand::Rng) -> Self {
        let popularity = random.f64() * random.f64();
        let page = page_name((popularity * PAGES as f64) as usize);
        let (user, milliseconds) = (random.u32(10_000..100_000), random.u32(100..1_000));
        let json = format!(
            r#"{{"id":{id},"page":"{page}","user":{user},"milliseconds":{milliseconds},"referrer":"/castle"}}"#
        );
        Self { page, json }
    }
}

fn page_name(index: usize) -> String {
    format!("/trial/{}/{}", CHAPTERS[index % CHAPTERS.len()], index / CHAPTERS.len() + 1)
}

/// The number of the view that a record's value tells of.
fn id_of(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(br#"{"id":"#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// What all members have counted together.
pub(crate) struct Tally(Mutex<Counts>);

pub(crate) struct Counts {
    /// Records read, those that were read before included.
    pub(crate) consumed: u64,
    /// Records that were read before.
    pub(crate) duplicates: u64,
    /// Records that are none of ours.
    pub(crate) strange: u64,
    /// Different views, by page.
    pub(crate) views: std::collections::BTreeMap<String, u64>,
    pub(crate) distinct: u64,
    seen: Vec<bool>,
}

impl Tally {
    pub(crate) fn new(records: u64) -> Self {
        let seen = vec![false; usize::try_from(records).unwrap_or(usize::MAX)];
        let views = std::collections::BTreeMap::new();
        Self(Mutex::new(Counts { consumed: 0, duplicates: 0, strange: 0, views, distinct: 0, seen }))
    }

    /// Counts the records of a batch. They are borrowed from it: nothing is copied but the name of a page seen first.
    pub(crate) fn count(&self, batch: &Batch) -> Result<(), CorruptRecord> {
        let mut counts = self.counts();
        for record in batch.records() {
            let record = record?;
            counts.count(record.key().unwrap_or_default(), record.value().unwrap_or_default());
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn count(&mut self, key: &[u8], value: &[u8]) {
        self.consumed += 1;
        let id = id_of(value).and_then(|id| usize::try_from(id).ok());
        let (Some(seen), Ok(page)) = (id.and_then(|id| self.seen.get_mut(id)), std::str::from_utf8(key)) else {
            self.strange += 1;
            return;
        };
        if std::mem::replace(seen, true) {
            self.duplicates += 1;
            return;
        }
        self.distinct += 1;
        match self.views.get_mut(page) {
            Some(views) => *views += 1,
            None => {
                self.views.insert(page.to_owned(), 1);
            }
        }
    }
}
