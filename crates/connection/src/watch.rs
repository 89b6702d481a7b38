//! A value that many may watch, as tokio's `watch`, with one difference: whoever waits is woken in the order in which they
//! began to wait.
//!
//! Tokio spreads those who wait over several lists and draws the list at random, so that with several of them a run
//! with a seed would not repeat. Here the value and who has seen it are tokio's; the waiting is one list of our own.
//!
//! Invariant: what is sent, or the end of the sender, is there to be seen before anybody is woken for it.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

pub use tokio::sync::watch::Ref;

/// Sets the value. Dropping it ends the watch.
#[derive(Debug)]
pub struct Sender<T> {
    // Dropped first, so that whoever is woken finds the end.
    value: watch::Sender<T>,
    waiting: Waiting,
}

/// Watches the value. A clone has seen what this one has.
#[derive(Clone, Debug)]
pub struct Receiver<T> {
    value: watch::Receiver<T>,
    waiting: Arc<Notify>,
}

/// The sender is gone: nothing changes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is watched does not change any more")]
#[non_exhaustive]
pub struct Closed;

/// Those who wait, who are woken also for the end.
#[derive(Debug, Default)]
struct Waiting(Arc<Notify>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// A value, and the first who watches it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender { value: watch::Sender::new(value), waiting: Waiting::default() };
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Self { value: watch::Sender::default(), waiting: Waiting::default() }
    }
}

impl<T> Sender<T> {
    /// The value. Nobody can set it while this is held.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.value.borrow()
    }

    /// Sets the value, whether or not anybody watches; gives the last one.
    pub fn send_replace(&self, value: T) -> T {
        let last = self.value.send_replace(value);
        self.waiting.0.notify_waiters();
        last
    }

    /// Changes the value in place; nobody hears of it unless `modify` returns true, which is passed on.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let is_modified = self.value.send_if_modified(modify);
        if is_modified {
            self.waiting.0.notify_waiters();
        }
        is_modified
    }

    /// Another who watches, and has seen the value as it is.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { value: self.value.subscribe(), waiting: Arc::clone(&self.waiting.0) }
    }
}

impl<T> Receiver<T> {
    /// The value; whether it was seen stays as it is.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.value.borrow()
    }

    /// The value, which has been seen then.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.value.borrow_and_update()
    }

    /// Whether there is a value that has not been seen.
    ///
    /// # Errors
    ///
    /// [`Closed`], whatever the value.
    pub fn has_changed(&self) -> Result<bool, Closed> {
        self.value.has_changed().map_err(|_| Closed)
    }

    /// Whether both watch the same value.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.value.same_channel(&other.value)
    }

    /// Waits for a value that has not been seen; it has been then.
    ///
    /// # Errors
    ///
    /// [`Closed`] where the last value has been seen.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let woken = self.waiting.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            // First: what is sent before the end, however shortly, is seen after it.
            let is_last = self.value.has_changed().is_err();
            if self.value.borrow().has_changed() {
                self.value.mark_unchanged();
                return Ok(());
            }
            if is_last {
                return Err(Closed);
            }
            woken.await;
        }
    }

    /// Waits for a value of which `is_wanted` is true, the present one included; it has been seen then.
    ///
    /// # Errors
    ///
    /// [`Closed`] where the last value is not wanted.
    ///
    /// # Cancel safety
    ///
    /// Values that are not wanted have been seen.
    pub async fn wait_for(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> Result<T, Closed>
    where
        T: Clone,
    {
        loop {
            let woken = self.waiting.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let is_last = self.value.has_changed().is_err();
            if let Some(wanted) = take_if(&mut self.value, &mut is_wanted) {
                return Ok(wanted);
            }
            if is_last {
                return Err(Closed);
            }
            woken.await;
        }
    }
}

/// The value, if it is wanted. It has been seen then in any case.
fn take_if<T: Clone>(value: &mut watch::Receiver<T>, is_wanted: impl FnOnce(&T) -> bool) -> Option<T> {
    let value = value.borrow_and_update();
    is_wanted(&value).then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_began_to() {
        // So many that chance does not put them in order.
        for _ in 0..20 {
            let (sender, receiver) = channel(0);
            let woken = Arc::new(Mutex::new(Vec::new()));
            let mut tasks = Vec::new();
            for number in 0..10 {
                let (mut receiver, woken) = (receiver.clone(), Arc::clone(&woken));
                tasks.push(tokio::spawn(async move {
                    receiver.changed().await.unwrap();
                    woken.lock().unwrap().push(number);
                }));
            }
            tokio::task::yield_now().await;
            sender.send_replace(1);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*woken.lock().unwrap(), (0..10).collect::<Vec<_>>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_seen_once_and_the_last_one_also_after_the_end() {
        let (sender, mut receiver) = channel(0);
        sender.send_replace(1);
        receiver.changed().await.unwrap();
        assert_eq!((*receiver.borrow(), receiver.has_changed()), (1, Ok(false)));
        assert!(!sender.send_if_modified(|_| false));
        assert_eq!(receiver.has_changed(), Ok(false));
        assert!(sender.send_if_modified(|value| {
            *value = 2;
            true
        }));
        drop(sender);
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow_and_update(), 2);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert_eq!(receiver.wait_for(|value| *value == 2).await, Ok(2));
        assert_eq!(receiver.wait_for(|value| *value == 3).await, Err(Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_of_the_end() {
        let (sender, mut receiver) = channel(0);
        let mut other = receiver.clone();
        let (changed, wanted, ()) = tokio::join!(receiver.changed(), other.wait_for(|value| *value == 1), async {
            tokio::task::yield_now().await;
            drop(sender);
        });
        assert_eq!((changed, wanted), (Err(Closed), Err(Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wanted_may_be_there_already_or_come_later() {
        let (sender, mut receiver) = channel(1);
        assert_eq!(receiver.wait_for(|value| *value == 1).await, Ok(1));
        let (wanted, ()) = tokio::join!(receiver.wait_for(|value| *value == 3), async {
            for value in 2..=3 {
                sender.send_replace(value);
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(wanted, Ok(3));
    }

    /// The two race for real: what is looked for lies between two loads.
    #[test]
    fn the_last_value_is_seen_also_where_the_end_comes_right_behind_it() {
        let is_begun = AtomicBool::new(false);
        let (give, senders) = std::sync::mpsc::channel::<Sender<i32>>();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for sender in senders {
                    is_begun.store(true, Ordering::Release);
                    for _ in 0..50 {
                        std::hint::spin_loop();
                    }
                    sender.send_replace(1);
                }
            });
            let mut context = Context::from_waker(Waker::noop());
            for round in 0..50_000 {
                let (sender, mut receiver) = channel(0);
                give.send(sender).unwrap();
                while !is_begun.swap(false, Ordering::Acquire) {
                    std::thread::yield_now();
                }
                let changed = loop {
                    if let Poll::Ready(changed) = pin!(receiver.changed()).poll(&mut context) {
                        break changed;
                    }
                };
                assert_eq!(changed, Ok(()), "in round {round}");
            }
            drop(give);
        });
    }
}
