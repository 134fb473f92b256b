// Memory for many small arrays that are freed together. It grows by chunks, so that nothing is
// copied and no single array waits for megabytes of new pages: where the rows of an automaton were
// one vector, its doubling took up to 8 ms.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

namespace tramontane {

template <typename T>
class Arena {
 public:
  // [count], with undefined values.
  T* take(size_t count) {
    if (count > left_) {
      left_ = std::max(count, kChunk);
      chunks_.push_back(std::make_unique_for_overwrite<T[]>(left_));
      free_ = chunks_.back().get();
      bytes_ += left_ * sizeof(T);
    }
    T* const taken = free_;
    free_ += count;
    left_ -= count;
    return taken;
  }

  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kChunk = (size_t{64} << 10) / sizeof(T);

  std::vector<std::unique_ptr<T[]>> chunks_;
  T* free_ = nullptr;
  size_t left_ = 0;
  size_t bytes_ = 0;
};

}  // namespace tramontane
