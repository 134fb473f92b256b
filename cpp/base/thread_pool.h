// The threads that compute. All models of a process share one pool, so that two models at work
// do not fight for the processors: their parallel regions take turns.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

namespace tramontane {

class ThreadPool {
 public:
  // The pool of the process: made at its first use, ended (its threads joined) by its last owner.
  static std::shared_ptr<ThreadPool> shared();

  ThreadPool();
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Makes regions of `threads` threads possible, callers included. Threads that are no longer
  // needed stay parked. Throws std::system_error when the system gives no more threads.
  void grow(int threads);

  // How long a thread without work watches for some before it sleeps. Watching makes the next
  // region start in about a microsecond instead of tens. Default: kSpin while the pool's threads
  // have a processor each, else 0.
  void set_spin(std::chrono::microseconds spin) { spin_microseconds_ = spin.count(); }
  static constexpr std::chrono::microseconds kSpin{50};

  // Calls fn(chunk, thread) once for every chunk in [0, chunks), on at most `threads` threads;
  // `thread` numbers them, 0 is the caller. Returns when all calls have returned. Chunks are
  // taken in ascending order by whoever is free. If fn throws, chunks that have not begun are
  // dropped and the first exception is thrown here. Any number of threads may call at the same
  // time: first come, first served. A call from within fn runs on its thread alone, with that
  // thread's number.
  //
  // What it costs, from the call until both of two threads have met and parted, on two Zen 3 cores:
  // 1.1 to 1.3 microseconds while the worker watches, 24 and more when it has to be woken.
  template <typename Function>
  void parallel_for(int threads, int chunks, Function&& fn) {
    using Body = std::remove_reference_t<Function>;
    run(
        threads, chunks,
        [](const void* body, int chunk, int thread) {
          (*const_cast<Body*>(static_cast<const Body*>(body)))(chunk, thread);
        },
        &fn);
  }

 private:
  using Call = void(const void* body, int chunk, int thread);
  struct Region;
  struct Worker;

  void run(int threads, int chunks, Call* call, const void* body);
  void run_region(int workers, Region& region);
  void serve(Worker& worker, int thread);
  template <typename Ready>
  bool spin_until(Ready ready) const;
  void take_turn();
  void end_turn();

  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> spin_microseconds_{kSpin.count()};

  // Callers that want a region, in the order they came.
  std::mutex turn_mutex_;
  std::condition_variable turn_changed_;
  uint64_t next_turn_ = 0, current_turn_ = 0;

  // The caller of the region at hand, when it sleeps until its workers have finished.
  std::mutex finish_mutex_;
  std::condition_variable finished_;
  std::atomic<bool> caller_sleeps_{false};
};

}  // namespace tramontane
