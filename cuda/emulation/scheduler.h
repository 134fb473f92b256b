// Runs the blocks and threads of a kernel on one CPU thread, in random order, so that a missing
// barrier or wait shows as a wrong result, a report, or a race that ThreadSanitizer sees.
//
// Every emulated thread is a fiber. Fibers switch only where threads meet: at barriers, warp
// operations and the end. Some blocks are resident at once, and which block, which warp and which
// lane goes on is drawn at random; in some blocks one warp races ahead as far as its barriers
// allow. Blocks are ordered by kernel launches only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulation {

struct Index3 {
  unsigned x, y, z;
};

// Where in a kernel an operation stands; two operations are the same when their sites are.
struct Site {
  const char* file;
  int line;
};
#define EMULATION_SITE ::emulation::Site site = {__builtin_FILE(), __builtin_LINE()}

// What the running thread may ask about itself.
struct Thread {
  Index3 thread, block, block_size, grid_size;
  int lane;
  bool copies_land_early;  // Asynchronous copies of this block are done when they are issued.
};
extern Thread* running;

enum class Order { kRandom, kFirst, kLast };

// The schedules that follow are drawn from `seed`. Without a call, seed 1 at random.
void set_schedule(uint64_t seed, Order order);

// Runs kernel(argument) once for every thread of the grid. False: a rule was broken, and
// last_report() says which, where, and who waits for what.
bool run_grid(void (*kernel)(void*), void* argument, Index3 grid, Index3 block);
const char* last_report();

// Ends the launch with a report. Called in a thread of a kernel.
[[noreturn]] void report(const char* what, Site site);

// __syncthreads.
void block_barrier(Site site);

// All lanes of `mask` meet here with `count` words each. The last one to arrive runs `finish`,
// then everyone may read the words until it leaves.
enum class WarpOperation { kSynchronize, kShuffle, kVote, kLoadMatrix, kMultiply };
struct Meeting {
  uint32_t mask, arrived, left;
  WarpOperation operation;
  Site site;
  bool complete;
  uint32_t words[32][8];
  uint32_t results[32][8];
};
Meeting* meet(uint32_t mask, WarpOperation operation, const uint32_t* words, int count,
              void (*finish)(Meeting*), Site site);
void leave(Meeting* meeting);

// Shared memory of the block: the same address for the same tag, filled with 0xFF (not a number)
// at the start, poisoned on both sides under AddressSanitizer.
constexpr size_t kStaticSharedBytes = 48 << 10;
void* shared_memory(const void* tag, size_t bytes, size_t alignment);

// An asynchronous copy to shared memory, not done yet: `valid` of its `bytes` are copied, the rest
// is zero.
struct AsyncCopy {
  char* to;
  const char* from;
  int bytes, valid;
  int group;
};
void push_copy(const AsyncCopy& copy);
void commit_copies();
// The oldest copy outside the `keep` newest groups; false when there is none.
bool pop_copy(int keep, AsyncCopy* copy);

}  // namespace emulation
