// The sampler's view of a row of logits, against a plain computation in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backend/rules.h"
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
  int32_t candidates = 4, top = 3;
  std::vector<int32_t> bias_tokens;
  std::vector<float> bias_values;
  std::vector<int32_t> seen_tokens, seen_counts;
  float repetition = 1, presence = 0, frequency = 0;
  std::vector<uint32_t> mask;

  SampleRow row() const {
    return {0,
            temperature,
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
            candidates,
            top};
  }
};

struct View {
  std::vector<TokenLogit> candidates, top;
  std::vector<float> raw;
  double log_mass, log_sum_exp;
  bool finite;
};

View sampled(const RowKernels& kernels, const std::vector<float>& logits, const Request& request) {
  const std::vector<float> before = logits;
  View view;
  view.candidates.resize(static_cast<size_t>(request.candidates));
  view.raw.resize(static_cast<size_t>(request.candidates));
  view.top.resize(static_cast<size_t>(request.top));
  SampleResult result{};
  result.candidates = view.candidates.data();
  result.candidate_raw = view.raw.data();
  result.top = view.top.data();
  SampleScratch scratch;
  const SampleRow row = request.row();
  const int32_t vocabulary = static_cast<int32_t>(logits.size());
  check_sample(row, result, vocabulary);
  sample(kernels, logits.data(), vocabulary, row, scratch, result);
  CHECK(std::memcmp(before.data(), logits.data(), logits.size() * sizeof(float)) == 0);
  view.finite = result.finite != 0;
  view.candidates.resize(static_cast<size_t>(result.candidate_count));
  view.raw.resize(static_cast<size_t>(result.candidate_count));
  view.top.resize(static_cast<size_t>(result.top_count));
  view.log_mass = result.candidate_log_mass;
  view.log_sum_exp = result.log_sum_exp;
  return view;
}

// All tokens by their rank, and log sum exp.
struct Ranked {
  std::vector<std::pair<int32_t, double>> tokens;
  double log_mass;
};

Ranked ranked(std::vector<double> logits, const std::vector<bool>& allowed, double temperature) {
  Ranked ranked;
  double best = -std::numeric_limits<double>::infinity(), sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!allowed[i]) continue;
    ranked.tokens.push_back({static_cast<int32_t>(i), logits[i]});
    best = std::max(best, logits[i]);
  }
  std::stable_sort(ranked.tokens.begin(), ranked.tokens.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [token, logit] : ranked.tokens) sum += std::exp((logit - best) / temperature);
  ranked.log_mass = best / temperature + std::log(sum);
  return ranked;
}

Ranked expected(const std::vector<float>& logits, const Request& request) {
  std::vector<double> modified(logits.begin(), logits.end());
  std::vector<bool> allowed(logits.size(), true);
  for (size_t i = 0; i < request.bias_tokens.size(); ++i) {
    const size_t token = static_cast<size_t>(request.bias_tokens[i]);
    if (request.bias_values[i] == -kInfinity) allowed[token] = false;
    modified[token] += request.bias_values[i];
  }
  for (size_t i = 0; i < request.seen_tokens.size(); ++i) {
    double& logit = modified[static_cast<size_t>(request.seen_tokens[i])];
    logit = logit > 0 ? logit / request.repetition : logit * request.repetition;
    if (request.seen_counts[i] > 0) logit -= request.presence;
    logit -= request.frequency * request.seen_counts[i];
  }
  for (size_t i = 0; i < logits.size() && !request.mask.empty(); ++i) {
    if (!((request.mask[i / 32] >> (i % 32)) & 1)) allowed[i] = false;
  }
  return ranked(modified, allowed, request.temperature);
}

void check_view(const View& view, const std::vector<float>& logits, const Request& request) {
  CHECK(view.finite);
  const Ranked all = expected(logits, request);
  const size_t count = std::min<size_t>(static_cast<size_t>(request.candidates), all.tokens.size());
  CHECK_EQ(view.candidates.size(), count);
  for (size_t i = 0; i < std::min(count, view.candidates.size()); ++i) {
    CHECK_EQ(view.candidates[i].token, all.tokens[i].first);
    CHECK_NEAR(view.candidates[i].logit, all.tokens[i].second, 2e-6);
    CHECK_EQ(view.raw[i], logits[static_cast<size_t>(view.candidates[i].token)]);
  }
  if (count > 0) CHECK_NEAR(view.log_mass, all.log_mass, 2e-6 * (1 + std::fabs(all.log_mass)));
  const Ranked raw =
      ranked({logits.begin(), logits.end()}, std::vector<bool>(logits.size(), true), 1);
  CHECK_NEAR(view.log_sum_exp, raw.log_mass, 2e-6 * (1 + std::fabs(raw.log_mass)));
  CHECK_EQ(view.top.size(), std::min<size_t>(static_cast<size_t>(request.top), logits.size()));
  for (size_t i = 0; i < view.top.size(); ++i) {
    CHECK_EQ(view.top[i].token, raw.tokens[i].first);
    CHECK_EQ(view.top[i].logit, logits[static_cast<size_t>(view.top[i].token)]);
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

TEST("candidates, mass and top equal a full sort, for any number wanted") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const int vocabulary : {1, 2, 31, 32, 33, 1000, 4099}) {
      const std::vector<float> logits = random_logits(vocabulary, 1);
      for (const int wanted : {1, 2, 40, 999, 1000, 5000}) {
        for (const float temperature : {0.3f, 1.0f, 2.5f}) {
          Request request;
          request.candidates = wanted;
          request.top = wanted / 2;
          request.temperature = temperature;
          check_view(sampled(kernels, logits, request), logits, request);
        }
      }
    }
  });
}

