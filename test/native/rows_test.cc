// Row kernels of every implementation this processor can run: against double precision, and against
// the scalar ones to the bit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "cpu/backend/implementation.h"
#include "test.h"

namespace tramontane::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
// Lengths around every multiple that loops step by.
constexpr int kLengths[] = {1, 2, 7, 8, 9, 15, 31, 32, 33, 63, 64, 257, 4096};

std::vector<float> random_values(int n, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

template <typename Test>
void for_each_implementation(Test test) {
  for (const Implementation& implementation : implementations()) {
    if (implementation.supported()) test(*implementation.rows);
  }
}

// A copy of `values` that begins `offset` floats after a 64-byte boundary, between two NaNs which
// nobody may read into a result or write over.
class Guarded {
 public:
  Guarded(const std::vector<float>& values, size_t offset) : size_(values.size()) {
    buffer_.reserve(values.size() + offset + 2);
    begin_ = buffer_.data() + offset + 1;
    begin_[-1] = begin_[size_] = kNan;
    std::copy(values.begin(), values.end(), begin_);
  }
  float* data() { return begin_; }
  bool intact() const { return std::isnan(begin_[-1]) && std::isnan(begin_[size_]); }

 private:
  AlignedBuffer<float> buffer_;
  float* begin_;
  size_t size_;
};

TEST("rms_norm equals its definition at every length and misalignment") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int n : kLengths) {
      for (const size_t offset : {0, 1, 5}) {
        const std::vector<float> x = random_values(n, 3, 1), weight = random_values(n, 1, 2);
        Guarded in(x, offset), scale(weight, offset + 1),
            out(std::vector<float>(x.size(), kNan), 2);
        kernels.rms_norm(in.data(), scale.data(), n, 1e-5f, out.data());
        double sum = 0;
        for (const double value : x) sum += value * value;
        const double factor = 1 / std::sqrt(sum / n + static_cast<double>(1e-5f));
        for (size_t i = 0; i < x.size(); ++i) {
          CHECK_NEAR(out.data()[i], x[i] * factor * weight[i], 2e-6 * (1 + std::fabs(x[i])));
        }
        CHECK(out.intact());
      }
    }
  });
}

TEST("rms_norm of zeros is zeros") {
  for_each_implementation([](const RowKernels& kernels) {
    std::vector<float> x(40), weight(40, 1.0f), out(40, kNan);
    kernels.rms_norm(x.data(), weight.data(), 40, 1e-5f, out.data());
    for (const float value : out) CHECK_EQ(value, 0.0f);
  });
}

TEST("rope turns neighbours or halves, each pair by its own angle") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int head_size : {8, 24, 32, 80, 128}) {
      const int half = head_size / 2, heads = 3;
      const std::vector<float> x = random_values(heads * head_size, 1, 3);
      std::vector<float> cosines, sines;
      for (int i = 0; i < half; ++i) {
        cosines.push_back(static_cast<float>(std::cos(0.7 * i + 0.1)));
        sines.push_back(static_cast<float>(std::sin(0.7 * i + 0.1)));
      }
      for (const RopePairing pairing : {RopePairing::kNeighbours, RopePairing::kHalves}) {
        Guarded vectors(x, 3);
        kernels.rope(vectors.data(), heads, head_size, cosines.data(), sines.data(), pairing);
        for (int h = 0; h < heads; ++h) {
          for (int i = 0; i < half; ++i) {
            const bool neighbours = pairing == RopePairing::kNeighbours;
            const int a = h * head_size + (neighbours ? 2 * i : i);
            const int b = h * head_size + (neighbours ? 2 * i + 1 : i + half);
            const double c = std::cos(0.7 * i + 0.1), s = std::sin(0.7 * i + 0.1);
            CHECK_NEAR(vectors.data()[a], x[a] * c - x[b] * s, 1e-6);
            CHECK_NEAR(vectors.data()[b], x[b] * c + x[a] * s, 1e-6);
          }
        }
        CHECK(vectors.intact());
      }
    }
  });
}

TEST("swiglu equals its definition, far from zero too") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int n : kLengths) {
      std::vector<float> gate = random_values(n, 6, 4);
      const std::vector<float> up = random_values(n, 1, 5);
      const float extremes[] = {0, -0.0f, 88, -88, 87.3f, -87.3f, 100, -100, 1e30f, -1e30f};
      std::copy_n(extremes, std::min<size_t>(gate.size(), std::size(extremes)), gate.begin());
      Guarded g(gate, 1), u(up, 2);
      kernels.swiglu(g.data(), u.data(), n);
      for (size_t i = 0; i < gate.size(); ++i) {
        const double x = gate[i], expected = x / (1 + std::exp(-x)) * up[i];
        CHECK_NEAR(g.data()[i], expected, 3e-7 * std::fabs(expected) + 1e-35);
      }
      CHECK(g.intact());
    }
  });
}

