// What threads cost, whatever they compute, on Linux:
//   thread-bench [REGIONS]
// 1. A parallel region of the pool with 1 to 64 threads, each on one processor, by turns, and where
//    the system puts them: of chunks that do nothing, of one chunk a thread that waits for all
//    others (a barrier), and of a fixed amount of arithmetic in eight chunks a thread. Microseconds
//    by the clock and of all processors, and how often a thread left its processor.
// 2. The largest part of a thread over the mean, for the products of a layer of a 7B model.
// Not a part of the tests.
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/machine_limits.h"
#include "base/thread_pool.h"
#include "bench_times.h"
#include "cpu/backend/cpu_backend_linear.h"

using namespace tramontane;

namespace {

constexpr int kThreads[] = {1, 2, 4, 8, 16, 32, 64};
// Steps of arithmetic of a region, a few processor cycles each: about what a matrix of 4096 by 4096
// takes one thread.
constexpr int kSteps = 1 << 20;

struct Usage {
  double microseconds, switches;
};

Usage usage() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  const auto micros = [](const timeval& t) { return 1e6 * t.tv_sec + t.tv_usec; };
  return {micros(used.ru_utime) + micros(used.ru_stime),
          static_cast<double>(used.ru_nvcsw + used.ru_nivcsw)};
}

// Returns when as many threads as were missing have come.
void meet(std::atomic<int>& missing) {
  --missing;
  while (missing > 0) std::this_thread::yield();
}

// Binds each thread of the pool to one of the processors that the process may use.
void pin(ThreadPool& pool, int threads) {
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) processors.push_back(i);
  }
  std::atomic<int> missing{threads};
  pool.parallel_for(threads, threads, [&](int, int thread) {
    meet(missing);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processors[static_cast<size_t>(thread) % processors.size()], &one);
    sched_setaffinity(0, sizeof one, &one);
  });
}

void arithmetic(int steps) {
  uint64_t state = 1;
  for (int i = 0; i < steps; ++i) state = state * 6364136223846793005u + 1442695040888963407u;
  keep(state);
}

// `region` runs one.
template <typename Function>
void measure(int regions, const Function& region) {
  std::vector<double> times;
  const Usage before = usage();
  for (int i = 0; i < regions; ++i) {
    const double start = seconds();
    region();
    times.push_back(1e6 * (seconds() - start));
  }
  const Usage after = usage();
  std::printf(" |%8.1f %8.1f %6.2f", median(times),
              (after.microseconds - before.microseconds) / regions,
              (after.switches - before.switches) / regions);
}

void measure_regions(int threads, bool pinned, int regions) {
  std::printf("%2d %-8s", threads, pinned ? "pinned" : "anywhere");
  std::thread caller([&] {  // A thread of its own, which may be bound.
    ThreadPool pool;
    pool.grow(threads);
    if (pinned) pin(pool, threads);
    measure(regions, [&] { pool.parallel_for(threads, threads, [](int, int) {}); });
    measure(regions, [&] {
      std::atomic<int> missing{threads};
      pool.parallel_for(threads, threads, [&](int, int) { meet(missing); });
    });
    const int chunks = 8 * threads;
    measure(std::max(1, regions / 20), [&] {
      pool.parallel_for(threads, chunks, [&](int, int) { arithmetic(kSteps / chunks); });
    });
  });
  caller.join();
  std::printf("\n");
  std::fflush(stdout);
}

void print_parts(const char* name, const std::vector<int32_t>& products, int32_t granularity) {
  int32_t outputs = 0;
  for (const int32_t product : products) outputs += product;
  std::printf("%-16s", name);
  for (const int threads : kThreads) {
    int32_t largest = 0;
    for (int thread = 0; thread < threads; ++thread) {
      int32_t part = 0;
      for (const int32_t product : products) {
        const auto [first, last] = cpu::part_of(product, thread, threads, granularity);
        part += last - first;
      }
      largest = std::max(largest, part);
    }
    std::printf(" %5.2f", static_cast<double>(largest) * threads / outputs);
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const int regions = argc > 1 ? std::atoi(argv[1]) : 2000;
  std::printf("us, CPU us, switches   | nothing%18s| barrier%18s| work\n", "", "");
  for (const bool pinned : {false, true}) {
    for (const int threads : kThreads) measure_regions(threads, pinned, regions);
  }
  for (const int32_t granularity : {16, 32, 48, 64}) {
    std::printf("\nlargest part over the mean, in parts of %d; threads", granularity);
    for (const int threads : kThreads) std::printf(" %d", threads);
    std::printf("\n");
    print_parts("query, key, value", {4096, 1024, 1024}, granularity);
    print_parts("output, down", {4096}, granularity);
    print_parts("gate, up", {14336, 14336}, granularity);
    print_parts("logits", {32000}, granularity);
  }
}
