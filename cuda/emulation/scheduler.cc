#include "emulation/scheduler.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "emulation/context.h"
#include "emulation/sanitizers.h"

namespace emulation {

Thread* running = nullptr;

namespace {

constexpr unsigned kWarpLanes = 32;
constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kMaxResidentBlocks = 4;
constexpr size_t kArenaBytes = kStaticSharedBytes + 4096;
constexpr size_t kArenaMargin = 64;
constexpr int kMaxCopies = 256;
constexpr int kMaxSharedObjects = 8;
constexpr int kMeetings = kWarpLanes + 1;  // Each lane may be in one, and leave an older one.

enum class State { kReady, kAtBarrier, kInMeeting, kDone };

struct Warp;
struct Block;

struct Fiber : Thread {
  Context* context;
  Block* home;
  Warp* warp;
  State state;
  Site site;
  AsyncCopy copies[kMaxCopies];
  int copy_count, copy_group;
};

struct Warp {
  uint32_t present, exited;
  unsigned priority;
  int ready_count;
  Fiber* ready[kWarpLanes];
  int used_meetings;  // The first ones; the rest have never been in use.
  Meeting meetings[kMeetings];
};

struct SharedObject {
  const void* tag;
  char* data;
  size_t bytes;
};

struct Block {
  Fiber* fibers[kMaxThreads];
  unsigned allocated_fibers, fiber_count, warp_count;
  Warp warps[kMaxThreads / kWarpLanes];
  int ready_count, live, at_barrier;
  bool strict_priority;
  Site barrier_site;
  char* arena;
  size_t arena_used;
  SharedObject objects[kMaxSharedObjects];
  int object_count;
  char barrier_orders[2];  // Addresses ThreadSanitizer orders barriers by.
  int barrier_parity;
  char block_order;  // Blocks that reuse this place are ordered.
};

struct Scheduler {
  std::mutex mutex;  // One launch at a time.
  Context* caller = nullptr;
  Block* blocks[kMaxResidentBlocks] = {};
  unsigned resident = 0;
  Fiber* current = nullptr;
  void (*kernel)(void*) = nullptr;
  void* argument = nullptr;
  Index3 grid{}, block{};
  uint32_t* order = nullptr;
  uint64_t next = 0, total = 0;
  uint64_t random_state = 88172645463325252u;
  Order scheduling = Order::kRandom;
  bool failed = false;
  char launch_order = 0;
  char report[1024] = "";
};
Scheduler scheduler;

uint64_t draw() {  // xorshift64
  uint64_t& s = scheduler.random_state;
  s ^= s << 13;
  s ^= s >> 7;
  s ^= s << 17;
  return s >> 11;
}

// Below `count`.
int draw_below(int count) {
  return static_cast<int>((draw() & 0xffffffffu) * static_cast<uint64_t>(count) >> 32);
}

bool random_order() { return scheduler.scheduling == Order::kRandom; }

bool same(const Site& a, const Site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

void make_ready(Fiber* fiber) {
  fiber->state = State::kReady;
  fiber->warp->ready[fiber->warp->ready_count++] = fiber;
  fiber->home->ready_count++;
}

Block* pick_block() {
  if (random_order()) {
    int ready = 0;
    for (unsigned b = 0; b < scheduler.resident; ++b) ready += scheduler.blocks[b]->ready_count;
    if (ready == 0) return nullptr;
    int k = draw_below(ready);
    unsigned b = 0;
    while (k >= scheduler.blocks[b]->ready_count) k -= scheduler.blocks[b++]->ready_count;
    return scheduler.blocks[b];
  }
  for (unsigned b = 0; b < scheduler.resident; ++b) {
    if (scheduler.blocks[b]->ready_count) return scheduler.blocks[b];
  }
  return nullptr;
}

Warp* pick_warp(Block& block) {
  if (random_order() && !block.strict_priority) {
    int k = draw_below(block.ready_count);
    Warp* warp = block.warps;
    while (k >= warp->ready_count) k -= (warp++)->ready_count;
    return warp;
  }
  if (random_order() && draw() % 512 == 0) {
    for (unsigned w = 0; w < block.warp_count; ++w) block.warps[w].priority = draw() & 0xffff;
  }
  Warp* best = nullptr;
  for (unsigned w = 0; w < block.warp_count; ++w) {
    Warp& warp = block.warps[w];
    if (warp.ready_count && (!best || warp.priority > best->priority)) best = &warp;
  }
  return best;
}

Fiber* pick_lane(Warp& warp) {
  const int last = --warp.ready_count;
  int i = last;
  if (random_order()) i = draw_below(last + 1);
  if (scheduler.scheduling == Order::kFirst) {  // Of the smallest lane.
    for (int k = 0; k < last; ++k) i = warp.ready[k]->lane < warp.ready[i]->lane ? k : i;
  }
  Fiber* fiber = warp.ready[i];
  warp.ready[i] = warp.ready[last];
  return fiber;
}

void switch_to_caller() {
  Fiber* from = scheduler.current;
  scheduler.current = nullptr;
  Context::switch_to(*from->context, *scheduler.caller);
}

// Goes on with any ready thread; with the caller when all are done.
void give_way() {
  Block* block = pick_block();
  if (!block) {
    for (unsigned b = 0; b < scheduler.resident; ++b) {
      if (scheduler.blocks[b]->live) {
        report("deadlock: threads wait and none can go on", scheduler.current->site);
      }
    }
    switch_to_caller();
    return;
  }
  Fiber* to = pick_lane(*pick_warp(*block));
  block->ready_count--;
  Fiber* from = scheduler.current;
  if (from == to) return;
  scheduler.current = to;
  running = to;
  if (from) {
    Context::switch_to(*from->context, *to->context);
  } else {
    Context::switch_to(*scheduler.caller, *to->context);
  }
}

void release_barrier_if_full(Block& block) {
  if (block.live == 0 || block.at_barrier < block.live) return;
  block.at_barrier = 0;
  block.barrier_site = {nullptr, 0};
  block.barrier_parity ^= 1;
  for (unsigned i = 0; i < block.fiber_count; ++i) {
    if (block.fibers[i]->state == State::kAtBarrier) make_ready(block.fibers[i]);
  }
}

void start_block(Block& block, uint64_t index);

void finish_thread(Fiber* me) {
  Block& block = *me->home;
  if (me->copy_count) report("a thread ends with asynchronous copies never waited for", me->site);
  me->state = State::kDone;
  me->warp->exited |= 1u << me->lane;
  block.live--;
  for (int i = 0; i < me->warp->used_meetings; ++i) {
    const Meeting& m = me->warp->meetings[i];
    if (m.mask && !m.complete && (m.mask >> me->lane & 1)) {
      report("a lane has ended while others of its mask wait for it", m.site);
    }
  }
  release_barrier_if_full(block);
  release(&block.block_order);
  release(&scheduler.launch_order);
  if (block.live == 0) {
    acquire(&block.block_order);
    if (scheduler.next < scheduler.total) start_block(block, scheduler.order[scheduler.next++]);
  }
}

void fiber_entry() {
  scheduler.current->context->arrived();
  for (;;) {
    Fiber* me = scheduler.current;
    acquire(&scheduler.launch_order);
    acquire(&me->home->block_order);
    scheduler.kernel(scheduler.argument);
    finish_thread(me);
    give_way();
  }
}

void start_block(Block& block, uint64_t index) {
  const Index3 grid = scheduler.grid, size = scheduler.block;
  const Index3 place = {static_cast<unsigned>(index % grid.x),
                        static_cast<unsigned>(index / grid.x % grid.y),
                        static_cast<unsigned>(index / grid.x / grid.y)};
  block.fiber_count = size.x * size.y * size.z;
  block.warp_count = (block.fiber_count + kWarpLanes - 1) / kWarpLanes;
  block.live = static_cast<int>(block.fiber_count);
  block.ready_count = block.at_barrier = block.object_count = 0;
  block.arena_used = kArenaMargin;
  block.barrier_site = {nullptr, 0};
  block.strict_priority = draw() & 1;
  const bool copies_land_early = random_order() && (draw() & 1);
  unpoison(block.arena, kArenaBytes);
  std::memset(block.arena, 0xFF, kArenaBytes);
  poison(block.arena, kArenaBytes);
  for (unsigned w = 0; w < block.warp_count; ++w) {
    Warp& warp = block.warps[w];
    warp.present = warp.exited = 0;
    warp.ready_count = 0;
    warp.priority = static_cast<unsigned>(draw() & 0xffff);
    if (scheduler.scheduling == Order::kFirst) warp.priority = kMaxThreads - w;
    if (scheduler.scheduling == Order::kLast) warp.priority = w;
    warp.used_meetings = 0;
  }
  for (unsigned i = 0; i < block.fiber_count; ++i) {
    Fiber& fiber = *block.fibers[i];
    fiber.thread = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    fiber.block = place;
    fiber.block_size = size;
    fiber.grid_size = grid;
    fiber.lane = static_cast<int>(i % kWarpLanes);
    fiber.copies_land_early = copies_land_early;
    fiber.warp = &block.warps[i / kWarpLanes];
    fiber.warp->present |= 1u << fiber.lane;
    fiber.site = {"the kernel's start", 0};
    fiber.copy_count = fiber.copy_group = 0;
    make_ready(&fiber);
  }
  release(&block.block_order);
}

void prepare_blocks(unsigned count, unsigned threads) {
  constexpr size_t kStackBytes = 256 << 10;
  for (unsigned b = 0; b < count; ++b) {
    if (!scheduler.blocks[b]) {
      scheduler.blocks[b] = new Block();
      scheduler.blocks[b]->arena = static_cast<char*>(std::aligned_alloc(1024, kArenaBytes));
    }
    Block& block = *scheduler.blocks[b];
    for (; block.allocated_fibers < threads; ++block.allocated_fibers) {
      auto* fiber = new Fiber();
      fiber->home = &block;
      fiber->context = new Context(kStackBytes, fiber_entry);
      block.fibers[block.allocated_fibers] = fiber;
    }
    block.live = block.ready_count = 0;
  }
}

void abandon_threads() {
  for (unsigned b = 0; b < scheduler.resident; ++b) {
    Block& block = *scheduler.blocks[b];
    for (unsigned i = 0; i < block.fiber_count; ++i) block.fibers[i]->context->restart();
  }
}

bool refuse(const char* why) {
  std::snprintf(scheduler.report, sizeof scheduler.report, "launch: %s", why);
  return false;
}

}  // namespace

void set_schedule(uint64_t seed, Order order) {
  const std::lock_guard<std::mutex> lock(scheduler.mutex);
  scheduler.random_state = seed * 0x9E3779B97F4A7C15u + 88172645463325252u;
  scheduler.scheduling = order;
  for (int i = 0; i < 4; ++i) draw();
}

const char* last_report() { return scheduler.report; }

bool run_grid(void (*kernel)(void*), void* argument, Index3 grid, Index3 block) {
  const std::lock_guard<std::mutex> lock(scheduler.mutex);
  const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) return refuse("bad block size");
  if (blocks == 0 || blocks > UINT32_MAX || grid.y > 65535 || grid.z > 65535) {
    return refuse("bad grid size");
  }
  Context caller;
  scheduler.caller = &caller;
  scheduler.kernel = kernel;
  scheduler.argument = argument;
  scheduler.grid = grid;
  scheduler.block = block;
  scheduler.failed = false;
  scheduler.total = blocks;
  scheduler.order = static_cast<uint32_t*>(std::malloc(blocks * sizeof(uint32_t)));
  for (uint64_t i = 0; i < blocks; ++i) scheduler.order[i] = static_cast<uint32_t>(i);
  for (uint64_t i = blocks - 1; random_order() && i > 0; --i) {
    const uint64_t j = draw() % (i + 1);
    const uint32_t other = scheduler.order[j];
    scheduler.order[j] = scheduler.order[i];
    scheduler.order[i] = other;
  }
  uint64_t resident = random_order() ? 1 + draw() % kMaxResidentBlocks : 1;
  if (resident > blocks) resident = blocks;
  while (resident > 1 && resident * threads > kMaxThreads) --resident;
  scheduler.resident = static_cast<unsigned>(resident);
  prepare_blocks(scheduler.resident, static_cast<unsigned>(threads));
  release(&scheduler.launch_order);
  for (scheduler.next = 0; scheduler.next < resident;) {
    Block& free = *scheduler.blocks[scheduler.next];
    start_block(free, scheduler.order[scheduler.next++]);
  }
  scheduler.current = nullptr;
  give_way();
  running = nullptr;
  acquire(&scheduler.launch_order);
  std::free(scheduler.order);
  if (scheduler.failed) abandon_threads();
  return !scheduler.failed;
}

void report(const char* what, Site site) {
  const Fiber& me = *scheduler.current;
  char* at = scheduler.report;
  size_t left = sizeof scheduler.report;
  auto print = [&](auto... arguments) {
    const int n = std::snprintf(at, left, arguments...);
    const size_t used = n < 0 ? 0 : static_cast<size_t>(n) < left ? static_cast<size_t>(n) : left;
    at += used;
    left -= used;
  };
  print("%s at %s:%d, block (%u, %u, %u) thread (%u, %u, %u)", what, site.file, site.line,
        me.block.x, me.block.y, me.block.z, me.thread.x, me.thread.y, me.thread.z);
  int shown = 0;
  for (unsigned i = 0; i < me.home->fiber_count && shown < 4; ++i) {
    const Fiber& other = *me.home->fibers[i];
    if (other.state != State::kAtBarrier && other.state != State::kInMeeting) continue;
    print("\n  thread (%u, %u, %u) waits at %s:%d", other.thread.x, other.thread.y, other.thread.z,
          other.site.file, other.site.line);
    shown++;
  }
  scheduler.failed = true;
  release(&scheduler.launch_order);
  switch_to_caller();
  std::abort();  // Nobody comes back to an abandoned thread.
}

void block_barrier(Site site) {
  Fiber* me = scheduler.current;
  Block& block = *me->home;
  me->site = site;
  me->state = State::kAtBarrier;
  if (!block.barrier_site.file) {
    block.barrier_site = site;
  } else if (!same(site, block.barrier_site)) {
    report("threads of one block are at different barriers", site);
  }
  char* order = &block.barrier_orders[block.barrier_parity];
  release(order);
  block.at_barrier++;
  release_barrier_if_full(block);
  give_way();
  acquire(order);
}

Meeting* meet(uint32_t mask, WarpOperation operation, const uint32_t* words, int count,
              void (*finish)(Meeting*), Site site) {
  Fiber* me = scheduler.current;
  Warp& warp = *me->warp;
  me->site = site;
  if (!(mask >> me->lane & 1)) report("the calling lane is not in its own mask", site);
  mask &= warp.present;
  if (mask & warp.exited) report("a mask names a lane that has ended", site);
  Meeting* meeting = nullptr;
  Meeting* free = nullptr;
  for (int i = 0; i < warp.used_meetings; ++i) {
    Meeting& m = warp.meetings[i];
    if (!m.mask) {
      free = &m;
    } else if (!m.complete && m.mask == mask && m.operation == operation && same(m.site, site)) {
      meeting = &m;
    } else if (!m.complete && (m.mask & mask)) {
      report("lanes of one mask are at different warp operations", site);
    }
  }
  if (!meeting) {
    meeting = free ? free : &warp.meetings[warp.used_meetings++];
    meeting->mask = mask;
    meeting->arrived = meeting->left = 0;
    meeting->operation = operation;
    meeting->site = site;
    meeting->complete = false;
  }
  for (int i = 0; i < count; ++i) meeting->words[me->lane][i] = words[i];
  meeting->arrived |= 1u << me->lane;
  // Only a warp barrier orders memory; shuffles, votes and multiplications don't.
  const bool orders = operation == WarpOperation::kSynchronize;
  if (orders) release(meeting);
  if (meeting->arrived == mask) {
    meeting->complete = true;
    if (finish) finish(meeting);
    const unsigned first = static_cast<unsigned>(&warp - me->home->warps) * kWarpLanes;
    for (unsigned i = 0; i < kWarpLanes; ++i) {
      if ((mask >> i & 1) && static_cast<int>(i) != me->lane)
        make_ready(me->home->fibers[first + i]);
    }
    if (random_order() && (draw() & 3) == 0) {
      make_ready(me);
      give_way();
    }
  } else {
    me->state = State::kInMeeting;
    give_way();
  }
  if (orders) acquire(meeting);
  return meeting;
}

void leave(Meeting* meeting) {
  meeting->left |= 1u << scheduler.current->lane;
  if (meeting->left == meeting->mask) meeting->mask = 0;
}

void* shared_memory(const void* tag, size_t bytes, size_t alignment) {
  Block& block = *scheduler.current->home;
  size_t total = bytes;
  for (int i = 0; i < block.object_count; ++i) {
    if (block.objects[i].tag == tag) return block.objects[i].data;
    total += block.objects[i].bytes;
  }
  const Site site = scheduler.current->site;
  if (total > kStaticSharedBytes) report("more than 48 KiB of static shared memory", site);
  if (block.object_count == kMaxSharedObjects) report("too many shared objects", site);
  size_t start = block.arena_used + kArenaMargin;
  start = (start + alignment - 1) / alignment * alignment;
  block.arena_used = start + bytes;
  unpoison(block.arena + start, bytes);
  block.objects[block.object_count++] = {tag, block.arena + start, bytes};
  return block.arena + start;
}

void push_copy(const AsyncCopy& copy) {
  Fiber& me = *scheduler.current;
  if (me.copy_count == kMaxCopies) report("too many asynchronous copies in flight", me.site);
  me.copies[me.copy_count] = copy;
  me.copies[me.copy_count++].group = me.copy_group;
}

void commit_copies() { scheduler.current->copy_group++; }

bool pop_copy(int keep, AsyncCopy* copy) {
  Fiber& me = *scheduler.current;
  if (me.copy_count == 0 || me.copies[0].group >= me.copy_group - keep) return false;
  *copy = me.copies[0];
  me.copy_count--;
  for (int i = 0; i < me.copy_count; ++i) me.copies[i] = me.copies[i + 1];
  return true;
}

}  // namespace emulation
