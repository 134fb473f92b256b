// Row kernels, attention and sampling on the emulator, against double precision.
#include <algorithm>
#include <cmath>
#include <random>

#include "backend/backend.h"
#include "base/half.h"
#include "base/split_mix.h"
#include "cuda_test.h"
#include "host/sampling.h"
#include "kernels/attend.h"
#include "kernels/rows.h"
#include "test.h"

namespace tramontane::cuda {
namespace {

using test::DeviceArray;

std::vector<float> random_values(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Whether `found` is `expected` quantized in groups of 32.
bool is_quantized(const float* expected, int count, const int8_t* q,
                  const ActivationScale* scales) {
  for (int i = 0; i < count; ++i) {
    const ActivationScale& s = scales[i / kGroup];
    if (!(std::fabs(q[i] * s.scale - expected[i]) <= 0.502f * s.scale + 1e-6f)) return false;
    if (i % 16) continue;
    int sum = 0;
    for (int k = i; k < i + 16; ++k) sum += q[k];
    if (sum != s.sums[i % 32 / 16]) return false;
  }
  return true;
}

TEST("rms_norm: chosen rows, values and quantized values") {
  constexpr int kColumns = 352, kRows = 3;
  constexpr float kEpsilon = 1e-5f;
  DeviceArray<float> in(random_values(5 * kColumns, 1)), weight(random_values(kColumns, 2));
  DeviceArray<int> order(std::vector<int>{4, 0, 2});
  for (int schedule = 0; schedule < test::schedules(); ++schedule) {
    test::use_schedule(schedule);
    DeviceArray<float> out(kRows * kColumns);
    DeviceArray<int8_t> q(kRows * kColumns);
    DeviceArray<ActivationScale> scales(kRows * kColumns / kGroup);
    rms_norm(in.data(), order.data(), weight.data(), kEpsilon, kRows, kColumns,
             {out.data(), {q.data(), scales.data()}}, nullptr);
    double worst = 0;
    for (int r = 0; r < kRows; ++r) {
      const float* x = in.data() + order[static_cast<size_t>(r)] * kColumns;
      double sum = 0;
      for (int k = 0; k < kColumns; ++k) sum += double{x[k]} * x[k];
      const double inverse = 1 / std::sqrt(sum / kColumns + kEpsilon);
      for (int k = 0; k < kColumns; ++k) {
        const double expected = x[k] * inverse * weight[static_cast<size_t>(k)];
        const double error = std::fabs(out[static_cast<size_t>(r * kColumns + k)] - expected);
        worst = error <= worst ? worst : error;
        if (std::isnan(error)) worst = error;
      }
    }
    CHECK(worst <= 2e-6);
    CHECK(is_quantized(out.data(), kRows * kColumns, q.data(), scales.data()));
  }
}

TEST("quantize: zeros stay zeros, and what is not finite is not hidden") {
  std::vector<float> values = random_values(4 * kGroup, 3);
  for (int k = 0; k < kGroup; ++k) values[static_cast<size_t>(k)] = 0;
  values[kGroup + 5] = NAN;
  values[2 * kGroup + 7] = INFINITY;
  DeviceArray<float> in(values);
  DeviceArray<int8_t> q(values.size());
  DeviceArray<ActivationScale> scales(4);
  quantize(in.data(), nullptr, 1, 4 * kGroup, {q.data(), scales.data()}, nullptr);
  for (int k = 0; k < kGroup; ++k) CHECK_EQ(static_cast<int>(q[static_cast<size_t>(k)]), 0);
  CHECK_EQ(scales[0].scale, 0.0f);
  CHECK(std::isnan(scales[1].scale));
  CHECK(std::isnan(scales[2].scale));
  CHECK(is_quantized(in.data() + 3 * kGroup, kGroup, q.data() + 3 * kGroup, &scales[3]));
}

TEST("quantize and swiglu: nothing is written behind the last group") {
  constexpr int kColumns = 5 * kGroup;
  DeviceArray<float> in(random_values(2 * kColumns, 14));
  for (const bool gated : {false, true}) {
    DeviceArray<int8_t> q(3 * kColumns);
    DeviceArray<ActivationScale> scales(3 * 5);
    DeviceArray<float> values(3 * kColumns);
    if (gated) {
      swiglu(in.data(), in.data(), 2, kColumns, {values.data(), {q.data(), scales.data()}},
             nullptr);
    } else {
      quantize(in.data(), nullptr, 2, kColumns, {q.data(), scales.data()}, nullptr);
    }
    int written = 0;
    for (size_t k = 2 * kColumns; k < 3 * kColumns; ++k) written += q[k] != -1;
    for (size_t k = 2 * kColumns; k < 3 * kColumns; ++k) written += !std::isnan(values[k]);
    for (size_t b = 10; b < 15; ++b) written += !std::isnan(scales[b].scale);
    CHECK_EQ(written, 0);
  }
}

TEST("swiglu: values and quantized values") {
  constexpr int kColumns = 160;
  DeviceArray<float> gate(random_values(2 * kColumns, 4)), up(random_values(2 * kColumns, 5));
  std::vector<float> expected;
  for (size_t i = 0; i < gate.size(); ++i) {
    expected.push_back(static_cast<float>(gate[i] / (1 + std::exp(-double{gate[i]})) * up[i]));
  }
  DeviceArray<int8_t> q(gate.size());
  DeviceArray<ActivationScale> scales(gate.size() / kGroup);
  swiglu(gate.data(), up.data(), 2, kColumns, {gate.data(), {q.data(), scales.data()}}, nullptr);
  for (size_t i = 0; i < gate.size(); ++i) CHECK_NEAR(gate[i], expected[i], 1e-6);
  CHECK(is_quantized(expected.data(), 2 * kColumns, q.data(), scales.data()));
}

// A sequence in pages of a shuffled pool. What no position of the window wrote stays NaN.
struct Attention {
  Attention(int heads, int kv_heads, int head_size, int window, int first, int rows, bool half)
      : heads(heads),
        kv_heads(kv_heads),
        head_size(head_size),
        window(window),
        first(first),
        rows(rows),
        half(half),
        ring(window ? (window + rows - 2 + kPageTokens - 1) / kPageTokens + 1
                    : (first + rows + kPageTokens - 1) / kPageTokens),
        page_values(static_cast<size_t>(kv_heads) * kPageTokens * head_size),
        query(random_values(static_cast<size_t>(rows) * heads * head_size, 6)),
        key(random_values(static_cast<size_t>(first + rows) * kv_heads * head_size, 7)),
        value(random_values(static_cast<size_t>(first + rows) * kv_heads * head_size, 8)),
        keys(page_values * (static_cast<size_t>(ring) + 2) * (half ? 2 : 4)),
        values(keys.size()),
        out(query.size()),
        step_rows(static_cast<size_t>(rows)),
        pages(static_cast<size_t>(ring) + 1),
        list(static_cast<size_t>(rows)) {
    pages[0] = 0;  // Somebody else's.
    for (int i = 0; i < ring; ++i) pages[static_cast<size_t>(i) + 1] = 1 + (i * 5 + 2) % ring;
    if (ring % 5 == 0) {
      for (int i = 0; i < ring; ++i) pages[static_cast<size_t>(i) + 1] = ring - i;
    }
    const int oldest = window ? std::max(0, first + 1 - window) : 0;
    for (int position = oldest; position < first + rows; ++position) store(position);
    for (int r = 0; r < rows; ++r) {
      step_rows[static_cast<size_t>(r)] = {0, first + r, 1, ring};
      list[static_cast<size_t>(r)] = r;
    }
    task = {query.data(), out.data(), {keys.data(), values.data()},
            heads,        kv_heads,   head_size,
            window,       half,       {step_rows.data(), pages.data(), nullptr}};
  }

  void store(int position) {
    const int page = pages[static_cast<size_t>(1 + position / kPageTokens % ring)];
    for (int h = 0; h < kv_heads; ++h) {
      for (int d = 0; d < head_size; ++d) {
        const auto from = static_cast<size_t>((position * kv_heads + h) * head_size + d);
        const size_t to =
            page_values * static_cast<size_t>(page) +
            static_cast<size_t>((h * kPageTokens + position % kPageTokens) * head_size + d);
        put(keys, to, key[from]);
        put(values, to, value[from]);
      }
    }
  }

  void put(DeviceArray<uint8_t>& memory, size_t i, float& number) const {
    if (half) {
      const uint16_t bits = f32_to_f16(number);
      number = f16_to_f32(bits);
      std::memcpy(memory.data() + 2 * i, &bits, 2);
    } else {
      std::memcpy(memory.data() + 4 * i, &number, 4);
    }
  }

  double worst_error() {
    double worst = 0;
    for (int r = 0; r < rows; ++r) {
      const int position = first + r, oldest = window ? std::max(0, position + 1 - window) : 0;
      for (int h = 0; h < heads; ++h) {
        const auto at = static_cast<size_t>((r * heads + h) * head_size);
        const int kv = h / (heads / kv_heads);
        std::vector<double> sum(static_cast<size_t>(head_size));
        double total = 0;
        for (int p = oldest; p <= position; ++p) {
          const auto k = static_cast<size_t>((p * kv_heads + kv) * head_size);
          double score = 0;
          for (size_t d = 0; d < sum.size(); ++d) score += double{query[at + d]} * key[k + d];
          const double weight = std::exp(score / std::sqrt(head_size));
          total += weight;
          for (size_t d = 0; d < sum.size(); ++d) sum[d] += weight * value[k + d];
        }
        for (size_t d = 0; d < sum.size(); ++d) {
          const double error = std::fabs(out[at + d] - sum[d] / total);
          if (!(error <= worst)) worst = error;
        }
      }
    }
    return worst;
  }

  const int heads, kv_heads, head_size, window, first, rows;
  const bool half;
  const int ring;
  const size_t page_values;
  DeviceArray<float> query;
  std::vector<float> key, value;
  DeviceArray<uint8_t> keys, values;
  DeviceArray<float> out;
  DeviceArray<StepRow> step_rows;
  DeviceArray<int> pages, list;
  AttendTask task{};
};

void clear(DeviceArray<float>& memory) {
  std::memset(memory.data(), 0xFF, memory.size() * sizeof(float));
}

struct Shape {
  int heads, kv_heads, head_size;
};

TEST("attend by rows: head sizes, groups, windows, page borders, splits") {
  for (const Shape s : {Shape{4, 1, 128}, Shape{3, 1, 64}, Shape{8, 2, 32}, Shape{2, 2, 40},
                        Shape{6, 1, 8}, Shape{1, 1, 256}}) {
    for (const int first : {0, 31, 32, 95}) {
      for (const int window : {0, 48}) {
        const bool half = s.head_size != 32;
        const int splits = first < 32 ? 3 : 2;
        Attention a(s.heads, s.kv_heads, s.head_size, window, first, 2, half);
        DeviceArray<float> partial(static_cast<size_t>(2 * splits * s.heads * (s.head_size + 2)));
        for (int schedule = 0; schedule < test::schedules(); schedule += 4) {
          test::use_schedule(schedule);
          clear(a.out);
          clear(partial);
          attend_rows(a.task, a.list.data(), 2, splits, partial.data(), nullptr);
          CHECK(cudaGetLastError() == cudaSuccess);
          const double error = a.worst_error();
          CHECK(error <= 3e-6);
          if (!(error <= 3e-6)) return;
        }
      }
    }
  }
}

TEST("attend by tiles: head sizes, groups, windows, page borders") {
  for (const Shape s : {Shape{4, 1, 128}, Shape{3, 1, 64}, Shape{8, 2, 32}, Shape{2, 2, 32}}) {
    for (const int first : {0, 30, 64, 95}) {
      for (const int window : {0, 48}) {
        constexpr int kRows = 35;
        Attention a(s.heads, s.kv_heads, s.head_size, window, first, kRows, true);
        std::vector<QueryTile> tiles;
        const int most = tile_rows(s.heads, s.kv_heads);
        for (int i = 0; i < kRows; i += most) tiles.push_back({i, std::min(most, kRows - i)});
        DeviceArray<QueryTile> list(tiles);
        for (int schedule = 0; schedule < test::schedules(); schedule += 4) {
          test::use_schedule(schedule);
          clear(a.out);
          attend_tiles(a.task, list.data(), static_cast<int>(tiles.size()), nullptr);
          CHECK(cudaGetLastError() == cudaSuccess);
          const double error = a.worst_error();
          CHECK(error <= 4e-3);  // f16 queries and weights: 2^-11 of values up to 4.
          if (!(error <= 4e-3)) return;
        }
      }
    }
  }
}

TEST("attend: a row that fills a bucket writes zeros and reads no page") {
  Attention a(4, 1, 32, 0, 0, 1, true);
  a.step_rows[0].position = -1;
  a.step_rows[0].first_page = 1 << 30;
  DeviceArray<float> partial(static_cast<size_t>(4 * 34));
  attend_rows(a.task, a.list.data(), 1, 1, partial.data(), nullptr);
  for (size_t i = 0; i < a.out.size(); ++i) CHECK_EQ(a.out[i], 0.0f);
}

TEST("rope_and_store: both pairings, far positions, f16 and f32 pages") {
  constexpr int kHeads = 2, kKvHeads = 1, kHead = 40, kRows = 2;
  std::vector<double> frequencies;
  for (int i = 0; i < kHead / 2; ++i) frequencies.push_back(std::pow(1e4, -2.0 * i / kHead));
  DeviceArray<double> device_frequencies(frequencies);
  for (const bool neighbours : {true, false}) {
    for (const bool half : {true, false}) {
      DeviceArray<float> query(random_values(kRows * kHeads * kHead, 9));
      const std::vector<float> before(query.data(), query.data() + query.size());
      DeviceArray<float> key(random_values(kRows * kHead, 10)),
          value(random_values(kRows * kHead, 11));
      DeviceArray<uint8_t> keys(4 * 3 * kPageTokens * kHead), values(keys.size());
      DeviceArray<StepRow> rows(std::vector<StepRow>{{0, 31999, 1, 2}, {0, -1, 1 << 30, 1}});
      DeviceArray<int> pages(std::vector<int>{0, 2, 1});
      rope_and_store({query.data(),
                      key.data(),
                      value.data(),
                      {keys.data(), values.data()},
                      device_frequencies.data(),
                      kRows,
                      kHeads,
                      kKvHeads,
                      kHead,
                      neighbours,
                      half},
                     {rows.data(), pages.data(), nullptr}, nullptr);
      CHECK(cudaGetLastError() == cudaSuccess);
      const int page = pages[static_cast<size_t>(1 + 31999 / kPageTokens % 2)];
      const auto stored = [&](DeviceArray<uint8_t>& memory, int d) {
        const size_t i =
            static_cast<size_t>((page * kPageTokens + 31999 % kPageTokens) * kHead + d);
        uint16_t bits;
        float number;
        std::memcpy(&bits, memory.data() + 2 * i, 2);
        if (half) return f16_to_f32(bits);
        std::memcpy(&number, memory.data() + 4 * i, 4);
        return number;
      };
      for (int i = 0; i < kHead / 2; ++i) {
        const int a = neighbours ? 2 * i : i, b = neighbours ? 2 * i + 1 : i + kHead / 2;
        const double angle = 31999 * frequencies[static_cast<size_t>(i)];
        const auto rotated = [&](const float* from, double* x, double* y) {
          *x = from[a] * std::cos(angle) - from[b] * std::sin(angle);
          *y = from[a] * std::sin(angle) + from[b] * std::cos(angle);
        };
        double x, y;
        for (int h = 0; h < kHeads; ++h) {
          rotated(before.data() + h * kHead, &x, &y);
          CHECK_NEAR(query[static_cast<size_t>(h * kHead + a)], x, 2e-6);
          CHECK_NEAR(query[static_cast<size_t>(h * kHead + b)], y, 2e-6);
        }
        rotated(key.data(), &x, &y);
        CHECK_NEAR(stored(keys, a), x, half ? 2e-3 : 2e-6);
        CHECK_NEAR(stored(keys, b), y, half ? 2e-3 : 2e-6);
        CHECK_NEAR(stored(values, i), value[static_cast<size_t>(i)], half ? 2e-3 : 0);
      }
      const auto second = static_cast<size_t>(kHeads * kHead);  // Nobody's row stays as it was.
      CHECK_EQ(std::memcmp(query.data() + second, before.data() + second, second * 4), 0);
    }
  }
}

TEST("sample: bias, penalties, mask, filters, the draw; few, many and all of the best") {
  constexpr int kVocabulary = 700;
  DeviceArray<float> logits(random_values(2 * kVocabulary, 12));
  logits[kVocabulary + 11] = logits[kVocabulary + 5] = 4;  // Equal: the smaller token first.
  // Of token 40, one thread adds the bias and another takes the penalties, in this order; of 34,
  // one takes the penalties and another masks it.
  const std::vector<int32_t> bias_tokens{3, 8, 9, 40}, seen{40, 5, 8, 20, 34};
  const std::vector<int32_t> counts{3, 2, 1, 0, 1};
  const std::vector<float> biases{6, -INFINITY, 2, 3};
  std::vector<uint32_t> mask((kVocabulary + 31) / 32, 0xfffffffbu);  // Not 2, 34, ...
  const float* raw = logits.data() + kVocabulary;
  std::vector<TokenLogit> allowed, unmodified;
  double sum = 0;
  for (int t = 0; t < kVocabulary; ++t) {
    float x = raw[t];
    sum += std::exp(double{x});
    unmodified.push_back({t, x});
    if (t == 3) x += 6;
    if (t == 9) x += 2;
    if (t == 40) x += 3;
    if (t == 5 || t == 20 || t == 40) x = x > 0 ? x / 1.5f : x * 1.5f;
    if (t == 5) x = x - 0.25f - 0.5f * 2;
    if (t == 40) x = x - 0.25f - 0.5f * 3;
    if (t != 8 && t % 32 != 2) allowed.push_back({t, x});
  }
  const auto better = [](const TokenLogit& a, const TokenLogit& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  std::sort(allowed.begin(), allowed.end(), better);
  std::sort(unmodified.begin(), unmodified.end(), better);

  struct Filters {
    float temperature;
    int top_k;
    float top_p, min_p;
    int top;
  };
  const Filters all_filters[] = {
      {0.7f, 0, 1, 0, 7},      {0, 5, 0.5f, 0.1f, -1},    {2, 0, 1, 0, 257},  {1, 40, 1, 0, 0},
      {1.5f, 300, 1, 0, 256},  {2, 0, 1, 0.1f, 700},      {1, 0, 0.9f, 0, 1}, {2, 0, 0.5f, 0, 1},
      {2, 200, 0.7f, 0.1f, 1}, {3, 900, 0.99f, 0.02f, 1}, {2, 0, 0.02f, 0, 1}};
  for (const Filters& filters : all_filters) {
    std::vector<TokenLogit> kept = allowed;
    const auto weight = [&](const TokenLogit& token) {
      return std::exp((double{token.logit} - allowed[0].logit) / filters.temperature);
    };
    const auto sum_of = [&](const std::vector<TokenLogit>& tokens) {
      double total = 0;
      for (const TokenLogit& token : tokens) total += weight(token);
      return total;
    };
    if (filters.temperature == 0) kept.resize(1);
    if (filters.temperature > 0) {
      if (filters.top_k > 0) kept.resize(std::min<size_t>(kept.size(), filters.top_k));
      const double enough = filters.top_p < 1 ? filters.top_p * sum_of(kept) : INFINITY;
      size_t count = 0;
      for (double before = 0; count < kept.size() && before < enough; ++count) {
        if (weight(kept[count]) < filters.min_p) break;
        before += weight(kept[count]);
      }
      kept.resize(count);
      std::sort(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.token < b.token; });
    }
    for (int schedule = 0; schedule < test::schedules(); schedule += 10) {
      test::use_schedule(schedule);
      for (uint64_t i = 0; i < 3; ++i) {
        SampleRow row{};
        row.output = 1;
        row.temperature = filters.temperature;
        row.top_k = filters.top_k;
        row.top_p = filters.top_p;
        row.min_p = filters.min_p;
        row.random = split_mix(i);
        row.bias_tokens = bias_tokens.data();
        row.bias_values = biases.data();
        row.bias_count = 4;
        row.seen_tokens = seen.data();
        row.seen_counts = counts.data();
        row.seen_count = 5;
        row.repetition_penalty = 1.5f;
        row.presence_penalty = 0.25f;
        row.frequency_penalty = 0.5f;
        row.mask = mask.data();
        row.top = filters.top;
        SampleRow plain{};
        plain.repetition_penalty = plain.top_p = 1;
        plain.top = -1;
        const SampleRow rows[] = {row, plain};
        std::vector<TokenLogit> top(kVocabulary);
        SampleResult results[2] = {};
        results[0].top = top.data();
        Stream stream;
        Sampling sampling(kVocabulary, 2);
        sampling.sample(logits.data(), rows, 2, results, stream);

        const SampleResult& r = results[0];
        CHECK_EQ(r.finite, 1);
        const auto drawn = std::find_if(kept.begin(), kept.end(),
                                        [&](const auto& token) { return token.token == r.token; });
        CHECK(drawn != kept.end());
        if (drawn != kept.end()) CHECK_EQ(r.logit, raw[r.token]);
        if (filters.temperature > 0 && filters.top_p == 1 && drawn != kept.end()) {
          const double uniform = static_cast<double>(row.random >> 11) * 0x1p-53 * sum_of(kept);
          const double before = sum_of({kept.begin(), drawn});
          CHECK(uniform >= before - 1e-4 && uniform <= before + weight(*drawn) + 1e-4);
        }
        if (filters.top >= 0) CHECK_NEAR(r.log_sum_exp, std::log(sum), 1e-5);
        CHECK_EQ(r.top_count, std::max(filters.top, 0));
        int wrong = 0;
        for (int k = 0; k < r.top_count; ++k) {
          const TokenLogit& expected = unmodified[static_cast<size_t>(k)];
          const TokenLogit& found = top[static_cast<size_t>(k)];
          wrong += found.token != expected.token || found.logit != expected.logit;
        }
        CHECK_EQ(wrong, 0);
        const float* first = logits.data();
        CHECK_EQ(static_cast<int64_t>(results[1].token),
                 std::max_element(first, first + kVocabulary) - first);
      }
    }
  }
}

TEST("sample: draws under top-p have its distribution") {
  constexpr int kVocabulary = 100, kRows = 400;
  DeviceArray<float> logits(std::vector<float>(kVocabulary, 0.0f));
  double total = 0;
  for (int t = 0; t < kVocabulary; ++t) {
    logits[t] = -0.05f * static_cast<float>(t);
    total += std::exp(double{logits[t]});
  }
  std::vector<SampleRow> rows(kRows);
  std::vector<SampleResult> results(kRows);
  for (int i = 0; i < kRows; ++i) {
    SampleRow& row = rows[static_cast<size_t>(i)];
    row.temperature = row.repetition_penalty = 1;
    row.top_p = 0.6f;
    row.random = split_mix(static_cast<uint64_t>(i));
    row.top = -1;
  }
  Stream stream;
  Sampling sampling(kVocabulary, kRows);
  sampling.sample(logits.data(), rows.data(), kRows, results.data(), stream);
  int kept = 0;
  double mass = 0;
  while (mass < 0.6 * total) mass += std::exp(double{logits[kept++]});
  double expected = 0, found = 0;  // The mean of the tokens' numbers.
  for (int t = 0; t < kept; ++t) expected += t * std::exp(double{logits[t]}) / mass;
  for (const SampleResult& result : results) {
    CHECK(result.token >= 0 && result.token < kept);
    found += static_cast<double>(result.token) / kRows;
  }
  CHECK_NEAR(found, expected, 0.8);  // 3 standard deviations of 5.2 / 20.
}

TEST("sample: a logit that is not finite ends its row and no other; a mask may allow nothing") {
  constexpr int kVocabulary = 100;
  for (const float broken : {NAN, INFINITY, -INFINITY}) {
    DeviceArray<float> logits(random_values(2 * kVocabulary, 13));
    logits[42] = broken;
    const std::vector<uint32_t> nothing(4, 0);
    SampleRow rows[2] = {};
    rows[0].repetition_penalty = rows[1].repetition_penalty = 1;
    rows[0].top_p = rows[1].top_p = rows[0].temperature = rows[1].temperature = 1;
    rows[1].output = 1;
    rows[1].mask = nothing.data();
    SampleResult results[2] = {};
    Stream stream;
    Sampling sampling(kVocabulary, 2);
    sampling.sample(logits.data(), rows, 2, results, stream);
    CHECK_EQ(results[0].finite, 0);
    CHECK_EQ(results[1].finite, 1);
    CHECK_EQ(results[1].token, -1);
  }
}

}  // namespace
}  // namespace tramontane::cuda
