// Paged attention against its definition in double precision.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "cpu/attention/attention.h"
#include "cpu/backend/implementation.h"
#include "test.h"

namespace tramontane::cpu {
namespace {

constexpr int kLayers = 2, kLayer = 1;

struct Case {
  int heads, kv_heads, head_size, window, length;
  KvType type;
};

BackendOptions options_of(const Case& c, int pages, int threads) {
  BackendOptions options{};
  options.shape.layers = kLayers;
  options.shape.heads = c.heads;
  options.shape.kv_heads = c.kv_heads;
  options.shape.head_size = c.head_size;
  options.window = c.window;
  options.pages = pages;
  options.threads = threads;
  options.kv_type = c.type;
  return options;
}

// Queries, keys and values of one sequence. Keys grow towards some positions, so that a softmax
// has clear winners anywhere, and a key too many or too few is seen.
struct Sequence {
  Sequence(const Case& c, uint32_t seed) : c(c) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1);
    const auto fill = [&](std::vector<float>& values, int width) {
      values.resize(static_cast<size_t>(c.length) * static_cast<size_t>(width));
      for (float& value : values) value = normal(random);
    };
    fill(queries, c.heads * c.head_size);
    fill(keys, c.kv_heads * c.head_size);
    fill(values, c.kv_heads * c.head_size);
  }

  static double stored(float value, KvType type) {
    return type == KvType::kF16 ? f16_to_f32(f32_to_f16(value)) : value;
  }

  // [length][heads][head_size] by definition.
  std::vector<double> expected() const {
    std::vector<double> out(queries.size());
    const int group = c.heads / c.kv_heads, size = c.head_size;
    for (int p = 0; p < c.length; ++p) {
      const int first = c.window > 0 ? std::max(0, p - c.window + 1) : 0;
      for (int h = 0; h < c.heads; ++h) {
        const float* query = queries.data() + (p * c.heads + h) * size;
        double* to = out.data() + (p * c.heads + h) * size;
        double total = 0;
        for (int k = first; k <= p; ++k) {
          const int row = (k * c.kv_heads + h / group) * size;
          double score = 0;
          for (int i = 0; i < size; ++i) {
            score += query[i] * stored(keys[static_cast<size_t>(row + i)], c.type);
          }
          const double weight = std::exp(score / std::sqrt(static_cast<double>(size)));
          total += weight;
          for (int i = 0; i < size; ++i) {
            to[i] += weight * stored(values[static_cast<size_t>(row + i)], c.type);
          }
        }
        for (int i = 0; i < size; ++i) to[i] /= total;
      }
    }
    return out;
  }

  Case c;
  std::vector<float> queries, keys, values;
};

// A sequence's ring of pages as the model keeps it: entering a page takes a fresh one and returns
// the one that left the window. Fresh ones come in a scattered order.
class Ring {
 public:
  Ring(const Case& c, int chunk, std::vector<int32_t>& free) : free_(free) {
    const int longest = (c.length + kPageTokens - 1) / kPageTokens;
    const int windowed = (c.window + chunk - 2 + kPageTokens - 1) / kPageTokens + 1;
    pages_.assign(static_cast<size_t>(c.window > 0 ? std::min(longest, windowed) : longest), -1);
  }
  void enter(int position, int rows) {
    for (int page = position / kPageTokens; page <= (position + rows - 1) / kPageTokens; ++page) {
      if (page < next_) continue;
      next_ = page + 1;
      int32_t& place = pages_[static_cast<size_t>(page) % pages_.size()];
      if (place >= 0) free_.insert(free_.begin(), place);
      place = free_.back();
      free_.pop_back();
    }
  }
  const std::vector<int32_t>& pages() const { return pages_; }

 private:
  std::vector<int32_t>& free_;
  std::vector<int32_t> pages_;
  int next_ = 0;
};

std::vector<int32_t> scattered_pages(int count) {
  std::vector<int32_t> pages(static_cast<size_t>(count));
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), std::mt19937(5));
  return pages;
}

