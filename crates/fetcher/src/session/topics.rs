//! The topics of a session: each in a slot, so that a partition is known by two numbers, and found by whichever of
//! its names a version has (KIP-516).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::TopicId;

/// A topic as it is told apart: by its name, and by its id where that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicOf<'p> {
    pub(crate) name: &'p Arc<str>,
    pub(crate) id: Option<TopicId>,
}

/// A topic's place in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicSlot(u32);

impl TopicSlot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The topics of a session's partitions.
#[derive(Debug, Default)]
pub(super) struct Topics {
    slots: Vec<Option<Topic>>,
    free: Vec<TopicSlot>,
    pub(super) names: BTreeMap<Arc<str>, TopicSlot>,
    pub(super) ids: BTreeMap<TopicId, TopicSlot>,
    pub(super) name_bytes: usize,
    /// The slot that was asked for last: mostly it is the next one as well.
    last: TopicSlot,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) id: Option<TopicId>,
    partitions: usize,
}

impl Topics {
    pub(super) fn get(&self, slot: TopicSlot) -> Option<&Topic> {
        self.slots.get(slot.index())?.as_ref()
    }

    fn get_mut(&mut self, slot: TopicSlot) -> Option<&mut Topic> {
        self.slots.get_mut(slot.index())?.as_mut()
    }

    /// The topic's slot, and whether it stood there with another id before.
    pub(super) fn slot(&mut self, TopicOf { name, id }: TopicOf<'_>) -> (TopicSlot, bool) {
        let is_last = self.get(self.last).is_some_and(|topic| Arc::ptr_eq(&topic.name, name));
        let known = if is_last { Some(self.last) } else { self.names.get(name).copied() };
        let Some(slot) = known else { return (self.add(name, id), false) };
        self.last = slot;
        let Some(topic) = self.get_mut(slot) else { return (slot, false) };
        let before = std::mem::replace(&mut topic.id, id);
        if before == id {
            return (slot, false);
        }
        if let Some(before) = before {
            self.ids.remove(&before);
        }
        self.ids.extend(id.map(|id| (id, slot)));
        (slot, true)
    }

    fn add(&mut self, name: &Arc<str>, id: Option<TopicId>) -> TopicSlot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            TopicSlot(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        if let Some(topic) = self.slots.get_mut(slot.index()) {
            *topic = Some(Topic { name: Arc::clone(name), id, partitions: 0 });
        }
        self.names.insert(Arc::clone(name), slot);
        self.ids.extend(id.map(|id| (id, slot)));
        self.name_bytes += name.len();
        self.last = slot;
        slot
    }

    pub(super) fn count(&mut self, slot: TopicSlot, more: isize) {
        if let Some(topic) = self.get_mut(slot) {
            topic.partitions = topic.partitions.saturating_add_signed(more);
        }
    }

    /// Takes those out of `slots` that have no partitions any more.
    pub(super) fn forget(&mut self, slots: impl Iterator<Item = TopicSlot>) {
        for slot in slots {
            let Some(place) = self.slots.get_mut(slot.index()) else { continue };
            let Some(topic) = place.take_if(|topic| topic.partitions == 0) else { continue };
            self.names.remove(&topic.name);
            if let Some(id) = topic.id {
                self.ids.remove(&id);
            }
            self.name_bytes -= topic.name.len();
            self.free.push(slot);
        }
    }
}