TEST("what is not a number stays so through swiglu") {
  for_each_implementation([](const RowKernels& kernels) {
    float gate[9] = {kNan, 1, 1, 1, 1, 1, 1, 1, kNan}, up[9];
    std::fill_n(up, 9, 1.0f);
    kernels.swiglu(gate, up, 9);
    CHECK(std::isnan(gate[0]) && std::isnan(gate[8]));
    CHECK(!std::isnan(gate[1]));
  });
}

TEST("f16 is rounded to nearest even, and read back, as base/half.h has it") {
  for_each_implementation([](const RowKernels& kernels) {
    std::vector<float> values = random_values(1003, 1, 6);
    for (size_t i = 0; i < values.size(); i += 3) values[i] *= std::exp2(-20.0f + 0.05f * i);
    for (const float value : {0.0f, -0.0f, 65504.0f, 65519.0f, 65520.0f, 6e-8f, 2e-8f, 1.00048828f,
                              1.00146484f, kInfinity, -kInfinity}) {
      values.push_back(value);
    }
    const int n = static_cast<int>(values.size());
    std::vector<uint16_t> halves(values.size());
    std::vector<float> back(values.size());
    kernels.to_f16(values.data(), n, halves.data());
    kernels.from_f16(halves.data(), n, back.data());
    for (size_t i = 0; i < values.size(); ++i) {
      CHECK_EQ(halves[i], f32_to_f16(values[i]));
      CHECK_EQ(back[i], f16_to_f32(halves[i]));
    }
  });
}

// A page of keys or values of head_size 40, in either type.
struct Page {
  Page(int head_size, KvType type, uint32_t seed) : type(type) {
    exact = random_values(kPageTokens * head_size, 1, seed);
    floats.reserve(exact.size());
    halves.reserve(exact.size());
    for (size_t i = 0; i < exact.size(); ++i) {
      halves.data()[i] = f32_to_f16(exact[i]);
      if (type == KvType::kF16) exact[i] = f16_to_f32(halves.data()[i]);
      floats.data()[i] = exact[i];
    }
  }
  const void* data() const {
    return type == KvType::kF16 ? static_cast<const void*>(halves.data()) : floats.data();
  }
  KvType type;
  std::vector<float> exact;
  AlignedBuffer<float> floats;
  AlignedBuffer<uint16_t> halves;
};

TEST("attention over a page equals its definition, with the same bits for any number of queries") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const KvType type : {KvType::kF16, KvType::kF32}) {
      for (const int head_size : {8, 40, 64, 128}) {
        constexpr int kMost = 14, kFirst = 3, kLast = 29;
        const Page keys(head_size, type, 7), values(head_size, type, 8);
        const std::vector<float> queries = random_values(kMost * head_size, 0.3f, 9);
        const std::vector<float> before = random_values(kMost * head_size, 1, 10);
        std::vector<float> alone;  // Results of all queries, one at a time.
        const auto attend = [&](int first, int count) {
          std::vector<float> scores(static_cast<size_t>(count) * kPageTokens);
          std::vector<float> maximum(static_cast<size_t>(count), 0.25f);
          std::vector<float> sum(static_cast<size_t>(count), 2.0f);
          std::vector<float> rescale(static_cast<size_t>(count));
          std::vector<float> out(before.begin() + first * head_size,
                                 before.begin() + (first + count) * head_size);
          kernels.attention_scores(queries.data() + first * head_size, count, head_size,
                                   keys.data(), values.data(), type, scores.data());
          kernels.attention_softmax(scores.data(), count, kFirst, kLast, maximum.data(), sum.data(),
                                    rescale.data());
          kernels.attention_values(scores.data(), count, kFirst, kLast, values.data(), keys.data(),
                                   type, head_size, rescale.data(), out.data());
          for (int q = 0; q < count; ++q) {
            double total = 2 * std::exp(0.25), best = 0.25;
            std::vector<double> expected(static_cast<size_t>(head_size));
            for (int i = 0; i < head_size; ++i) {
              expected[static_cast<size_t>(i)] =
                  std::exp(0.25) * before[static_cast<size_t>((first + q) * head_size + i)];
            }
            for (int t = kFirst; t < kLast; ++t) {
              double score = 0;
              for (int i = 0; i < head_size; ++i) {
                score +=
                    static_cast<double>(queries[static_cast<size_t>((first + q) * head_size + i)]) *
                    keys.exact[static_cast<size_t>(i * kPageTokens + t)];
              }
              best = std::max(best, score);
              total += std::exp(score);
              for (int i = 0; i < head_size; ++i) {
                expected[static_cast<size_t>(i)] +=
                    std::exp(score) * values.exact[static_cast<size_t>(t * head_size + i)];
              }
            }
            const size_t row = static_cast<size_t>(q);
            CHECK_NEAR(maximum[row], best, 1e-5);
            CHECK_NEAR(sum[row] / (total / std::exp(best)), 1, 1e-5);
            for (int i = 0; i < head_size; ++i) {
              CHECK_NEAR(out[row * static_cast<size_t>(head_size) + static_cast<size_t>(i)],
                         expected[static_cast<size_t>(i)] / std::exp(best), 2e-5);
            }
          }
          return out;
        };
        for (int q = 0; q < kMost; ++q) {
          const std::vector<float> out = attend(q, 1);
          alone.insert(alone.end(), out.begin(), out.end());
        }
        for (int count = 2; count <= kMost; ++count) {
          const std::vector<float> out = attend(kMost - count, count);
          CHECK(std::memcmp(out.data(), alone.data() + (kMost - count) * head_size,
                            out.size() * sizeof(float)) == 0);
        }
      }
    }
  });
}