// Computes all sequences chunk by chunk, side by side in the same steps.
std::vector<std::vector<float>> run(const std::vector<const Sequence*>& sequences, int chunk,
                                    int threads, const RowKernels& kernels) {
  const Case& c = sequences[0]->c;
  int pages = 1;
  for (const Sequence* sequence : sequences) pages += sequence->c.length / kPageTokens + 2;
  std::vector<int32_t> free = scattered_pages(pages);
  const Workers workers(threads);
  Attention attention(options_of(c, pages, threads), kernels, workers);

  // What a former owner left in the pages must never matter.
  const std::vector<float> poison(static_cast<size_t>(c.kv_heads * c.head_size),
                                  std::numeric_limits<float>::quiet_NaN());
  for (int32_t page = 0; page < pages; ++page) {
    const SequenceSlice slice = {0, kPageTokens, 0, &page, 1, 0};
    attention.begin_step({nullptr, kPageTokens, &slice, 1, nullptr, 0});
    for (int layer = 0; layer < kLayers; ++layer) {
      for (int row = 0; row < kPageTokens; ++row) {
        attention.store(layer, row, poison.data(), poison.data());
      }
    }
  }

  std::vector<Ring> rings;
  std::vector<std::vector<float>> results;
  int length = 0;
  for (const Sequence* sequence : sequences) {
    rings.emplace_back(sequence->c, chunk, free);
    results.emplace_back();
    length = std::max(length, sequence->c.length);
  }
  const int query_width = c.heads * c.head_size, key_width = c.kv_heads * c.head_size;
  for (int position = 0; position < length; position += chunk) {
    std::vector<SequenceSlice> slices;
    std::vector<size_t> members;
    std::vector<float> queries;
    int32_t rows = 0;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const int count = std::min(chunk, sequences[s]->c.length - position);
      if (count <= 0) continue;
      rings[s].enter(position, count);
      slices.push_back({rows, count, position, rings[s].pages().data(),
                        static_cast<int32_t>(rings[s].pages().size()), 0});
      members.push_back(s);
      const float* from = sequences[s]->queries.data() + position * query_width;
      queries.insert(queries.end(), from, from + count * query_width);
      rows += count;
    }
    attention.begin_step(
        {nullptr, rows, slices.data(), static_cast<int32_t>(slices.size()), nullptr, 0});
    for (size_t i = 0; i < slices.size(); ++i) {
      const Sequence& sequence = *sequences[members[i]];
      for (int row = 0; row < slices[i].rows; ++row) {
        const int from = (position + row) * key_width;
        attention.store(kLayer, slices[i].first_row + row, sequence.keys.data() + from,
                        sequence.values.data() + from);
      }
    }
    std::vector<float> out(queries.size(), std::numeric_limits<float>::quiet_NaN());
    attention.attend(kLayer, queries.data(), out.data());
    for (size_t i = 0; i < slices.size(); ++i) {
      const auto first = out.begin() + slices[i].first_row * query_width;
      results[members[i]].insert(results[members[i]].end(), first,
                                 first + slices[i].rows * query_width);
    }
  }
  return results;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

template <typename Test>
void for_each_implementation(Test test) {
  for (const Implementation& implementation : implementations()) {
    if (implementation.supported()) test(*implementation.rows);
  }
}

// 32 and 33 lie at a page's border, 1100 is longer than two spans.
constexpr Case kCases[] = {
    {4, 4, 8, 0, 70, KvType::kF32},     {8, 2, 16, 48, 260, KvType::kF32},
    {8, 2, 32, 48, 260, KvType::kF16},  {6, 2, 24, 32, 150, KvType::kF16},
    {7, 1, 40, 33, 150, KvType::kF32},  {4, 1, 128, 1, 100, KvType::kF16},
    {4, 2, 8, 31, 130, KvType::kF32},   {2, 1, 8, 0, 1100, KvType::kF16},
    {2, 1, 8, 600, 1200, KvType::kF32}, {20, 2, 8, 0, 50, KvType::kF16},
};

