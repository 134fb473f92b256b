// Draws from a row of logits, against plain computations in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backend/rules.h"
#include "base/split_mix.h"
#include "cpu/backend/implementation.h"
#include "cpu/backend/sample.h"
#include "status_of.h"
#include "test.h"

namespace tramontane::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// A SampleRow with storage for what it points to.
struct Request {
  float temperature = 1;
  int32_t top_k = 0;
  float top_p = 1, min_p = 0;
  uint64_t random = 0;
  int32_t top = 3;
  std::vector<int32_t> bias_tokens;
  std::vector<float> bias_values;
  std::vector<int32_t> seen_tokens, seen_counts;
  float repetition = 1, presence = 0, frequency = 0;
  std::vector<uint32_t> mask;

  SampleRow row() const {
    return {0,
            temperature,
            top_k,
            top_p,
            min_p,
            random,
            bias_tokens.data(),
            bias_values.data(),
            static_cast<int32_t>(bias_tokens.size()),
            seen_tokens.data(),
            seen_counts.data(),
            static_cast<int32_t>(seen_tokens.size()),
            repetition,
            presence,
            frequency,
            mask.empty() ? nullptr : mask.data(),
            top};
  }
};

struct Drawn {
  SampleResult result{};
  std::vector<TokenLogit> top;

  int32_t token() const { return result.token; }
};

Drawn drawn(const RowKernels& kernels, const std::vector<float>& logits, const Request& request) {
  const std::vector<float> before = logits;
  Drawn drawn;
  drawn.top.resize(static_cast<size_t>(std::max(request.top, 0)));
  drawn.result.top = drawn.top.data();
  SampleScratch scratch;
  const SampleRow row = request.row();
  const int32_t vocabulary = static_cast<int32_t>(logits.size());
  check_sample(row, drawn.result, vocabulary);
  sample(kernels, logits.data(), vocabulary, row, scratch, drawn.result);
  CHECK(std::memcmp(before.data(), logits.data(), logits.size() * sizeof(float)) == 0);
  drawn.top.resize(static_cast<size_t>(drawn.result.top_count));
  return drawn;
}

// Logits after bias, penalties and mask; -infinity: not allowed.
std::vector<double> modified(const std::vector<float>& logits, const Request& request) {
  std::vector<double> modified(logits.begin(), logits.end());
  for (size_t i = 0; i < request.bias_tokens.size(); ++i) {
    modified[static_cast<size_t>(request.bias_tokens[i])] += request.bias_values[i];
  }
  for (size_t i = 0; i < request.seen_tokens.size(); ++i) {
    double& logit = modified[static_cast<size_t>(request.seen_tokens[i])];
    logit = logit > 0 ? logit / request.repetition : logit * request.repetition;
    if (request.seen_counts[i] > 0) logit -= request.presence;
    logit -= request.frequency * request.seen_counts[i];
  }
  for (size_t i = 0; i < logits.size() && !request.mask.empty(); ++i) {
    if (!((request.mask[i / 32] >> (i % 32)) & 1)) modified[i] = -kInfinity;
  }
  return modified;
}

std::vector<size_t> ranked(const std::vector<double>& logits) {
  std::vector<size_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), size_t{0});
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  return tokens;
}

// The probability of each token, by sorting all of them.
std::vector<double> probabilities(const std::vector<float>& raw, const Request& request) {
  const std::vector<double> logits = modified(raw, request);
  std::vector<size_t> tokens = ranked(logits);
  if (request.top_k > 0) {
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(request.top_k)));
  }
  const double best = logits[tokens[0]];
  const auto weight = [&](size_t token) {
    return std::exp((logits[token] - best) / request.temperature);
  };
  double total = 0, kept = 0;
  for (const size_t token : tokens) total += weight(token);
  std::vector<double> found(raw.size());
  for (const size_t token : tokens) {
    if (request.top_p < 1 && kept >= request.top_p * total) break;
    if (weight(token) < request.min_p) break;
    found[token] = weight(token);
    kept += weight(token);
  }
  for (double& probability : found) probability /= kept;
  return found;
}

