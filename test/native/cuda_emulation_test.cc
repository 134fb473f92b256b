// The emulator itself: what it computes, and that it notices kernels that are wrong.
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cuda_test.h"
#include "device/gpu.h"
#include "test.h"

namespace tramontane::cuda {
namespace {

using emulation::Order;
using test::DeviceArray;

[[maybe_unused]] bool reported(const char* what) {
  const bool found = std::string(emulation::last_report()).find(what) != std::string::npos;
  if (!found) std::cerr << "reported instead: " << emulation::last_report() << "\n";
  return found;
}

// Runs a kernel that breaks a rule.
template <class... Parameters, class... Arguments>
[[maybe_unused]] bool fails(void (*kernel)(Parameters...), dim3 grid, dim3 block,
                            Arguments... arguments) {
  launch(kernel, grid, block, nullptr, arguments...);
  return cudaGetLastError() == cudaErrorLaunchFailure;
}

struct Words {
  int values[256];
};

void reverse_kernel(int* out) {
  Words& s = shared<Words>();
  s.values[threadIdx.x] = static_cast<int>(threadIdx.x + blockIdx.x);
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = s.values[blockDim.x - 1 - threadIdx.x];
}

TEST("emulation: barriers order shared memory under every schedule") {
  DeviceArray<int> out(6 * 96);
  for (int schedule = 0; schedule < test::schedules(); ++schedule) {
    test::use_schedule(schedule);
    launch(reverse_kernel, dim3(6), dim3(96), nullptr, out.data());
    int wrong = 0;
    for (int b = 0; b < 6; ++b) {
      for (int i = 0; i < 96; ++i) wrong += out[b * 96 + i] != 95 - i + b;
    }
    CHECK_EQ(wrong, 0);
  }
}

#if !defined(__SANITIZE_THREAD__)  // Races on purpose.
void missing_barrier_kernel(int* out) {
  Words& s = shared<Words>();
  s.values[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = s.values[threadIdx.x ? threadIdx.x - 1 : 0];
}

TEST("emulation: a missing barrier gives a wrong result under a random schedule") {
  DeviceArray<int> out(64);
  int wrong = 0;
  for (int seed = 1; seed <= 10; ++seed) {
    emulation::set_schedule(static_cast<uint64_t>(seed), Order::kRandom);
    launch(missing_barrier_kernel, dim3(1), dim3(64), nullptr, out.data());
    for (int i = 1; i < 64; ++i) wrong += out[i] != i - 1;
  }
  CHECK(wrong > 0);
}

void order_kernel(int* order, int* next) {
  order[atomicAdd(next, 1)] = static_cast<int>(blockIdx.x);
}

TEST("emulation: blocks run in random order") {
  std::set<std::vector<int>> orders;
  for (int seed = 1; seed <= 8; ++seed) {
    emulation::set_schedule(static_cast<uint64_t>(seed), Order::kRandom);
    DeviceArray<int> order(8), next(1);
    next[0] = 0;
    launch(order_kernel, dim3(8), dim3(1), nullptr, order.data(), next.data());
    orders.insert(std::vector<int>(order.data(), order.data() + 8));
  }
  CHECK(orders.size() >= 4);
}
#endif

// Counts how often a block sees another one between its own start and end.
void interleaved_kernel(int* inside, int* seen) {
  if (threadIdx.x == 0 && atomicAdd(inside, 1) > 0) atomicOr(seen, 1);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(inside, -1);
}

TEST("emulation: blocks interleave") {
  DeviceArray<int> inside(1), seen(1);
  inside[0] = seen[0] = 0;
  for (int seed = 1; seed <= 4; ++seed) {
    emulation::set_schedule(static_cast<uint64_t>(seed), Order::kRandom);
    launch(interleaved_kernel, dim3(16), dim3(32), nullptr, inside.data(), seen.data());
  }
  CHECK_EQ(seen[0], 1);
}

void shuffle_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane * 4] = __shfl_xor_sync(kAllLanes, lane, 5);
  out[lane * 4 + 1] = __shfl_sync(kAllLanes, lane, 3, 8);
  out[lane * 4 + 2] = static_cast<int>(__ballot_sync(kAllLanes, lane % 3 == 0));
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  out[lane * 4 + 3] = __shfl_xor_sync(half, lane, 1);
}

TEST("emulation: shuffles and votes") {
  DeviceArray<int> out(128);
  unsigned thirds = 0;
  for (int i = 0; i < 32; i += 3) thirds |= 1u << i;
  for (int schedule = 0; schedule < test::schedules(); ++schedule) {
    test::use_schedule(schedule);
    launch(shuffle_kernel, dim3(1), dim3(32), nullptr, out.data());
    for (int lane = 0; lane < 32; ++lane) {
      CHECK_EQ(out[lane * 4], lane ^ 5);
      CHECK_EQ(out[lane * 4 + 1], (lane & ~7) + 3);
      CHECK_EQ(out[lane * 4 + 2], static_cast<int>(thirds));
      CHECK_EQ(out[lane * 4 + 3], lane ^ 1);
    }
  }
}

// Fragments are gathered as CUTLASS's CuTe strides have it (mma_traits_sm80.hpp): element v of a
// lane of A is at index (lane % 4) * 64 + lane / 4 + (v % 4) * 16 + (v / 4 % 2) * 8 + (v / 8) * 256
// of a column-major [16][32] matrix.
void multiply_kernel(const int8_t* a, const int8_t* b, int* c) {
  const int lane = static_cast<int>(threadIdx.x), t = lane & 3, group = lane >> 2;
  uint32_t fa[4] = {}, fb[2] = {};
  int fc[4] = {};
  for (int v = 0; v < 16; ++v) {
    const int i = t * 64 + group + (v & 3) * 16 + (v >> 2 & 1) * 8 + (v >> 3) * 256;
    fa[v >> 2] |= uint32_t{static_cast<uint8_t>(a[i % 16 * 32 + i / 16])} << (8 * (v & 3));
  }
  for (int v = 0; v < 8; ++v) {
    const int i = t * 32 + group + (v & 3) * 8 + (v >> 2) * 128;
    fb[v >> 2] |= uint32_t{static_cast<uint8_t>(b[i % 8 * 32 + i / 8])} << (8 * (v & 3));
  }
  mma_s8_k32(fc, fa, fb);
  int halves[4] = {};
  mma_s8_k16(halves, fa[0], fa[1], fb[0]);
  mma_s8_k16(halves, fa[2], fa[3], fb[1]);
  for (int v = 0; v < 4; ++v) {
    const int i = t * 32 + group + (v & 1) * 16 + (v >> 1) * 8;
    c[i % 16 * 8 + i / 16] = fc[v];
    c[128 + i % 16 * 8 + i / 16] = halves[v];
  }
}

TEST("emulation: int8 products have the published fragment layout") {
  std::mt19937 random(1);
  DeviceArray<int8_t> a(512), b(256);
  DeviceArray<int> c(256);
  for (int i = 0; i < 512; ++i) a[i] = static_cast<int8_t>(random());
  for (int i = 0; i < 256; ++i) b[i] = static_cast<int8_t>(random());
  launch(multiply_kernel, dim3(1), dim3(32), nullptr, a.data(), b.data(), c.data());
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      int sum = 0;
      for (int k = 0; k < 32; ++k) sum += a[m * 32 + k] * b[n * 32 + k];
      CHECK_EQ(c[m * 8 + n], sum);
      CHECK_EQ(c[128 + m * 8 + n], sum);
    }
  }
}