TEST("rising, falling and equal logits are selected right") {
  for_each_implementation([](const RowKernels& kernels) {
    std::vector<float> logits(3000);
    for (const int slope : {-1, 0, 1}) {
      for (size_t i = 0; i < logits.size(); ++i) logits[i] = 0.125f * slope * static_cast<int>(i);
      for (const int wanted : {1, 7, 2999}) {
        Request request;
        request.candidates = request.top = wanted;
        check_view(sampled(kernels, logits, request), logits, request);
      }
    }
  });
}

TEST("bias, penalties and mask apply in their order") {
  for_each_implementation([](const RowKernels& kernels) {
    std::mt19937 random(2);
    for (int round = 0; round < 200; ++round) {
      const int vocabulary = 1 + static_cast<int>(random() % 500);
      const std::vector<float> logits = random_logits(vocabulary, 3 + static_cast<uint32_t>(round));
      Request request;
      request.candidates = 1 + static_cast<int32_t>(random() % 20);
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
      check_view(sampled(kernels, logits, request), logits, request);
    }
  });
}

TEST("a mask of nothing, and a ban of everything, leave no candidate and no NaN") {
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
      const View view = sampled(kernels, logits, request);
      CHECK(view.finite);
      CHECK(view.candidates.empty());
      CHECK(view.log_mass == -std::numeric_limits<double>::infinity());
      CHECK_EQ(view.top.size(), 3u);
    }
  });
}

TEST("mask bits beyond the vocabulary are nothing") {
  for_each_implementation([](const RowKernels& kernels) {
    const std::vector<float> logits = random_logits(33, 5);
    Request request;
    request.candidates = 33;
    request.mask = {0, 0xffffffffu};
    const View view = sampled(kernels, logits, request);
    CHECK_EQ(view.candidates.size(), 1u);
    CHECK_EQ(view.candidates.at(0).token, 32);
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
    const View view = sampled(kernels, logits, request);
    CHECK_EQ(view.candidates.at(0).token, 20);
    CHECK_EQ(view.candidates.at(1).token, 40);
    CHECK_EQ(view.candidates.at(0).logit, kLargest);
    // log 2 vanishes beside the largest number: equal to rounding of a double.
    CHECK_NEAR(view.log_mass / (static_cast<double>(kLargest) / request.temperature), 1, 1e-12);
    CHECK_EQ(view.raw.at(0), logits[20]);
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
    const View view = sampled(kernels, logits, request);
    CHECK_EQ(view.candidates.size(), 4u);
    CHECK(!std::isnan(view.log_mass));
    for (const TokenLogit& candidate : view.candidates) CHECK(std::isfinite(candidate.logit));
  });
}

TEST("temperatures near zero and far above one keep the mass a number") {
  for_each_implementation([](const RowKernels& kernels) {
    const std::vector<float> logits = random_logits(700, 7);
    for (const float temperature : {1e-42f, 1e-30f, 1e-3f, 1e5f, 3e38f}) {
      Request request;
      request.temperature = temperature;
      const View view = sampled(kernels, logits, request);
      const double best = view.candidates.at(0).logit / static_cast<double>(temperature);
      CHECK(view.log_mass >= best * (1 - 1e-6) && view.log_mass <= best + std::log(701.0));
    }
  });
}

TEST("a logit that is not finite is said, wherever it stands") {
  for_each_implementation([](const RowKernels& kernels) {
    for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (const size_t place : {0, 5, 31, 99}) {
        std::vector<float> logits = random_logits(100, 8);
        logits[place] = bad;
        CHECK(!sampled(kernels, logits, Request()).finite);
      }
    }
  });
}

TEST("a row that breaks the rules is refused") {
  TokenLogit token;
  float raw;
  SampleResult result{};
  result.candidates = result.top = &token;
  result.candidate_raw = &raw;
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
  CHECK(refused([](SampleRow& row) { row.candidates = 0; }));
  CHECK(refused([](SampleRow& row) { row.top = -1; }));
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
