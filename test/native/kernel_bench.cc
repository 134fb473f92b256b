// Speeds of the linear kernels beside the machine's limits, measured alternately in one process:
//   kernel-bench [--threads N] [--implementation NAME] [--format NAME] [--repeat N]
// For each format and shape: decode (1 row) as a part of the bandwidth of a plain read of the same
// bytes, and prefill (512 rows) and small batches as a part of the best register-only int8 loop.
// Not a part of the tests.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "base/machine_limits.h"
#include "bench_times.h"
#include "cpu/backend/implementation.h"
#include "quant/blocks.h"

using namespace tramontane;
using namespace tramontane::cpu;

namespace {

// Seconds until all threads have run `work(thread)`.
double parallel(int threads, const std::function<void(int)>& work) {
  const double start = seconds();
  std::vector<std::thread> all;
  for (int t = 1; t < threads; ++t) all.emplace_back(work, t);
  work(0);
  for (std::thread& thread : all) thread.join();
  return seconds() - start;
}

struct Options {
  int threads = 2, repeat = 5;
  std::string implementation, format;
};

std::vector<uint8_t> random_weights(Format format, int32_t outputs, int32_t columns) {
  const FormatInfo& info = format_info(format);
  const size_t blocks = static_cast<size_t>(outputs) * (columns / info.block_values);
  std::vector<uint8_t> bytes(blocks * info.block_bytes);
  std::mt19937_64 random(1);
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    // No exponent of an f16 or f32 can be all ones.
    const uint64_t word = random() & 0xbfbfbfbfbfbfbfbf;
    std::memcpy(&bytes[i], &word, 8);
  }
  return bytes;
}

struct Case {
  Case(const Implementation& implementation, Format format, int32_t outputs, int32_t columns,
       int32_t rows)
      : kernels(*implementation.linear),
        outputs(outputs),
        columns(columns),
        rows(rows),
        bytes(random_weights(format, outputs, columns)) {
    std::mt19937 random(2);
    values.resize(static_cast<size_t>(rows) * columns);
    for (float& v : values) v = static_cast<float>(random() % 2001) / 1000 - 1;
    q.reserve(rows * quantized_stride(columns));
    scales.reserve(values.size() / 32);
    sums.reserve(values.size() / 16);
    for (int32_t r = 0; r < rows; ++r) {
      kernels.quantize(&values[r * columns], columns, q.data() + r * quantized_stride(columns),
                       scales.data() + r * (columns / 32), sums.data() + r * (columns / 16));
    }
    in = {rows, columns, values.data(), q.data(), scales.data(), sums.data()};
    out.resize(static_cast<size_t>(rows) * outputs);
    weight = {format, outputs, columns, bytes.data()};
  }

  // Seconds of one product with `count` rows and `outputs` outputs, split evenly among threads.
  double run(int threads, int32_t count, int32_t outputs) {
    in.rows = count;
    if (scratch.size() != static_cast<size_t>(threads)) scratch.resize(threads);
    const size_t bytes_needed = kernels.scratch_bytes(columns, count) + 64;
    for (auto& s : scratch) s.resize(std::max(s.size(), bytes_needed));
    const int32_t part = (outputs / threads + 47) / 48 * 48;
    return parallel(threads, [&](int t) {
      uint8_t* memory = scratch[t].data();
      memory += (64 - reinterpret_cast<uintptr_t>(memory) % 64) % 64;
      const LinearTask task = {&weight,    &in,         t * part, std::min(outputs, (t + 1) * part),
                               out.data(), weight.rows, false,    memory};
      kernels.linear(task);
    });
  }

  const LinearKernels& kernels;
  int32_t outputs, columns, rows;
  std::vector<uint8_t> bytes;
  std::vector<float> values, out;
  AlignedBuffer<float> scales;
  AlignedBuffer<int8_t> q;
  AlignedBuffer<int16_t> sums;
  std::vector<std::vector<uint8_t>> scratch;
  Activations in;
  WeightData weight;
};

double read_seconds(const std::vector<uint8_t>& bytes, int threads) {
  return parallel(threads, [&](int t) {
    const size_t part = bytes.size() / threads / 64 * 64;
    keep(read_all(bytes.data() + t * part, part));
  });
}

void measure(const Implementation& implementation, Format format, int32_t outputs, int32_t columns,
             const Options& options) {
  constexpr int32_t kRows = 512;
  Case c(implementation, format, outputs, columns, kRows);
  std::printf("%-7s %6dx%-6d", format_info(format).name, outputs, columns);
  // Short windows next to each other: what else runs on the machine slows both.
  std::vector<double> decodes, shares;
  for (int i = 0; i < 12 * options.repeat; ++i) {
    const double read =
        std::min(read_seconds(c.bytes, options.threads), read_seconds(c.bytes, options.threads));
    const double decode =
        std::min(c.run(options.threads, 1, outputs), c.run(options.threads, 1, outputs));
    decodes.push_back(decode);
    shares.push_back(read / decode);
  }
  std::printf("  decode %5.1f GB/s %3.0f%%", c.bytes.size() / median(decodes) / 1e9,
              100 * median(shares));
  for (const int32_t rows : {2, 3, 4, 8, 16, kRows}) {
    std::vector<double> rates, ratios;
    const int32_t part = std::min<int32_t>(outputs, 480 * 512 / rows) / 96 * 96;
    const double operations = 2.0 * rows * part * columns;
    for (int i = 0; i < 8 * options.repeat; ++i) {
      std::vector<double> peaks(options.threads);
      parallel(options.threads, [&](int t) { peaks[t] = int8_peak(); });
      rates.push_back(operations / c.run(options.threads, rows, part));
      ratios.push_back(rates.back() / std::accumulate(peaks.begin(), peaks.end(), 0.0));
    }
    std::printf("  %d: %3.0f G %3.0f%%", rows, median(rates) / 1e9, 100 * median(ratios));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--threads")
      options.threads = std::atoi(argv[i + 1]);
    else if (name == "--repeat")
      options.repeat = std::atoi(argv[i + 1]);
    else if (name == "--implementation")
      options.implementation = argv[i + 1];
    else if (name == "--format")
      options.format = argv[i + 1];
    else
      return std::fprintf(stderr, "unknown option %s\n", argv[i]), 1;
  }
  std::string error;
  const Implementation* implementation =
      choose_implementation(options.implementation.c_str(), &error);
  if (implementation == nullptr) return std::fprintf(stderr, "%s\n", error.c_str()), 1;
  std::printf("%s, %d threads. Rows: GOP/s and part of the int8 peak.\n", implementation->name,
              options.threads);
  for (int i = 0; i < kFormatCount; ++i) {
    const Format format = static_cast<Format>(i);
    if (format == Format::kGptq) continue;
    if (!options.format.empty() && options.format != format_info(format).name) continue;
    measure(*implementation, format, 14336, 4096, options);
    measure(*implementation, format, 4096, 14336, options);
  }
}