struct Tiles {
  alignas(16) uint16_t a[16][24];
  alignas(16) uint16_t b[16][24];  // [k][n]
};

// A from rows, B transposed while it is loaded.
void multiply_f16_kernel(const uint16_t* a, const uint16_t* b, float* c) {
  Tiles& s = shared<Tiles>();
  const int lane = static_cast<int>(threadIdx.x), t = lane & 3, group = lane >> 2;
  for (int i = lane; i < 256; i += 32) s.a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 256; i += 32) s.b[i / 16][i % 16] = b[i];
  __syncwarp();
  uint32_t fa[4], fb[4];
  ldmatrix_x4(fa, &s.a[lane & 15][(lane >> 4) * 8]);
  ldmatrix_x4_transposed(fb, &s.b[lane & 15][(lane >> 4) * 8]);
  for (int half = 0; half < 2; ++half) {
    const uint32_t columns[2] = {fb[2 * half], fb[2 * half + 1]};
    float fc[4] = {};
    mma_f16_k16(fc, fa, columns);
    for (int v = 0; v < 4; ++v) {
      c[(group + 8 * (v >> 1)) * 16 + half * 8 + 2 * t + (v & 1)] = fc[v];
    }
  }
}

TEST("emulation: f16 products from ldmatrix, plain and transposed") {
  std::mt19937 random(2);
  DeviceArray<uint16_t> a(256), b(256);
  DeviceArray<float> c(256);
  for (int i = 0; i < 256; ++i) {
    a[i] = float_to_half(static_cast<float>(random() % 17) - 8);
    b[i] = float_to_half(static_cast<float>(random() % 17) - 8);
  }
  launch(multiply_f16_kernel, dim3(1), dim3(32), nullptr, a.data(), b.data(), c.data());
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      float sum = 0;
      for (int k = 0; k < 16; ++k)
        sum += half_to_float(a[m * 16 + k]) * half_to_float(b[k * 16 + n]);
      CHECK_EQ(c[m * 16 + n], sum);
    }
  }
}