// A draw without top-p is the token at which the sum of the probabilities passes the number in
// [0, 1) that the random bits are.
void check_draws(const RowKernels& kernels, const std::vector<float>& logits, Request request,
                 int draws) {
  const std::vector<double> expected = probabilities(logits, request);
  for (int i = 0; i < draws; ++i) {
    request.random = split_mix(static_cast<uint64_t>(i));
    const Drawn found = drawn(kernels, logits, request);
    CHECK(found.result.finite);
    const auto token = static_cast<size_t>(found.token());
    CHECK(token < logits.size() && expected[token] > 0);
    if (token >= logits.size()) return;
    CHECK_EQ(found.result.logit, logits[token]);
    if (request.top_p < 1) continue;
    const double uniform = static_cast<double>(request.random >> 11) * 0x1p-53;
    const double before =
        std::accumulate(expected.begin(), expected.begin() + static_cast<long>(token), 0.0);
    CHECK(uniform >= before - 2e-6 && uniform <= before + expected[token] + 2e-6);
  }
}

// Multiples of 1/16, so that many are equal and sums with such biases are exact.
std::vector<float> random_logits(int vocabulary, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> logits(static_cast<size_t>(vocabulary));
  for (float& logit : logits) logit = std::round(normal(random) * 16) / 16;
  return logits;
}

template <typename Test>
void for_each_implementation(Test test) {
  for (const Implementation& implementation : implementations()) {
    if (implementation.supported()) test(*implementation.rows);
  }
}

TEST("the best logits and their log-sum-exp equal a full sort, for any number wanted") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int vocabulary : {1, 2, 31, 32, 33, 1000, 4099}) {
      for (const int slope : {-1, 0, 1, 2}) {  // 2: not sloping at all.
        std::vector<float> logits = random_logits(vocabulary, 1);
        for (size_t i = 0; i < logits.size() && slope < 2; ++i) {
          logits[i] = 0.125f * static_cast<float>(slope * static_cast<int>(i));
        }
        const std::vector<size_t> expected =
            ranked(std::vector<double>(logits.begin(), logits.end()));
        const double best = logits[expected[0]];
        double sum = 0;
        for (const double logit : logits) sum += std::exp(logit - best);
        for (const int wanted : {0, 1, 2, 40, 999, 1000, 5000}) {
          Request request;
          request.top = wanted;
          const auto [result, top] = drawn(kernels, logits, request);
          CHECK_NEAR(result.log_sum_exp, best + std::log(sum), 2e-6 * (1 + std::fabs(best)));
          CHECK_EQ(top.size(), static_cast<size_t>(std::min(wanted, vocabulary)));
          for (size_t i = 0; i < top.size(); ++i) {
            CHECK_EQ(static_cast<size_t>(top[i].token), expected[i]);
            CHECK_EQ(top[i].logit, logits[expected[i]]);
          }
        }
      }
    }
  });
}

TEST("temperature zero takes the best token, of equal ones the first, whatever the filters say") {
  for_each_implementation([](const RowKernels& kernels) {
    std::vector<float> logits = random_logits(700, 9);
    logits[600] = logits[650] = 20;
    Request request;
    request.temperature = 0;
    request.top_k = 5;
    request.top_p = 0.5f;
    request.min_p = 0.1f;
    request.top = -1;
    CHECK_EQ(drawn(kernels, logits, request).token(), 600);
    request.bias_tokens = {600};
    request.bias_values = {-1};
    CHECK_EQ(drawn(kernels, logits, request).token(), 650);
  });
}

TEST("a draw is the token whose part of the mass has its random number, at any size") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int vocabulary : {1, 2, 31, 32, 33, 511, 512, 513, 1000, 4099}) {
      const std::vector<float> logits = random_logits(vocabulary, 1);
      for (const float temperature : {0.3f, 1.0f, 2.5f}) {
        for (const int top_k : {0, 1, 2, 40, 999, 1000, 5000}) {
          for (const float min_p : {0.0f, 0.02f, 1.0f}) {
            Request request;
            request.temperature = temperature;
            request.top_k = top_k;
            request.min_p = min_p;
            check_draws(kernels, logits, request, 30);
          }
        }
      }
    }
  });
}