TEST("f16 keys give the bits that the same keys in f32 give") {
  for_each_implementation([](const RowKernels& kernels) {
    constexpr int kHeadSize = 24, kQueries = 7;
    const Page keys(kHeadSize, KvType::kF16, 11);
    const std::vector<float> queries = random_values(kQueries * kHeadSize, 1, 12);
    float halves[kQueries * kPageTokens], floats[kQueries * kPageTokens];
    kernels.attention_scores(queries.data(), kQueries, kHeadSize, keys.halves.data(),
                             keys.halves.data(), KvType::kF16, halves);
    kernels.attention_scores(queries.data(), kQueries, kHeadSize, keys.floats.data(),
                             keys.floats.data(), KvType::kF32, floats);
    CHECK(std::memcmp(halves, floats, sizeof halves) == 0);
  });
}

TEST("the first page of an online softmax starts from nothing, and scores outside do not count") {
  for_each_implementation([](const RowKernels& kernels) {
    for (int first = 0; first < kPageTokens; ++first) {
      for (int last = first + 1; last <= kPageTokens; ++last) {
        float scores[kPageTokens], maximum = -kInfinity, sum = 0, rescale = kNan;
        std::fill_n(scores, kPageTokens, kNan);
        std::fill(scores + first, scores + last, -3.0f);
        kernels.attention_softmax(scores, 1, first, last, &maximum, &sum, &rescale);
        CHECK_EQ(maximum, -3.0f);
        CHECK_NEAR(sum, last - first, 1e-5);
        CHECK_EQ(rescale, 0.0f);
        CHECK_EQ(scores[first], 1.0f);
        CHECK_EQ(scores[last - 1], 1.0f);
      }
    }
  });
}

TEST("a score that is not a number makes the sum so, at every place of a page") {
  for_each_implementation([](const RowKernels& kernels) {
    for (int bad = 0; bad < kPageTokens; ++bad) {
      float scores[kPageTokens] = {}, maximum = 0, sum = 1, rescale;
      scores[bad] = kNan;
      kernels.attention_softmax(scores, 1, 0, kPageTokens, &maximum, &sum, &rescale);
      CHECK(std::isnan(sum));
    }
  });
}

TEST("finite_maximum finds the largest, and anything not finite, at every place") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int n : {1, 7, 8, 9, 16, 37}) {
      for (int place = 0; place < n; ++place) {
        std::vector<float> values = random_values(n, 1, 13);
        float maximum = kNan;
        values[static_cast<size_t>(place)] = 50;
        CHECK(kernels.finite_maximum(values.data(), n, &maximum));
        CHECK_EQ(maximum, 50.0f);
        for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
          values[static_cast<size_t>(place)] = bad;
          CHECK(!kernels.finite_maximum(values.data(), n, &maximum));
        }
      }
    }
    const float low[] = {-5, -6, -4.5f};
    float maximum = 0;
    CHECK(kernels.finite_maximum(low, 3, &maximum));
    CHECK_EQ(maximum, -4.5f);
  });
}