TEST("emulation: half floats round to nearest even and back") {
  int wrong = 0;
  for (unsigned h = 0; h < 65536; ++h) {
    const float value = half_to_float(static_cast<uint16_t>(h));
    if (value == value) wrong += float_to_half(value) != h;
  }
  CHECK_EQ(wrong, 0);
  CHECK_EQ(float_to_half(1.0f + 0x1p-11f), 0x3c00);
  CHECK_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3c02);
  CHECK_EQ(float_to_half(65520.0f), 0x7c00);
  CHECK_EQ(float_to_half(0x1p-25f), 0);
  CHECK_EQ(float_to_half(0x1.8p-25f), 1);
}

struct Quads {
  alignas(16) int values[128];
};

template <bool kWait>
void copy_kernel(const int* in, int* out) {
  Quads& s = shared<Quads>();
  const int i = static_cast<int>(threadIdx.x) * 4;
  cp_async16(&s.values[i], in + i, threadIdx.x < 24);
  cp_async_commit();
  if (kWait) cp_async_wait<0>();
  __syncthreads();
  for (int k = 0; k < 4; ++k) out[i + k] = s.values[127 - i - k];
  cp_async_wait<0>();
}

#if !defined(__SANITIZE_THREAD__)  // Races on purpose.
TEST("emulation: an asynchronous copy without its wait is seen, with it is right") {
  DeviceArray<int> in(128), out(128);
  for (int i = 0; i < 128; ++i) in[i] = i + 1;
  int unwaited = 0, waited = 0;
  const auto wrong = [&] {
    int n = 0;
    for (int i = 0; i < 128; ++i) n += out[i] != (127 - i < 96 ? 128 - i : 0);
    return n;
  };
  for (int seed = 1; seed <= 10; ++seed) {
    emulation::set_schedule(static_cast<uint64_t>(seed), Order::kRandom);
    launch(copy_kernel<true>, dim3(1), dim3(32), nullptr, in.data(), out.data());
    waited += wrong();
    launch(copy_kernel<false>, dim3(1), dim3(32), nullptr, in.data(), out.data());
    unwaited += wrong();
  }
  CHECK_EQ(waited, 0);
  CHECK(unwaited > 0);
}
#endif

#if !defined(__SANITIZE_THREAD__)  // Threads are abandoned where they are, in no order.
void abandoned_copy_kernel(const int* in) {
  Quads& s = shared<Quads>();
  cp_async16(&s.values[threadIdx.x * 4], in + threadIdx.x * 4, true);
}

