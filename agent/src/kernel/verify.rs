//! Programs are verified side by side: the kernel walks through each of them for up to a fifth of a second, in the thread
//! that loads it.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// More would only wait for the kernel's locks.
const THREADS_MAX: usize = 8;

/// What `load` makes of each, in no order. As many at a time as there are CPUs, up to [`THREADS_MAX`].
pub(super) fn side_by_side<T: Send, R: Send>(
    programs: impl IntoIterator<Item = T>,
    load: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let waiting: Mutex<Vec<T>> = Mutex::new(programs.into_iter().collect());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || std::iter::from_fn(next).map(&load).collect::<Vec<R>>();
    let others = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX) - 1;
    thread::scope(|scope| {
        // A thread that cannot be had leaves its share to the others.
        let others: Vec<_> =
            (0..others).filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut done = work();
        done.extend(others.into_iter().flat_map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))));
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_loaded_once() {
        let mut squares = side_by_side(0..100_u32, |number| number * number);
        squares.sort_unstable();
        assert_eq!(squares, (0..100).map(|number| number * number).collect::<Vec<_>>());
    }
}
