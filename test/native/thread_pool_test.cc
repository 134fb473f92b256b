// The compute pool: what goes wrong with threads.
#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/thread_pool.h"
#include "test.h"

namespace tramontane {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST("every chunk runs exactly once, whatever the numbers of threads and chunks") {
  ThreadPool pool;
  pool.grow(4);
  for (const int threads : {1, 2, 3, 4, 9}) {
    for (const int chunks : {0, 1, 2, 3, 64, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(chunks));
      pool.parallel_for(threads, chunks, [&](int chunk, int thread) {
        ++runs[static_cast<size_t>(chunk)];
        CHECK(thread >= 0 && thread < threads && thread < 4);
      });
      for (const auto& count : runs) CHECK_EQ(count.load(), 1);
    }
  }
}

TEST("what chunks wrote is there when the region has ended, region after region") {
  ThreadPool pool;
  pool.grow(3);
  for (const microseconds spin : {microseconds(0), microseconds(50)}) {
    pool.set_spin(spin);
    std::vector<int> values(64);  // Plain: the thread sanitizer sees a missing happens-before.
    for (int round = 0; round < 500; ++round) {
      pool.parallel_for(3, 64,
                        [&](int chunk, int) { values[static_cast<size_t>(chunk)] += chunk; });
    }
    for (int i = 0; i < 64; ++i) CHECK_EQ(values[static_cast<size_t>(i)], 500 * i);
  }
}

TEST("a region ends although many threads were asleep, and came late or were never called") {
  ThreadPool pool;
  pool.grow(64);
  pool.set_spin(microseconds(0));
  for (int round = 0; round < 200; ++round) {
    std::this_thread::sleep_for(microseconds(500));  // They sleep now.
    std::atomic<int> runs{0};
    pool.parallel_for(64, 64, [&](int, int) { ++runs; });
    CHECK_EQ(runs.load(), 64);
  }
}

// Has every thread of a region of `threads` chunks wait for the others, so that each takes one.
class Meeting {
 public:
  explicit Meeting(int threads) : missing_(threads) {}
  // False when they did not all come in five seconds.
  bool attend() {
    --missing_;
    const auto end = std::chrono::steady_clock::now() + milliseconds(5000);
    while (missing_ > 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return missing_ == 0;
  }

 private:
  std::atomic<int> missing_;
};

TEST("threads take part, woken from sleep too") {
  ThreadPool pool;
  pool.grow(3);
  for (int round = 0; round < 3; ++round) {
    Meeting meeting(3);
    pool.parallel_for(3, 3, [&](int, int) { CHECK(meeting.attend()); });
    std::this_thread::sleep_for(milliseconds(5));  // They sleep now.
  }
}

TEST("a thread's number is its own for the length of a region") {
  ThreadPool pool;
  pool.grow(4);
  std::vector<std::atomic<bool>> busy(4);
  pool.parallel_for(4, 400, [&](int, int thread) {
    CHECK(!busy[static_cast<size_t>(thread)].exchange(true));
    std::this_thread::yield();
    busy[static_cast<size_t>(thread)] = false;
  });
}

TEST("callers at the same time take turns: no region overlaps another, none starves") {
  ThreadPool pool;
  pool.grow(3);
  std::mutex mutex;
  int owner = -1, active = 0, overlaps = 0;  // Chunks at work, and whose.
  std::vector<std::thread> callers;
  std::vector<int> finished(3);
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 60; ++round) {
        std::atomic<int> sum{0};
        pool.parallel_for(2 + caller % 2, 8, [&](int chunk, int) {
          {
            const std::lock_guard lock(mutex);
            if (active > 0 && owner != caller) ++overlaps;
            owner = caller;
            ++active;
          }
          sum += chunk;
          const std::lock_guard lock(mutex);
          --active;
        });
        CHECK_EQ(sum.load(), 28);
        ++finished[static_cast<size_t>(caller)];
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(overlaps, 0);
  for (const int rounds : finished) CHECK_EQ(rounds, 60);
}

TEST("callers are served in the order they came, one that comes back at once too") {
  ThreadPool pool;
  pool.grow(2);
  std::mutex mutex;
  std::vector<int> order;
  std::atomic<bool> first_runs{false}, open{false};
  const auto region = [&](int caller) {
    pool.parallel_for(2, 2, [&](int chunk, int) {
      if (chunk != 0) return;
      first_runs = true;
      while (!open) std::this_thread::sleep_for(milliseconds(1));
      const std::lock_guard lock(mutex);
      order.push_back(caller);
    });
  };
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      region(caller);
      if (caller == 0) region(caller);
    });
    while (!first_runs) std::this_thread::yield();
    std::this_thread::sleep_for(milliseconds(20));  // This caller waits now.
  }
  open = true;
  for (std::thread& caller : callers) caller.join();
  CHECK(order == std::vector<int>({0, 1, 2, 3, 0}));
}

TEST("a region within a region runs on its own thread, with that thread's number") {
  ThreadPool pool;
  pool.grow(3);
  std::atomic<int> runs{0};
  Meeting meeting(3);
  pool.parallel_for(3, 3, [&](int, int outer) {
    CHECK(meeting.attend());
    const auto self = std::this_thread::get_id();
    pool.parallel_for(3, 5, [&](int, int inner) {
      ++runs;
      CHECK(std::this_thread::get_id() == self);
      CHECK_EQ(inner, outer);
    });
  });
  CHECK_EQ(runs.load(), 15);
}

TEST("an exception of any thread reaches the caller, and the pool works on") {
  ThreadPool pool;
  pool.grow(3);
  for (int round = 0; round < 50; ++round) {
    std::string caught;
    try {
      pool.parallel_for(3, 100, [&](int chunk, int) {
        if (chunk % 7 == 3) throw std::runtime_error("chunk failed");
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    CHECK(caught == "chunk failed");
    std::atomic<int> runs{0};
    pool.parallel_for(3, 10, [&](int, int) { ++runs; });
    CHECK_EQ(runs.load(), 10);
  }
}

TEST("pools come and go: with threads asleep, awake, or never used") {
  for (int round = 0; round < 100; ++round) {
    ThreadPool pool;
    pool.grow(round % 4);
    pool.set_spin(microseconds(round % 3 == 0 ? 0 : 200));
    if (round % 2 == 0) pool.parallel_for(4, 8, [](int, int) {});
    if (round % 10 == 0) std::this_thread::sleep_for(milliseconds(1));
  }
}

TEST("the shared pool is one, and ends with its last owner") {
  std::weak_ptr<ThreadPool> watch;
  {
    const std::shared_ptr<ThreadPool> first = ThreadPool::shared(), second = ThreadPool::shared();
    CHECK(first == second);
    watch = first;
    first->grow(2);
    std::atomic<int> runs{0};
    first->parallel_for(2, 4, [&](int, int) { ++runs; });
    CHECK_EQ(runs.load(), 4);
  }
  CHECK(watch.expired());
  CHECK(ThreadPool::shared() != nullptr);
}

TEST("a pool at rest uses no processor time") {
  ThreadPool pool;
  pool.grow(4);
  pool.parallel_for(4, 16, [](int, int) {});
  std::this_thread::sleep_for(milliseconds(20));
  const std::clock_t before = std::clock();  // Of the process, all its threads.
  std::this_thread::sleep_for(milliseconds(300));
  const double used = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  CHECK(used < 0.03);
}

}  // namespace
}  // namespace tramontane