TEST("emulation: a copy never waited for is reported") {
  DeviceArray<int> in(128);
  emulation::set_schedule(1, Order::kFirst);
  CHECK(fails(abandoned_copy_kernel, dim3(1), dim3(32), in.data()));
  CHECK(reported("never waited for"));
}

void misaligned_copy_kernel(const int* in) {
  cp_async16(&shared<Quads>().values[0], in + 1, true);
  cp_async_wait<0>();
}

TEST("emulation: a copy that is not aligned is reported") {
  DeviceArray<int> in(128);
  CHECK(fails(misaligned_copy_kernel, dim3(1), dim3(1), in.data()));
  CHECK(reported("not aligned"));
}

void divergent_barrier_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

void divergent_shuffle_kernel(int* out) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) value += __shfl_xor_sync(kAllLanes, value, 1);
  out[threadIdx.x] = value;
}

void early_end_kernel() {
  if (threadIdx.x == 3) return;
  __syncwarp();
}

void different_operations_kernel(int* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1, 1);
  } else {
    out[threadIdx.x] = static_cast<int>(__ballot_sync(kAllLanes, 1));
  }
}

struct TooMuch {
  char bytes[(48 << 10) + 16];
};
void too_much_kernel() { shared<TooMuch>().bytes[0] = 0; }

TEST("emulation: divergence and launches that break a rule are reported, and later ones run") {
  DeviceArray<int> out(96 * 6);
  for (int seed = 1; seed <= 5; ++seed) {
    emulation::set_schedule(static_cast<uint64_t>(seed), Order::kRandom);
    CHECK(fails(divergent_barrier_kernel, dim3(1), dim3(64)));
    CHECK(reported("different barriers"));
    CHECK(fails(divergent_shuffle_kernel, dim3(2), dim3(32), out.data()));
    CHECK(fails(early_end_kernel, dim3(1), dim3(32)));
    CHECK(reported("ended"));
    CHECK(fails(different_operations_kernel, dim3(1), dim3(32), out.data()));
    CHECK(reported("different warp operations"));
    CHECK(fails(too_much_kernel, dim3(1), dim3(1)));
    CHECK(reported("48 KiB"));
    CHECK(fails(reverse_kernel, dim3(1), dim3(1025), out.data()));
    CHECK(fails(reverse_kernel, dim3(1, 65536), dim3(1), out.data()));
    launch(reverse_kernel, dim3(6), dim3(96), nullptr, out.data());
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK_EQ(out[5 * 96], 95 + 5);
  }
}

#endif

void store_kernel(int* out, int value) { out[threadIdx.x] = value; }

TEST("emulation: a graph keeps the arguments it was captured with") {
  DeviceArray<int> out(1);
  cudaStream_t stream = nullptr;
  CHECK(cudaStreamCreate(&stream) == cudaSuccess);
  out[0] = 0;
  int value = 5;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  launch(store_kernel, dim3(1), dim3(1), stream, out.data(), value);
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK_EQ(out[0], 0);
  cudaGraphExec_t executable = nullptr;
  CHECK(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  value = 6;
  CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
  CHECK_EQ(out[0], 5);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

void read_kernel(const int* in, int* out) {
  out[blockIdx.x] = read(in) + read(in + 8 + 8 * blockIdx.x + threadIdx.x % 8);
}

TEST("emulation: reads are counted by launch, by block and by request") {
  DeviceArray<int> in(64), out(4);
  emulation::start_counting();
  launch(read_kernel, dim3(4), dim3(1), nullptr, in.data(), out.data());
  const emulation::Traffic traffic = emulation::stop_counting();
  CHECK_EQ(traffic.requested, 4u * 8);
  CHECK_EQ(traffic.per_launch, 5u * 32);
  CHECK_EQ(traffic.per_block, 8u * 32);
}

}  // namespace
}  // namespace tramontane::cuda
