// The threads one model computes on: its share of the process's pool.
#pragma once

#include <cstdint>
#include <memory>

#include "base/thread_pool.h"

namespace tramontane::cpu {

class Workers {
 public:
  // Work below this, about 10 microseconds, is done by the calling thread alone.
  static constexpr double kSerialWork = 2e5;

  // Throws std::system_error.
  explicit Workers(int threads) : threads_(threads), pool_(ThreadPool::shared()) {
    pool_->grow(threads);
  }

  int threads() const { return threads_; }

  // Calls fn(chunk, thread) for every chunk, on this thread alone where `work` (multiply-adds, or
  // what takes as long, over all chunks) is below kSerialWork.
  template <typename Function>
  void run(int32_t chunks, double work, Function&& fn) const {
    pool_->parallel_for(work < kSerialWork ? 1 : threads_, chunks, fn);
  }

 private:
  int threads_;
  std::shared_ptr<ThreadPool> pool_;
};

}  // namespace tramontane::cpu