struct WeightsAndSums {
  std::vector<float> weights, sums;
};

WeightsAndSums weights_of(const RowKernels& kernels, const std::vector<float>& values,
                          float temperature) {
  const int32_t n = static_cast<int32_t>(values.size());
  const float maximum = *std::max_element(values.begin(), values.end());
  const size_t groups = (values.size() + kSumLanes - 1) / kSumLanes;
  WeightsAndSums found{std::vector<float>(groups * kSumLanes, kNan),
                       std::vector<float>(static_cast<size_t>(weight_blocks(n)), kNan)};
  kernels.exp_weights(values.data(), n, maximum, temperature, found.weights.data(),
                      found.sums.data());
  return found;
}

constexpr int kWeightLengths[] = {1, 7, 31, 32, 33, 511, 512, 513, 1000, 1500};

TEST("exp_weights and the sums of blocks equal those in double, and -infinity weighs nothing") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int n : kWeightLengths) {
      for (const float temperature : {0.05f, 0.7f, 1.0f, 30.0f}) {
        std::vector<float> values = random_values(n, 4, 14);
        for (size_t i = 1; i < values.size(); i += 5) values[i] = -kInfinity;
        const double maximum = *std::max_element(values.begin(), values.end());
        const auto [weights, sums] = weights_of(kernels, values, temperature);
        std::vector<double> expected(sums.size());
        for (size_t i = 0; i < weights.size(); ++i) {
          const double weight =
              i < values.size() ? std::exp((values[i] - maximum) / temperature) : 0;
          CHECK_NEAR(weights[i], weight, 1e-37 + weight * 1e-5);
          if (i < values.size()) expected[i / kWeightBlock] += weight;
        }
        for (size_t b = 0; b < sums.size(); ++b) {
          CHECK_NEAR(sums[b], expected[b], 1e-35 + expected[b] * 2e-6);
        }
      }
    }
    const std::vector<float> banned = {-kInfinity, 2, -kInfinity};
    CHECK_EQ(weights_of(kernels, banned, 1e-40f).sums.at(0), 1.0f);
  });
}

// Values of which many are equal.
std::vector<float> stepped_values(int n, uint32_t seed) {
  std::vector<float> values = random_values(n, 2, seed);
  for (float& value : values) value = std::round(value);
  return values;
}

TEST("sums_before takes larger values, and equal ones of a smaller index") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int n : kWeightLengths) {
      const std::vector<float> values = stepped_values(n, 33);
      auto [weights, sums] = weights_of(kernels, values, 1);
      const std::vector<float> all = sums;
      kernels.sums_before(values.data(), weights.data(), n, {0, -kInfinity}, sums.data());
      CHECK(sums == all);
      for (int token = 0; token <= n; token += 1 + n / 70) {
        const float logit = token < n ? values[static_cast<size_t>(token)] : 0;
        kernels.sums_before(values.data(), weights.data(), n, {token, logit}, sums.data());
        std::vector<double> expected(sums.size());
        for (int i = 0; i < n; ++i) {
          const float value = values[static_cast<size_t>(i)];
          if (value > logit || (value == logit && i < token)) {
            expected[static_cast<size_t>(i / kWeightBlock)] += weights[static_cast<size_t>(i)];
          }
        }
        for (size_t b = 0; b < sums.size(); ++b) {
          CHECK_NEAR(sums[b], expected[b], expected[b] * 2e-6);
        }
      }
    }
  });
}

TEST("find_above gives the first that is larger, not one that is equal") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int n : {1, 8, 9, 30}) {
      std::vector<float> values(static_cast<size_t>(n), 1.0f);
      CHECK_EQ(kernels.find_above(values.data(), 0, n, 1), n);
      for (int place = 0; place < n; ++place) {
        values.assign(static_cast<size_t>(n), 1.0f);
        values[static_cast<size_t>(place)] = 1.5f;
        for (int first = 0; first <= n; ++first) {
          CHECK_EQ(kernels.find_above(values.data(), first, n, 1), first <= place ? place : n);
        }
      }
    }
  });
}

// `test(kernels)` gives numbers that have to be the scalar kernels', to the bit.
template <typename Test>
void expect_scalar_bits(Test test) {
  const auto expected = test(kScalarRows);
  for_each_implementation([&](const RowKernels& kernels) {
    const auto found = test(kernels);
    CHECK_EQ(found.size(), expected.size());
    CHECK(std::memcmp(found.data(), expected.data(),
                      expected.size() * sizeof(typename decltype(expected)::value_type)) == 0);
  });
}