// How often each token is drawn.
std::vector<int> counts_of(const RowKernels& kernels, const std::vector<float>& logits,
                           Request request, int draws) {
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) {
    request.random = split_mix(static_cast<uint64_t>(i));
    ++counts.at(static_cast<size_t>(drawn(kernels, logits, request).token()));
  }
  return counts;
}

TEST("top-k, top-p and min-p leave exactly what a full sort leaves, equal logits included") {
  // Steps of 1 / 4: of every value there are some, and each set ends among equal ones.
  std::vector<float> logits(60);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7 % 5) / 4;
  for_each_implementation([&](const RowKernels& kernels) {
    for (const float temperature : {0.5f, 2.0f}) {
      for (const int top_k : {0, 1, 13, 40}) {
        for (const float top_p : {1e-6f, 0.1f, 0.5f, 0.9f, 1.0f}) {
          for (const float min_p : {0.0f, 0.1f, 0.4f, 1.0f}) {
            Request request;
            request.temperature = temperature;
            request.top_k = top_k;
            request.top_p = top_p;
            request.min_p = min_p;
            const std::vector<double> expected = probabilities(logits, request);
            const double least =
                *std::min_element(expected.begin(), expected.end(),
                                  [](auto a, auto b) { return a > 0 && (b == 0 || a < b); });
            // Enough for none to be missed: e^-15 for one of them.
            const std::vector<int> counts =
                counts_of(kernels, logits, request, static_cast<int>(15 / least));
            for (size_t token = 0; token < logits.size(); ++token) {
              CHECK_EQ(counts[token] > 0, expected[token] > 0);
            }
          }
        }
      }
    }
  });
}

TEST("draws have the distribution of their options, by chi-square") {
  std::string error;
  const RowKernels& kernels = *choose_implementation(nullptr, &error)->rows;
  const std::vector<float> logits = random_logits(600, 10);
  Request penalties;
  for (int32_t token = 0; token < 600; token += 3) {
    penalties.seen_tokens.push_back(token);
    penalties.seen_counts.push_back(token % 4);
  }
  penalties.repetition = 1.25f;
  penalties.frequency = 0.25f;
  penalties.bias_tokens = {5, 560};
  penalties.bias_values = {1, -kInfinity};
  for (const Request& modifiers : {Request(), penalties}) {
    for (const float temperature : {0.5f, 1.0f, 2.0f}) {
      for (const float top_p : {0.5f, 0.9f, 1.0f}) {
        for (const int top_k : {0, 100}) {
          for (const float min_p : {0.0f, 0.02f}) {
            Request request = modifiers;
            request.temperature = temperature;
            request.top_p = top_p;
            request.top_k = top_k;
            request.min_p = min_p;
            request.top = -1;
            constexpr int kDraws = 5000;
            const std::vector<double> expected = probabilities(logits, request);
            const std::vector<int> counts = counts_of(kernels, logits, request, kDraws);
            // Rare tokens are counted together.
            double statistic = 0, rare = 0;
            int bins = 0, rare_count = 0;
            const auto add = [&](double mean, int count) {
              statistic += (count - mean) * (count - mean) / mean;
              ++bins;
            };
            for (size_t token = 0; token < logits.size(); ++token) {
              const double mean = expected[token] * kDraws;
              if (mean == 0) CHECK_EQ(counts[token], 0);
              if (mean >= 5) {
                add(mean, counts[token]);
              } else {
                rare += mean;
                rare_count += counts[token];
              }
            }
            if (rare >= 5) add(rare, rare_count);
            // Wilson and Hilferty: about normal. Above 4 is 1 in 30,000.
            const double freedom = bins - 1;
            const double deviation = (std::cbrt(statistic / freedom) - 1 + 2 / (9 * freedom)) /
                                     std::sqrt(2 / (9 * freedom));
            CHECK(std::fabs(deviation) < 4);
          }
        }
      }
    }
  }
}

