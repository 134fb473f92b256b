#include "base/thread_pool.h"

#include <algorithm>
#include <exception>
#include <string>
#include <system_error>
#include <thread>

#if defined(_MSC_VER)
#include <intrin.h>
#elif defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tramontane {
namespace {

// Tells the core that this thread only waits.
inline void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(_MSC_VER) && defined(_M_ARM64)
  __yield();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// This thread's number in the region it works in, of whatever pool; -1 outside of regions.
thread_local int region_thread = -1;

}  // namespace

// One parallel_for, on its caller's stack.
struct ThreadPool::Region {
  Call* call;
  const void* body;
  int chunks;
  std::atomic<int> pending;  // Workers that may be at work. The last thing a worker touches here.
  std::atomic<int> next{0};  // Chunk.
  std::atomic<bool> failed{false};
  std::exception_ptr error{};  // Written by the thread that sets `failed`.

  void run_chunks(int thread) {
    region_thread = thread;
    try {
      for (int chunk; (chunk = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
        call(body, chunk, thread);
      }
    } catch (...) {
      next.store(chunks, std::memory_order_relaxed);
      if (!failed.exchange(true)) error = std::current_exception();
    }
    region_thread = -1;
  }
};

// A worker is offered a region through `work`. It takes the offer by putting null there; the
// caller withdraws it in the same way if all chunks are gone before that. So nobody ever waits for
// a worker that the system is slow to run.
struct alignas(64) ThreadPool::Worker {
  std::atomic<Region*> work{nullptr};
  std::atomic<bool> sleeps{false};
  std::mutex mutex;
  std::condition_variable wake;
  std::thread thread;
};

std::shared_ptr<ThreadPool> ThreadPool::shared() {
  static std::mutex mutex;
  static std::weak_ptr<ThreadPool> current;
  const std::lock_guard lock(mutex);
  std::shared_ptr<ThreadPool> pool = current.lock();
  if (!pool) current = pool = std::make_shared<ThreadPool>();
  return pool;
}

ThreadPool::ThreadPool() = default;

ThreadPool::~ThreadPool() {
  stopping_ = true;
  for (const auto& worker : workers_) {
    { const std::lock_guard lock(worker->mutex); }
    worker->wake.notify_one();
  }
  for (const auto& worker : workers_) worker->thread.join();
}

void ThreadPool::grow(int threads) {
  take_turn();
  try {
    while (static_cast<int>(workers_.size()) < threads - 1) {
      auto worker = std::make_unique<Worker>();
      workers_.reserve(workers_.size() + 1);  // So that nothing throws once the thread runs.
      const int thread = static_cast<int>(workers_.size()) + 1;
      worker->thread = std::thread([this, w = worker.get(), thread] { serve(*w, thread); });
      workers_.push_back(std::move(worker));
    }
  } catch (const std::system_error& error) {
    const size_t started = workers_.size() + 1;
    end_turn();
    throw std::system_error(error.code(),
                            "cannot start " + std::to_string(threads) + " threads, only " +
                                std::to_string(started) +
                                ": lower threads, or raise the limit of processes and threads");
  } catch (...) {
    end_turn();
    throw;
  }
  if (workers_.size() + 1 > std::thread::hardware_concurrency()) set_spin({});
  end_turn();
}

void ThreadPool::run(int threads, int chunks, Call* call, const void* body) {
  if (threads <= 1 || chunks <= 1 || region_thread >= 0) {
    const int thread = std::max(region_thread, 0);
    for (int chunk = 0; chunk < chunks; ++chunk) call(body, chunk, thread);
    return;
  }
  take_turn();
  const int workers = std::min({threads - 1, chunks - 1, static_cast<int>(workers_.size())});
  Region region{call, body, chunks, workers};
  run_region(workers, region);
  end_turn();
  if (region.error) std::rethrow_exception(region.error);
}

void ThreadPool::run_region(int workers, Region& region) {
  int offers = 0;
  // Those who were woken first may have taken all chunks meanwhile.
  for (; offers < workers && region.next < region.chunks; ++offers) {
    Worker& worker = *workers_[offers];
    worker.work = &region;
    if (worker.sleeps) {
      { const std::lock_guard lock(worker.mutex); }
      worker.wake.notify_one();
    }
  }
  region.run_chunks(0);
  int absent = workers - offers;
  for (int i = 0; i < offers; ++i) {
    Region* offered = &region;
    if (workers_[i]->work.compare_exchange_strong(offered, nullptr)) ++absent;
  }
  region.pending -= absent;
  const auto all_finished = [&] { return region.pending == 0; };
  if (spin_until(all_finished)) return;
  std::unique_lock lock(finish_mutex_);
  caller_sleeps_ = true;
  finished_.wait(lock, all_finished);
  caller_sleeps_ = false;
}

void ThreadPool::serve(Worker& worker, int thread) {
  const auto called = [&] { return worker.work != nullptr || stopping_; };
  while (true) {
    if (!spin_until(called)) {
      std::unique_lock lock(worker.mutex);
      worker.sleeps = true;  // Before `called` looks again: the caller looks after its offer.
      worker.wake.wait(lock, called);
      worker.sleeps = false;
    }
    if (stopping_) return;
    Region* region = worker.work.exchange(nullptr);
    if (region == nullptr) continue;  // Withdrawn.
    region->run_chunks(thread);
    if (--region->pending == 0 && caller_sleeps_) {
      { const std::lock_guard lock(finish_mutex_); }
      finished_.notify_one();
    }
  }
}

// Returns what ready() says at last.
template <typename Ready>
bool ThreadPool::spin_until(Ready ready) const {
  const std::chrono::microseconds spin{spin_microseconds_.load(std::memory_order_relaxed)};
  if (ready()) return true;
  if (spin.count() == 0) return false;
  const auto end = std::chrono::steady_clock::now() + spin;
  do {
    for (int i = 0; i < 32; ++i) {  // A look at the clock costs as much as some of these.
      relax();
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

void ThreadPool::take_turn() {
  std::unique_lock lock(turn_mutex_);
  const uint64_t turn = next_turn_++;
  turn_changed_.wait(lock, [&] { return turn == current_turn_; });
}

void ThreadPool::end_turn() {
  bool wanted;
  {
    const std::lock_guard lock(turn_mutex_);
    wanted = ++current_turn_ != next_turn_;
  }
  if (wanted) turn_changed_.notify_all();
}

}  // namespace tramontane
