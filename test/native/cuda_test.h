// Helpers of the tests that run kernels on the emulator.
#pragma once

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include "emulation/runtime.h"

namespace tramontane::test {

// Memory of the emulated device, which the test may touch directly. Filled with 0xFF.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    void* memory = nullptr;
    if (cudaMalloc(&memory, count * sizeof(T)) != cudaSuccess) std::abort();
    data_ = static_cast<T*>(memory);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    if (!values.empty()) std::memcpy(data_, values.data(), values.size() * sizeof(T));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return data_; }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t count_;
};

// Schedules each kernel test runs under: the first, the last, then random ones; fewer under
// sanitizers, which are slow. TRAMONTANE_CUDA_SCHEDULES changes the number.
inline int schedules() {
  static const int count = [] {
    const char* wanted = std::getenv("TRAMONTANE_CUDA_SCHEDULES");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const int chosen = wanted ? std::atoi(wanted) : 5;
#else
    const int chosen = wanted ? std::atoi(wanted) : 52;
#endif
    std::cerr << "each kernel under " << chosen << " schedules\n";
    return chosen;
  }();
  return count;
}

inline void use_schedule(int i) {
  using emulation::Order;
  emulation::set_schedule(static_cast<uint64_t>(i), i == 0   ? Order::kFirst
                                                    : i == 1 ? Order::kLast
                                                             : Order::kRandom);
}

}  // namespace tramontane::test
