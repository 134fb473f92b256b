// The part of the CUDA runtime's host interface that the backend uses, over the emulator. Memory
// of the device is memory of the process, filled with 0xFF; streams run at once; graphs replay
// launches with the arguments they were captured with. Names and values are CUDA's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <vector>

#include "emulation/language.h"
#include "emulation/traffic.h"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorLaunchFailure = 719,
};
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();

struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem;
};
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);

cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaFreeHost(void* memory);

struct EmulatedStream {
  bool capturing = false;
  std::vector<std::function<cudaError_t()>> captured;
};
using cudaStream_t = EmulatedStream*;
cudaError_t cudaStreamCreate(cudaStream_t* stream);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);

enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice
};
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);

struct EmulatedEvent {};
using cudaEvent_t = EmulatedEvent*;
enum { cudaEventDisableTiming = 2 };
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);

struct EmulatedGraph {
  std::vector<std::function<cudaError_t()>> nodes;
};
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);

namespace emulation {

// The device the runtime pretends to have.
struct Device {
  int driver_version = 13000;
  int count = 1;
  size_t memory_bytes = size_t{8} << 30;
  size_t usable_bytes = SIZE_MAX;  // What allocations get of it, though more is said to be free.
};
// Until the next call; what is allocated stays.
void set_device(const Device& device);
size_t allocated_bytes();
// Runs `work` now, or later as a node of the graph under capture.
cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work);
cudaError_t remember(cudaError_t error);

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
            Arguments... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
  };
  const Call call = {kernel, std::tuple<Parameters...>(arguments...)};
  enqueue(stream, [call, grid, block] {
    const auto run = [](void* argument) {
      const Call& call = *static_cast<const Call*>(argument);
      std::apply(call.kernel, call.parameters);
    };
    Call copy = call;
    next_launch();
    return remember(run_grid(run, &copy, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z})
                        ? cudaSuccess
                        : cudaErrorLaunchFailure);
  });
}

}  // namespace emulation