TEST("rms_norm has the scalar kernel's bits at every length") {
  for (int n = 1; n <= 200; ++n) {
    expect_scalar_bits([n](const RowKernels& kernels) {
      const std::vector<float> x = random_values(n, 3, 20), weight = random_values(n, 1, 21);
      std::vector<float> out(x.size());
      kernels.rms_norm(x.data(), weight.data(), n, 1e-5f, out.data());
      return out;
    });
  }
}

TEST("rope has the scalar kernel's bits") {
  for (const int head_size : {8, 16, 24, 40, 56, 128}) {
    for (const RopePairing pairing : {RopePairing::kNeighbours, RopePairing::kHalves}) {
      expect_scalar_bits([&](const RowKernels& kernels) {
        std::vector<float> vectors = random_values(3 * head_size, 1, 22);
        const std::vector<float> cosines = random_values(head_size / 2, 1, 23);
        const std::vector<float> sines = random_values(head_size / 2, 1, 24);
        kernels.rope(vectors.data(), 3, head_size, cosines.data(), sines.data(), pairing);
        return vectors;
      });
    }
  }
}

TEST("swiglu, and so exp, has the scalar kernel's bits all over its range") {
  for (int n = 1; n <= 40; ++n) {
    expect_scalar_bits([n](const RowKernels& kernels) {
      std::vector<float> gate = random_values(n, 20, 25);
      const std::vector<float> up = random_values(n, 1, 26);
      kernels.swiglu(gate.data(), up.data(), n);
      return gate;
    });
  }
  expect_scalar_bits([](const RowKernels& kernels) {
    constexpr int kValues = 180'000;
    std::vector<float> gate(kValues), up(kValues, 1.0f);
    for (int i = 0; i < kValues; ++i) {
      gate[static_cast<size_t>(i)] = -90 + static_cast<float>(i) * 1e-3f;
    }
    kernels.swiglu(gate.data(), up.data(), kValues);
    return gate;
  });
}

TEST("attention over a page has the scalar kernels' bits, for any number of queries") {
  for (const KvType type : {KvType::kF16, KvType::kF32}) {
    for (const int head_size : {8, 24, 40, 64, 128}) {
      const Page keys(head_size, type, 27), values(head_size, type, 28);
      for (int count = 1; count <= 19; ++count) {
        expect_scalar_bits([&](const RowKernels& kernels) {
          const std::vector<float> queries = random_values(count * head_size, 0.3f, 29);
          std::vector<float> out = random_values(count * head_size, 1, 30);
          std::vector<float> scores(static_cast<size_t>(count) * kPageTokens);
          std::vector<float> maximum = random_values(count, 1, 31), sum(maximum.size(), 2.0f);
          std::vector<float> rescale(maximum.size());
          kernels.attention_scores(queries.data(), count, head_size, keys.data(), values.data(),
                                   type, scores.data());
          std::vector<float> all = scores;
          const int first = count % 5, last = kPageTokens - count % 7;
          kernels.attention_softmax(scores.data(), count, first, last, maximum.data(), sum.data(),
                                    rescale.data());
          kernels.attention_values(scores.data(), count, first, last, values.data(), keys.data(),
                                   type, head_size, rescale.data(), out.data());
          for (const auto& part : {scores, maximum, sum, rescale, out}) {
            all.insert(all.end(), part.begin(), part.end());
          }
          return all;
        });
      }
    }
  }
}

TEST("exp_weights and sums_before have the scalar kernels' bits at every length") {
  for (int n = 1; n <= 1100; n = n < 100 ? n + 1 : n + 37) {
    expect_scalar_bits([n](const RowKernels& kernels) {
      const std::vector<float> values = stepped_values(n, 32);
      std::vector<float> all;
      for (const float temperature : {0.3f, 1.0f, 5.0f}) {
        auto [weights, sums] = weights_of(kernels, values, temperature);
        all.insert(all.end(), weights.begin(), weights.end());
        all.insert(all.end(), sums.begin(), sums.end());
        for (const int token : {0, n / 3, n - 1}) {
          const TokenLogit bound = {token, values[static_cast<size_t>(token)]};
          kernels.sums_before(values.data(), weights.data(), n, bound, sums.data());
          all.insert(all.end(), sums.begin(), sums.end());
        }
      }
      return all;
    });
  }
}

}  // namespace
}  // namespace tramontane::cpu
