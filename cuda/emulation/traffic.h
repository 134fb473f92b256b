// Counts the bytes that kernels read from device memory, in sectors of 32 bytes as the hardware
// moves them. Off unless asked for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulation {

struct Traffic {
  uint64_t requested;   // Bytes the threads asked for, every time.
  uint64_t per_launch;  // Sectors touched at least once in a launch: a cache that holds all.
  uint64_t per_block;   // Sectors touched at least once in a block: no cache between blocks.
};

// Memory whose reads are counted; by cudaMalloc and cudaFree.
void watch_memory(const void* memory, size_t bytes);
void forget_memory(const void* memory);

void start_counting();
void next_launch();
// What was read since start_counting().
Traffic stop_counting();

extern bool counting;
void count(const void* address, size_t bytes);
inline void count_read(const void* address, size_t bytes) {
  if (counting) count(address, bytes);
}

}  // namespace emulation