TEST("attention equals its definition: groups, windows, page borders, recycled pages") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const Case& c : kCases) {
      const Sequence sequence(c, 1);
      const std::vector<double> expected = sequence.expected();
      const std::vector<float> out = run({&sequence}, 64, 2, kernels)[0];
      double worst = 0;
      for (size_t i = 0; i < out.size(); ++i) {
        const double error = std::fabs(out[i] - expected[i]);
        worst = error <= worst ? worst : error;  // NaN too becomes the worst.
      }
      CHECK_NEAR(worst, 0, 2e-6);
    }
  });
}

TEST("attention has the same bits on every implementation") {
  for (const Case& c : kCases) {
    const Sequence sequence(c, 7);
    const std::vector<float> expected = run({&sequence}, 64, 2, kScalarRows)[0];
    for_each_implementation([&](const RowKernels& kernels) {
      CHECK(same_bits(run({&sequence}, 64, 2, kernels)[0], expected));
    });
  }
}

TEST("attention has the same bits for every chunk size and thread count") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const Case& c : kCases) {
      const Sequence sequence(c, 2);
      const std::vector<float> all = run({&sequence}, c.length, 1, kernels)[0];
      const bool is_long = c.length > 500;
      for (const int chunk : {1, 5, 48, 49, 64, c.length}) {
        for (const int threads : {1, 2, 4}) {
          // Long sequences are there for their spans, which few rows share among many threads.
          if (is_long && (chunk > 1 || threads < 4)) continue;
          CHECK(same_bits(run({&sequence}, chunk, threads, kernels)[0], all));
        }
      }
    }
  });
}

TEST("attention has the same bits alone and among other sequences") {
  for_each_implementation([](const RowKernels& kernels) {
    Case c = {4, 2, 16, 48, 300, KvType::kF16};
    const Sequence first(c, 3);
    c.length = 77;
    const Sequence second(c, 4);
    c.length = 1;
    const Sequence third(c, 5);
    const auto together = run({&third, &first, &second}, 7, 2, kernels);
    CHECK(same_bits(together[0], run({&third}, 64, 1, kernels)[0]));
    CHECK(same_bits(together[1], run({&first}, 64, 1, kernels)[0]));
    CHECK(same_bits(together[2], run({&second}, 64, 1, kernels)[0]));
  });
}

TEST("a key that is not a number reaches the rows that see it, and no other") {
  for_each_implementation([](const RowKernels& kernels) {
    const Case c = {2, 1, 8, 40, 150, KvType::kF16};
    Sequence sequence(c, 6);
    const std::vector<float> before = run({&sequence}, c.length, 1, kernels)[0];
    constexpr int kBad = 70;
    sequence.keys[kBad * 8 + 3] = std::numeric_limits<float>::quiet_NaN();
    for (const int chunk : {1, 64, 150}) {
      const std::vector<float> out = run({&sequence}, chunk, 2, kernels)[0];
      for (size_t i = 0; i < out.size(); ++i) {
        const int position = static_cast<int>(i) / 16;
        if (position >= kBad && position < kBad + c.window) {
          CHECK(std::isnan(out[i]));
        } else {
          CHECK_EQ(out[i], before[i]);
        }
      }
    }
  });
}

TEST("positions near the largest number work") {
  const Case c = {2, 1, 8, 48, 0, KvType::kF32};
  const Workers workers(1);
  Attention attention(options_of(c, 4, 1), kScalarRows, workers);
  const int32_t pages[] = {3, 1, 2};
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  const SequenceSlice slice = {0, 40, kLast - 40, pages, 3, 0};
  attention.begin_step({nullptr, 40, &slice, 1, nullptr, 0});
  CHECK_EQ(attention.position(39), kLast - 1);
}

}  // namespace
}  // namespace tramontane::cpu
