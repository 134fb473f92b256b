// The memory bandwidth of a GPU: what its maker says, and what a kernel that only reads reaches.
// Prints one line of JSON. Compiled and run by scripts/gpu-check.
#include <algorithm>
#include <cstdio>

namespace {

constexpr size_t kBytes = size_t{1} << 30;

bool failed(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return false;
  std::fprintf(stderr, "%s: %s\n", doing, cudaGetErrorString(error));
  return true;
}

__global__ void read_all(const uint4* from, size_t count, unsigned* out) {
  unsigned sum = 0;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    const uint4 v = __ldcs(from + i);
    sum += v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == 1) *out = sum;  // Never for zeros; the compiler does not know.
}

}  // namespace

int main() {
  cudaDeviceProp device{};
  int clock = 0, width = 0;
  if (failed(cudaGetDeviceProperties(&device, 0), "asking the device") ||
      failed(cudaDeviceGetAttribute(&clock, cudaDevAttrMemoryClockRate, 0), "memory clock") ||
      failed(cudaDeviceGetAttribute(&width, cudaDevAttrGlobalMemoryBusWidth, 0), "bus width")) {
    return 1;
  }
  uint4* memory = nullptr;
  unsigned* out = nullptr;
  cudaEvent_t start, stop;
  if (failed(cudaMalloc(&memory, kBytes), "allocating") ||
      failed(cudaMalloc(&out, sizeof *out), "allocating") ||
      failed(cudaMemset(memory, 0, kBytes), "clearing") ||
      failed(cudaEventCreate(&start), "an event") || failed(cudaEventCreate(&stop), "an event")) {
    return 1;
  }
  float best = 0;
  for (int run = 0; run < 20; ++run) {
    cudaEventRecord(start);
    read_all<<<device.multiProcessorCount * 16, 256>>>(memory, kBytes / sizeof(uint4), out);
    cudaEventRecord(stop);
    float milliseconds = 0;
    if (failed(cudaEventSynchronize(stop), "reading") ||
        failed(cudaEventElapsedTime(&milliseconds, start, stop), "timing")) {
      return 1;
    }
    best = std::max(best, static_cast<float>(kBytes) / milliseconds / 1e6f);
  }
  // Two transfers a clock; the clock is in kHz, the width in bits.
  std::printf("{\"name\": \"%s\", \"statedGBs\": %.0f, \"measuredGBs\": %.0f}\n", device.name,
              2e3 * clock * (width / 8) / 1e9, static_cast<double>(best));
  return 0;
}
