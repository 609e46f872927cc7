//! Which devices are to sync because of a hint, and which have just done so.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use lru::LruCache;

use super::IDLE;
use crate::{clock::UnixMillis, event::hints::DeviceOf};

/// Devices that wait, sync or rest; hints for more are dropped.
const MOST: usize = 1024;
/// How long a device rests after a sync, in milliseconds.
const REST: u64 = 500;
/// A device that is said to run out of keys is believed so often, in milliseconds: it may have none to give, or be none.
const BELIEVED: u64 = 600_000;
/// Devices of which that is remembered.
const REMEMBERED: usize = 4096;

/// The devices.
#[derive(Debug)]
pub(super) struct Queue {
    /// When the last hint came that is not followed yet.
    known: HashMap<DeviceOf, Option<UnixMillis>>,
    waiting: VecDeque<DeviceOf>,
    /// Until when; the first is the next.
    resting: VecDeque<(UnixMillis, DeviceOf)>,
    low: LruCache<DeviceOf, UnixMillis>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            waiting: VecDeque::new(),
            resting: VecDeque::new(),
            low: LruCache::unbounded(),
        }
    }
}

impl Queue {
    /// Notes a hint; `false`: there are too many.
    pub(super) fn put(&mut self, device: DeviceOf, now: UnixMillis) -> bool {
        if let Some(came) = self.known.get_mut(&device) {
            *came = Some(now);
            return true;
        }
        if self.known.len() >= MOST {
            self.wake(now);
            if self.known.len() >= MOST {
                return false;
            }
        }
        self.known.insert(device.clone(), Some(now));
        self.waiting.push_back(device);
        true
    }

    /// Whether it is to be believed that a device runs out of keys.
    pub(super) fn is_low(&mut self, device: &DeviceOf, now: UnixMillis) -> bool {
        if let Some(last) = self.low.get(device)
            && now.saturating_sub(*last) < BELIEVED
        {
            return false;
        }
        self.low.put(device.clone(), now);
        if self.low.len() > REMEMBERED {
            self.low.pop_lru();
        }
        true
    }

    /// The next device that is to sync, and when its last hint came. To be given back with [`Queue::rest`].
    pub(super) fn take(&mut self, now: UnixMillis) -> Option<(DeviceOf, UnixMillis)> {
        self.wake(now);
        let device = self.waiting.pop_front()?;
        let came = self.known.get_mut(&device)?.take()?;
        Some((device, came))
    }

    /// Lets a device rest. If a hint came meanwhile, it syncs once more afterwards.
    pub(super) fn rest(&mut self, device: DeviceOf, now: UnixMillis) {
        self.resting.push_back((now + REST, device));
    }

    /// How long until a device has rested.
    pub(super) fn next(&self, now: UnixMillis) -> Duration {
        self.resting.front().map_or(IDLE, |(until, _)| {
            Duration::from_millis(until.saturating_sub(now).max(1))
        })
    }

    fn wake(&mut self, now: UnixMillis) {
        while let Some((_, device)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            if self.known.get(&device).is_some_and(Option::is_some) {
                self.waiting.push_back(device);
            } else {
                self.known.remove(&device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::OwnedUserId;

    use super::*;

    fn device(number: usize) -> DeviceOf {
        let user = OwnedUserId::try_from(format!("@_vizard_{number}:x")).unwrap();
        (user, "DEVICE".into())
    }

    #[test]
    fn hints_of_one_device_are_one_sync() {
        let mut queue = Queue::default();
        for now in 0..100 {
            assert!(queue.put(device(1), now));
        }
        assert_eq!(queue.take(100), Some((device(1), 99)));
        assert_eq!(queue.take(100), None);
        // While it syncs, and while it rests: once more afterwards, and not before.
        assert!(queue.put(device(1), 101));
        assert_eq!(queue.take(101), None);
        queue.rest(device(1), 102);
        assert!(queue.put(device(1), 103));
        assert_eq!(queue.take(102 + REST - 1), None);
        assert_eq!(queue.next(103), Duration::from_millis(REST - 1));
        assert_eq!(queue.take(102 + REST), Some((device(1), 103)));
        queue.rest(device(1), 1000);
        assert_eq!(queue.take(5000), None);
        assert!(queue.known.is_empty() && queue.resting.is_empty());
    }

    #[test]
    fn a_flood_is_dropped_and_what_went_before_is_not() {
        let mut queue = Queue::default();
        let taken = (0..10 * MOST).filter(|n| queue.put(device(*n), 0)).count();
        assert_eq!(taken, MOST);
        assert!(queue.put(device(0), 1), "one that waits may come again");
        let mut synced = 0;
        while let Some((device, _)) = queue.take(2) {
            queue.rest(device, 2);
            synced += 1;
        }
        assert_eq!(synced, MOST);
        assert!(!queue.put(device(MOST), 2), "all still rest");
        assert!(queue.put(device(MOST), 2 + REST));
    }

    #[test]
    fn few_keys_are_believed_now_and_then() {
        let mut queue = Queue::default();
        assert!(queue.is_low(&device(1), 0));
        assert!(!queue.is_low(&device(1), BELIEVED - 1));
        assert!(queue.is_low(&device(1), BELIEVED));
        for n in 0..2 * REMEMBERED {
            assert!(queue.is_low(&device(10 + n), BELIEVED));
        }
        assert_eq!(queue.low.len(), REMEMBERED);
    }
}
