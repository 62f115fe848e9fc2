//! A number of places, given to whoever came last.
//!
//! When there are always more who wait than places, a queue gives a place to those who have waited
//! until their patience was all but gone, so that every one of them is slow. Given to the one who
//! came last, a place finds somebody who has hardly waited, and those who would have been slow are
//! refused instead. While there is room for all nobody waits, and the order does not matter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The places. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    n_free: usize,
    /// The last one is served first.
    waiting: Vec<Waiting>,
    n_come: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    reply: oneshot::Sender<Place>,
}

/// A place, free again at the end of this value.
#[derive(Debug)]
pub struct Place(Option<Places>);

impl Places {
    pub fn new(n_places: usize) -> Self {
        let state = State { n_free: n_places, waiting: Vec::new(), n_come: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A place at once, or one that becomes free within `patience`.
    pub async fn take(&self, patience: Duration) -> Option<Place> {
        let (reply, place) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            if state.n_free > 0 {
                state.n_free -= 1;
                return Some(Place(Some(self.clone())));
            }
            state.n_come += 1;
            let number = state.n_come;
            state.waiting.push(Waiting { number, reply });
            number
        };
        // Whoever leaves, or is no longer waited for, is not in the way of others.
        let _leaving = Leaving { places: self, number };
        tokio::time::timeout(patience, place).await.ok()?.ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement, so a panic elsewhere harms nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a place on to the last who came, or keeps it.
    fn give_back(self) {
        loop {
            let last = {
                let mut state = self.lock();
                let last = state.waiting.pop();
                if last.is_none() {
                    state.n_free += 1;
                }
                last
            };
            let Some(last) = last else { return };
            match last.reply.send(Place(Some(self.clone()))) {
                Ok(()) => return,
                // Gone in this very moment. The place is not to be given back twice.
                Err(mut place) => place.0 = None,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.0.take() {
            places.give_back();
        }
    }
}

struct Leaving<'a> {
    places: &'a Places,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.places.lock().waiting.retain(|waiting| waiting.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(5);

    fn n_free(places: &Places) -> usize {
        let state = places.lock();
        assert!(state.waiting.is_empty(), "{state:?}");
        state.n_free
    }

    #[tokio::test]
    async fn there_are_so_many_and_no_more() {
        let places = Places::new(2);
        let held = [places.take(SHORT).await, places.take(SHORT).await];
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(SHORT).await.is_none());
        // Somebody who has gone and has not been struck off yet.
        let (reply, _) = oneshot::channel();
        places.lock().waiting.push(Waiting { number: 0, reply });
        drop(held);
        assert_eq!(n_free(&places), 2);
    }

    #[tokio::test]
    async fn the_last_to_come_is_the_first_to_go_in() {
        let places = Places::new(1);
        let held = places.take(LONG).await.unwrap();
        let (order, mut came) = tokio::sync::mpsc::unbounded_channel();
        for n in 0..3 {
            let (places_of, order) = (places.clone(), order.clone());
            tokio::spawn(async move {
                let _place = places_of.take(LONG).await.unwrap();
                order.send(n).unwrap();
                tokio::task::yield_now().await;
            });
            while places.lock().waiting.len() <= n {
                tokio::task::yield_now().await;
            }
        }
        drop(held);
        for n in [2, 1, 0] {
            assert_eq!(came.recv().await, Some(n));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_place_is_lost_however_those_who_wait_leave() {
        let places = Places::new(3);
        let tasks = (0..2_000_u64).map(|n| {
            let places = places.clone();
            tokio::spawn(async move {
                // Some leave without having heard of their place.
                let patience = Duration::from_micros(n % 700);
                let leaves = Duration::from_micros((n * 7) % 900);
                let taken = tokio::time::timeout(leaves, places.take(patience)).await;
                if let Ok(Some(_place)) = taken {
                    tokio::time::sleep(Duration::from_micros(n % 50)).await;
                }
            })
        });
        futures::future::join_all(tasks).await;
        assert_eq!(n_free(&places), 3);
    }
}