TEST("every implementation draws the same token") {
  const std::vector<float> logits = random_logits(3000, 11);
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    for (const float top_p : {0.1f, 0.9f, 1.0f}) {
      for (uint64_t i = 0; i < 200; ++i) {
        Request request;
        request.temperature = temperature;
        request.top_p = top_p;
        request.random = split_mix(i);
        const int32_t expected = drawn(kScalarRows, logits, request).token();
        for_each_implementation([&](const RowKernels& kernels) {
          CHECK_EQ(drawn(kernels, logits, request).token(), expected);
        });
      }
    }
  }
}

TEST("bias, penalties and mask apply in their order") {
  for_each_implementation([](const RowKernels& kernels) {
    std::mt19937 random(2);
    for (int round = 0; round < 200; ++round) {
      const int vocabulary = 1 + static_cast<int>(random() % 500);
      const std::vector<float> logits = random_logits(vocabulary, 3 + static_cast<uint32_t>(round));
      Request request;
      request.temperature = 0.5f;
      std::vector<int32_t> tokens(static_cast<size_t>(vocabulary));
      std::iota(tokens.begin(), tokens.end(), 0);
      std::shuffle(tokens.begin(), tokens.end(), random);
      for (size_t i = 0; i < tokens.size() / 3; ++i) {
        request.bias_tokens.push_back(tokens[i]);
        request.bias_values.push_back(i % 4 == 0 ? -kInfinity
                                                 : static_cast<float>(random() % 64) / 16 - 2);
      }
      for (size_t i = tokens.size() / 4; i < tokens.size() / 2; ++i) {  // Some have a bias too.
        request.seen_tokens.push_back(tokens[i]);
        request.seen_counts.push_back(static_cast<int32_t>(random() % 5));
      }
      request.repetition = round % 3 == 0 ? 1.0f : 2.0f;  // Powers of two: no ties by rounding.
      request.presence = round % 2 == 0 ? 0.0f : 0.5f;
      request.frequency = round % 5 == 0 ? 0.0f : 0.25f;
      if (round % 4 != 0) {
        for (int i = 0; i < (vocabulary + 31) / 32; ++i) {
          request.mask.push_back(round % 7 == 0 ? 0xffffffffu : static_cast<uint32_t>(random()));
        }
      }
      const std::vector<double> left = modified(logits, request);
      const bool some =
          std::any_of(left.begin(), left.end(), [](double x) { return x > -kInfinity; });
      if (some) check_draws(kernels, logits, request, 40);
      if (!some) CHECK_EQ(drawn(kernels, logits, request).token(), -1);
    }
  });
}

TEST("a mask of nothing, and a ban of everything, leave no token") {
  for_each_implementation([](const RowKernels& kernels) {
    const std::vector<float> logits = random_logits(50, 4);
    Request masked;
    masked.mask = {0, 0};
    Request banned;
    for (int32_t token = 0; token < 50; ++token) {
      banned.bias_tokens.push_back(token);
      banned.bias_values.push_back(-kInfinity);
    }
    banned.seen_tokens = {3};
    banned.seen_counts = {1};
    banned.repetition = 1.5f;
    for (const Request& request : {masked, banned}) {
      const auto [result, top] = drawn(kernels, logits, request);
      CHECK(result.finite);
      CHECK_EQ(result.token, -1);
      CHECK_EQ(top.size(), 3u);
    }
  });
}

TEST("mask bits beyond the vocabulary are nothing") {
  for_each_implementation([](const RowKernels& kernels) {
    const std::vector<float> logits = random_logits(33, 5);
    Request request;
    request.mask = {0, 0xffffffffu};
    check_draws(kernels, logits, request, 20);
  });
}

TEST("a bias of +infinity wins with all the mass, two of them by halves") {
  for_each_implementation([](const RowKernels& kernels) {
    const std::vector<float> logits = random_logits(100, 6);
    Request request;
    request.temperature = 0.7f;
    request.bias_tokens = {40, 20};
    request.bias_values = {kInfinity, kInfinity};
    request.seen_tokens = {40};
    request.seen_counts = {1};
    const std::vector<int> counts = counts_of(kernels, logits, request, 1000);
    CHECK_EQ(counts[20] + counts[40], 1000);
    CHECK_NEAR(counts[20], 500, 60);
  });
}

