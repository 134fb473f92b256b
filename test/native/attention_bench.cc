// The speed of attention at depth, beside a plain read of the same keys and values, alternately:
//   attention-bench [--threads N] [--implementation NAME] [--repeat N] [--type f16|f32]
// Heads of 128, 32 with 8 of keys and values; the layers one after another, so that what is read
// lies in memory and not in the caches, and as many of them as make pages of 2 MB. Not a part of
// the tests.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "base/machine_limits.h"
#include "bench_times.h"
#include "cpu/attention/attention.h"
#include "cpu/backend/implementation.h"

using namespace tramontane;
using namespace tramontane::cpu;

namespace {

constexpr int32_t kHeads = 32, kKvHeads = 8, kHeadSize = 128, kLayers = 16, kRows = 256;

std::vector<float> random_values(int32_t count) {
  std::mt19937 random(1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random() % 2001) / 1000 - 1;
  return values;
}

struct Sequence {
  Sequence(const RowKernels& rows, const Workers& workers, KvType type, int32_t depth)
      : depth(depth),
        attention(options(type, depth, workers.threads()), rows, workers),
        ids(static_cast<size_t>(depth / kPageTokens)) {
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
    for (int32_t position = 0; position < depth; position += kRows) {
      begin(position, kRows);
      for (int32_t layer = 0; layer < kLayers; ++layer) {
        for (int32_t row = 0; row < kRows; ++row) {
          const float* values = query.data() + 8 * ((position + row) % kRows);
          attention.store(layer, row, values, values + 64);
        }
      }
    }
  }

  static BackendOptions options(KvType type, int32_t depth, int threads) {
    BackendOptions options = {};
    options.shape.layers = kLayers;
    options.shape.heads = kHeads;
    options.shape.kv_heads = kKvHeads;
    options.shape.head_size = kHeadSize;
    options.pages = depth / kPageTokens;
    options.threads = threads;
    options.kv_type = type;
    return options;
  }

  void begin(int32_t position, int32_t rows) {
    SequenceSlice slice = {};
    slice.position = position;
    slice.rows = rows;
    slice.pages = ids.data();
    slice.page_count = static_cast<int32_t>(ids.size());
    Step step = {};
    step.rows = rows;
    step.sequences = &slice;
    step.sequence_count = 1;
    attention.begin_step(step);
  }

  double attend() {
    layer = (layer + 1) % kLayers;
    const double start = seconds();
    attention.attend(layer, query.data(), out.data());
    return seconds() - start;
  }

  int32_t depth, layer = 0;
  Attention attention;
  std::vector<int32_t> ids;
  std::vector<float> query = random_values(kRows * kHeads * kHeadSize);
  std::vector<float> out = std::vector<float>(query.size());
};

}  // namespace

int main(int argc, char** argv) {
  int threads = 1, repeat = 20;
  std::string implementation;
  KvType type = KvType::kF16;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--threads")
      threads = std::atoi(argv[i + 1]);
    else if (name == "--repeat")
      repeat = std::atoi(argv[i + 1]);
    else if (name == "--implementation")
      implementation = value;
    else if (name == "--type")
      type = value == "f32" ? KvType::kF32 : KvType::kF16;
    else
      return std::fprintf(stderr, "unknown option %s\n", argv[i]), 1;
  }
  std::string error;
  const Implementation* chosen = choose_implementation(implementation.c_str(), &error);
  if (chosen == nullptr) return std::fprintf(stderr, "%s\n", error.c_str()), 1;
  const Workers workers(threads);
  std::printf("%s, %d threads; one layer, ms\n", chosen->name, threads);
  for (const int32_t depth : {512, 2048, 8192}) {
    Sequence sequence(*chosen->rows, workers, type, depth);
    const size_t bytes = size_t{2} * static_cast<size_t>(depth) * kKvHeads * kHeadSize *
                         (type == KvType::kF16 ? 2 : 4);
    const std::vector<uint8_t> plain(kLayers * bytes);
    std::vector<double> rows, shares;
    sequence.begin(depth - 1, 1);
    for (int i = 0; i < repeat; ++i) {
      const double start = seconds();
      workers.run(threads, 1e9, [&](int32_t part, int /*thread*/) {
        const size_t some = bytes / static_cast<size_t>(threads);
        keep(read_all(plain.data() + static_cast<size_t>(i % kLayers) * bytes +
                          static_cast<size_t>(part) * some,
                      some));
      });
      const double read = seconds() - start;
      rows.push_back(sequence.attend());
      shares.push_back(read / rows.back());
    }
    std::printf("%6d tokens: a row %6.2f, %4.1f GB/s, %3.0f%% of a plain read", depth,
                1e3 * median(rows), static_cast<double>(bytes) / median(rows) / 1e9,
                100 * median(shares));
    sequence.begin(depth - kRows, kRows);
    std::vector<double> prompts;
    for (int i = 0; i < 5; ++i) prompts.push_back(sequence.attend());
    std::printf("; %d rows of a prompt %6.1f\n", kRows, 1e3 * median(prompts));
    std::fflush(stdout);
  }
}
