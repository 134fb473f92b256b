// Owners of what the CUDA runtime hands out, and its errors as one exception. It does not cross the
// backend seam.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "backend/rules.h"
#include "device/runtime_api.h"

namespace tramontane::cuda {

inline void check(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // What is not sticky must not be found again.
  const Status status =
      error == cudaErrorMemoryAllocation ? Status::kOutOfMemory : Status::kDeviceFailed;
  throw StatusError(status, std::string(doing) + ": " + cudaGetErrorString(error));
}

// Device memory, uninitialized.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(int64_t count) : count_(count) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, static_cast<size_t>(count) * sizeof(T)), "allocating device memory");
    data_ = static_cast<T*>(memory);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }

  T* data() const { return data_; }
  int64_t size() const { return count_; }

 private:
  T* data_ = nullptr;
  int64_t count_ = 0;
};

// Memory of the host that the device copies from and to by itself.
template <class T>
class PinnedArray {
 public:
  PinnedArray() = default;
  explicit PinnedArray(int64_t count) : count_(count) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, static_cast<size_t>(count) * sizeof(T)),
          "allocating pinned memory");
    data_ = static_cast<T*>(memory);
  }
  ~PinnedArray() { cudaFreeHost(data_); }
  PinnedArray(PinnedArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  PinnedArray& operator=(PinnedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }

  T* data() const { return data_; }
  int64_t size() const { return count_; }

 private:
  T* data_ = nullptr;
  int64_t count_ = 0;
};

class Stream {
 public:
  Stream() { check(cudaStreamCreate(&stream_), "creating a stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  void synchronize() const { check(cudaStreamSynchronize(stream_), "waiting for the device"); }

  template <class T>
  void copy_to_device(T* to, const T* from, int64_t count) const {
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(T), cudaMemcpyHostToDevice,
                          stream_),
          "copying to the device");
  }
  template <class T>
  void copy_from_device(T* to, const T* from, int64_t count) const {
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost,
                          stream_),
          "copying from the device");
  }
  template <class T>
  void zero(const DeviceArray<T>& memory) const {
    check(
        cudaMemsetAsync(memory.data(), 0, static_cast<size_t>(memory.size()) * sizeof(T), stream_),
        "clearing device memory");
  }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "creating an event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(const Stream& stream) { check(cudaEventRecord(event_, stream.get()), "an event"); }
  void wait() { check(cudaEventSynchronize(event_), "waiting for a copy"); }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace tramontane::cuda