TEST("penalties of huge numbers overflow to finite ones") {
  for_each_implementation([](const RowKernels& kernels) {
    const std::vector<float> logits = {-3e38f, 3e38f, 0, 1};
    Request request;
    request.seen_tokens = {0, 1, 2};
    request.seen_counts = {1000000, 1, 1};
    request.repetition = 1e-3f;
    request.presence = -3e38f;
    for (const float top_p : {0.5f, 1.0f}) {
      request.top_p = top_p;
      const int32_t token = drawn(kernels, logits, request).token();
      CHECK(token == 0 || token == 1);  // The largest number both, which is more than all others.
    }
  });
}

TEST("temperatures near zero draw of the best, those far above one of all alike") {
  for_each_implementation([](const RowKernels& kernels) {
    const std::vector<float> logits = random_logits(700, 7);
    const float best = *std::max_element(logits.begin(), logits.end());
    Request request;
    for (const float temperature : {1e-42f, 1e-30f, 1e-3f}) {
      request.temperature = temperature;
      for (const float min_p : {0.0f, 0.5f}) {
        request.min_p = min_p;
        const std::vector<int> counts = counts_of(kernels, logits, request, 100);
        for (size_t i = 0; i < logits.size(); ++i) CHECK(counts[i] == 0 || logits[i] == best);
      }
    }
    for (const float temperature : {1e5f, 3e38f}) {
      request.temperature = temperature;
      for (const float min_p : {0.0f, 0.5f}) {
        request.min_p = min_p;
        for (const int count : counts_of(kernels, logits, request, 14000))
          CHECK_NEAR(count, 20, 20);
      }
    }
  });
}

TEST("a logit that is not finite is said, wherever it stands") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (const size_t place : {0, 5, 31, 99}) {
        std::vector<float> logits = random_logits(100, 8);
        logits[place] = bad;
        CHECK(!drawn(kernels, logits, Request()).result.finite);
      }
    }
  });
}

TEST("a row that breaks the rules is refused") {
  TokenLogit token;
  SampleResult result{};
  result.top = &token;
  const auto refused = [&](auto change) {
    Request request;
    request.bias_tokens = request.seen_tokens = request.seen_counts = {1};
    request.bias_values = {1};
    SampleRow row = request.row();
    change(row);
    return test::status_of([&] { check_sample(row, result, 10); }) == Status::kInvalid;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const int32_t beyond = 10, negative = -1;
  CHECK(!refused([](SampleRow&) {}));
  CHECK(refused([](SampleRow& row) { row.top_k = -1; }));
  CHECK(refused([](SampleRow& row) { row.top_p = 0; }));
  CHECK(refused([](SampleRow& row) { row.top_p = 1.5f; }));
  CHECK(refused([&](SampleRow& row) { row.top_p = nan; }));
  CHECK(refused([](SampleRow& row) { row.min_p = -0.5f; }));
  CHECK(refused([](SampleRow& row) { row.min_p = 1.5f; }));
  CHECK(refused([&](SampleRow& row) { row.min_p = nan; }));
  CHECK(refused([&](SampleRow& row) { row.temperature = nan; }));
  CHECK(refused([](SampleRow& row) { row.temperature = kInfinity; }));
  CHECK(refused([](SampleRow& row) { row.temperature = -1; }));
  CHECK(refused([](SampleRow& row) { row.repetition_penalty = 0; }));
  CHECK(refused([&](SampleRow& row) { row.repetition_penalty = nan; }));
  CHECK(refused([&](SampleRow& row) { row.presence_penalty = nan; }));
  CHECK(refused([](SampleRow& row) { row.frequency_penalty = kInfinity; }));
  CHECK(refused([&](SampleRow& row) { row.bias_values = &nan; }));
  CHECK(refused([&](SampleRow& row) { row.bias_tokens = &beyond; }));
  CHECK(refused([&](SampleRow& row) { row.seen_tokens = &negative; }));
  CHECK(refused([&](SampleRow& row) { row.seen_counts = &negative; }));
  CHECK(refused([](SampleRow& row) { row.bias_count = -1; }));
  CHECK(refused([](SampleRow& row) { row.seen_counts = nullptr; }));
}

}  // namespace
}  // namespace tramontane::cpu
