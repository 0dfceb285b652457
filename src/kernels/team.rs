//! Threads that stay awake through a computation of many short steps.
//!
//! A forward over one short text is dozens of steps of some ten microseconds each. A pool that puts its threads to sleep
//! after each and wakes them for the next takes longer for that than the steps themselves; here the threads look out for
//! the next step until the computation ends.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread::yield_now;

/// Looks before a thread that waits lets others run: some ten microseconds, in which a step usually ends. Beside training,
/// letting others run is to lose the core for a millisecond.
const LOOKS: usize = 2048;

/// The threads of the current pool, for the length of one computation; made by [`with_team`].
pub(crate) struct Team {
    /// Steps begun; a helper takes part in each at most once.
    step: AtomicUsize,
    /// Whether helpers may enter the step.
    open: AtomicBool,
    /// Helpers in the step, or about to find it closed.
    inside: AtomicUsize,
    ended: AtomicBool,
    /// The step, for helpers to run while it is open.
    work: UnsafeCell<Option<Work>>,
    threads: usize,
}

/// A step with its lifetime taken off.
type Work = *const (dyn Fn() + Sync);

// SAFETY: `work` is written by the leader alone, and only while the step is closed and nobody is inside; helpers read it
// only between finding the step open after they counted themselves in and counting themselves out. What it points to is
// `Sync`, and outlives the step (see `Team::run`).
#[expect(unsafe_code, reason = "the pointer to the step is shared with helpers, under the protocol above")]
unsafe impl Sync for Team {}

/// Runs a computation on a thread of the current pool, with the pool's other threads to share its steps.
pub(crate) fn with_team<R: Send>(work: impl FnOnce(&Team) -> R + Send) -> R {
    let team = Team {
        step: AtomicUsize::new(0),
        open: AtomicBool::new(false),
        inside: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
        work: UnsafeCell::new(None),
        threads: rayon::current_num_threads(),
    };
    rayon::scope(|scope| {
        // Ended by drop, so that helpers leave also where the work panics.
        let _end = OnDrop(|| team.ended.store(true, SeqCst));
        for _ in 1..rayon::current_num_threads() {
            scope.spawn(|_| team.help());
        }
        work(&team)
    })
}

impl Team {
    /// The threads that share the steps.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// One step: `work` is called with each of `tasks`, in their order as far as they begin, by whichever thread is free.
    /// Returns when all are done.
    pub(crate) fn for_each<T>(&self, tasks: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        let tasks = Mutex::new(tasks);
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        self.run(&|| {
            while let Some(task) = next() {
                work(task);
            }
        });
    }

    fn run(&self, work: &(dyn Fn() + Sync)) {
        if self.threads == 1 {
            return work();
        }
        let pointer: *const (dyn Fn() + Sync + '_) = work;
        // Closed before `work` goes out of scope, also where it panics.
        let _close = OnDrop(|| {
            self.open.store(false, SeqCst);
            wait_until(|| self.inside.load(SeqCst) == 0);
        });
        // SAFETY: the lifetime is taken off a reference that outlives the step, as `_close` lets nobody use it beyond.
        // The step before is closed and nobody is inside, so nobody reads.
        #[expect(unsafe_code, reason = "helpers borrow the step for as long as it is open")]
        unsafe {
            *self.work.get() = Some(std::mem::transmute::<*const (dyn Fn() + Sync + '_), Work>(pointer));
        }
        self.step.fetch_add(1, SeqCst);
        self.open.store(true, SeqCst);
        work();
    }

    /// Takes part in every step that it comes in time for, until the computation ends.
    fn help(&self) {
        let mut seen = 0;
        loop {
            wait_until(|| self.ended.load(SeqCst) || (self.open.load(SeqCst) && self.step.load(SeqCst) != seen));
            if self.ended.load(SeqCst) {
                return;
            }
            // Counted in before looking again: who closes the step looks for helpers after closing.
            self.inside.fetch_add(1, SeqCst);
            let _leave = OnDrop(|| {
                self.inside.fetch_sub(1, SeqCst);
            });
            if self.open.load(SeqCst) {
                seen = self.step.load(SeqCst);
                // SAFETY: the step was open after this thread was counted in, so it stays, and with it what it points
                // to, until this thread is counted out.
                #[expect(unsafe_code, reason = "the step is borrowed under the protocol above")]
                let work = unsafe { (*self.work.get()).map(|work| &*work) };
                if let Some(work) = work {
                    work();
                }
            }
        }
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let mut looks = 0;
    while !is_so() {
        // Others may need the core, the thread that is waited for among them.
        if looks < LOOKS {
            spin_loop()
        } else {
            yield_now()
        }
        looks += 1;
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn every_task_of_every_step_is_done_once_before_the_next_step() {
        for threads in [1, 2, 5] {
            let mut values = vec![0_u64; 100];
            pool(threads).install(|| {
                with_team(|team| {
                    assert_eq!(team.threads(), threads);
                    for step in 0..2000 {
                        team.for_each(values.chunks_mut(7), |chunk| {
                            for value in chunk {
                                assert_eq!(*value, step, "the step before is done");
                                *value += 1;
                            }
                        });
                    }
                });
            });
            assert_eq!(values, [2000; 100]);
        }
    }

    #[test]
    fn helpers_take_part() {
        let names = Mutex::new(std::collections::HashSet::new());
        pool(2).install(|| {
            with_team(|team| {
                // As many steps as it takes until the other thread has come.
                while names.lock().unwrap().len() < 2 {
                    team.for_each(0..64, |_| {
                        names.lock().unwrap().insert(std::thread::current().id());
                    });
                }
            });
        });
    }

    #[test]
    fn a_panic_ends_the_computation_and_not_the_pool() {
        let pool = pool(3);
        for task in [0, 999] {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.install(|| with_team(|team| team.for_each(0..1000, |number| assert_ne!(number, task))));
            }));
            assert!(result.is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.install(|| {
            with_team(|team| {
                team.for_each(1..=10, |number| {
                    sum.fetch_add(number, SeqCst);
                });
            });
        });
        assert_eq!(sum.into_inner(), 55);
    }
}
