#include "emulation/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "emulation/traffic.h"

namespace {

// TRAMONTANE_EMULATED_DEVICE, such as `12040 1 8000000 8000000`: the members of Device in order.
// For tests that see the emulator only as a plug-in.
emulation::Device configured_device() {
  emulation::Device device;
  const char* text = std::getenv("TRAMONTANE_EMULATED_DEVICE");
  if (!text) return device;
  if (std::sscanf(text, "%d %d %zu %zu", &device.driver_version, &device.count,
                  &device.memory_bytes, &device.usable_bytes) != 4) {
    std::fprintf(stderr, "TRAMONTANE_EMULATED_DEVICE is not four numbers: %s\n", text);
    std::abort();
  }
  return device;
}

struct State {
  std::mutex mutex;
  emulation::Device device = configured_device();
  std::map<void*, size_t> allocations;
  size_t allocated = 0;
};

// A host thread's own, as CUDA has it.
thread_local cudaError_t last_error = cudaSuccess;

State& state() {
  static State state;
  return state;
}

}  // namespace

namespace emulation {

void set_device(const Device& device) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().device = device;
}

size_t allocated_bytes() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return state().allocated;
}

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work) {
  if (!stream || !stream->capturing) return work();
  stream->captured.push_back(std::move(work));
  return cudaSuccess;
}

}  // namespace emulation

using emulation::remember;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "driver version is insufficient";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      return emulation::last_report();
  }
  return "unknown error";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = state().device.driver_version;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (state().device.driver_version < 13000) return remember(cudaErrorInsufficientDriver);
  if (state().device.count == 0) return remember(cudaErrorNoDevice);
  *count = state().device.count;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return device >= 0 && device < state().device.count ? cudaSuccess
                                                      : remember(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {"emulated device", 8, 0, 4, state().device.memory_bytes};
  return cudaSetDevice(device);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  *total = state().device.memory_bytes;
  *free = *total > state().allocated ? *total - state().allocated : 0;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = nullptr;
  {
    const std::lock_guard<std::mutex> lock(state().mutex);
    const emulation::Device& device = state().device;
    const size_t most = std::min(device.memory_bytes, device.usable_bytes);
    if (state().allocated > most || bytes > most - state().allocated) {
      return last_error = cudaErrorMemoryAllocation;
    }
    const size_t rounded = (bytes + 255) / 256 * 256;
    void* allocated = nullptr;
    // Exactly `bytes`, so that AddressSanitizer sees the first byte behind.
    if (posix_memalign(&allocated, 256, bytes ? bytes : 1)) return cudaErrorMemoryAllocation;
    std::memset(allocated, 0xFF, bytes);
    state().allocations[allocated] = rounded;
    state().allocated += rounded;
    *memory = allocated;
  }
  emulation::watch_memory(*memory, bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  emulation::forget_memory(memory);
  const std::lock_guard<std::mutex> lock(state().mutex);
  const auto found = state().allocations.find(memory);
  if (found == state().allocations.end()) return cudaErrorInvalidValue;
  state().allocated -= found->second;
  state().allocations.erase(found);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = std::malloc(bytes ? bytes : 1);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new EmulatedStream();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return last_error; }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return emulation::enqueue(stream, [=] {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return emulation::enqueue(stream, [=] {
    std::memset(to, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capturing = true;
  stream->captured.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  stream->capturing = false;
  *graph = new EmulatedGraph{std::move(stream->captured)};
  stream->captured.clear();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const auto& node : executable->nodes) {
    const cudaError_t error = node();
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}
