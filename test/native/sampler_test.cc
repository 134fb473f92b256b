// Draws: filters, seeds, the widening of candidates.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "test.h"

using namespace tramontane;

namespace {

// The best `wanted` of these logits, as a backend gives them.
struct Candidates {
  std::vector<TokenLogit> list;
  SampleResult result{};

  Candidates(const std::vector<float>& logits, float temperature, int32_t wanted) {
    double mass = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      list.push_back({static_cast<int32_t>(i), logits[i]});
      mass += std::exp(logits[i] / double{temperature});
    }
    std::stable_sort(list.begin(), list.end(),
                     [](const TokenLogit& a, const TokenLogit& b) { return a.logit > b.logit; });
    list.resize(std::min(list.size(), static_cast<size_t>(wanted)));
    result.candidates = list.data();
    result.candidate_count = static_cast<int32_t>(list.size());
    result.candidate_log_mass = std::log(mass);
    result.finite = 1;
  }
};

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 0.0f, -1.0f};

std::map<int32_t, double> frequencies(const SamplingOptions& options, int32_t wanted) {
  const Sampler sampler(options, {}, static_cast<int32_t>(kLogits.size()));
  const Candidates candidates(kLogits, options.temperature, wanted);
  std::map<int32_t, double> counts;
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) {
    counts[sampler.draw(candidates.result, wanted, static_cast<uint64_t>(i))] += 1.0 / kDraws;
  }
  return counts;
}

SamplingOptions at(float temperature) {
  SamplingOptions options;
  options.temperature = temperature;
  options.seed = 7;
  return options;
}

}  // namespace

TEST("temperature zero takes the best candidate") {
  const Sampler sampler(at(0), {}, 5);
  const Candidates candidates(kLogits, 1, 1);
  CHECK_EQ(sampler.draw(candidates.result, 1, 0), 1);
}

TEST("draws follow the softmax at the temperature") {
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    const auto counts = frequencies(at(temperature), 5);
    double mass = 0;
    for (const float logit : kLogits) mass += std::exp(logit / double{temperature});
    for (int32_t token = 0; token < 5; ++token) {
      const double expected = std::exp(kLogits[token] / double{temperature}) / mass;
      const auto found = counts.find(token);
      CHECK_NEAR(found == counts.end() ? 0 : found->second, expected, 0.01);
    }
  }
}

TEST("top-k leaves k tokens, top-p the smallest set that reaches p, min-p those near the best") {
  // Softmax of kLogits at 1: token 1: 0.636, 2: 0.234, 0: 0.086, 3: 0.032, 4: 0.012.
  SamplingOptions top_k = at(1);
  top_k.top_k = 2;
  auto counts = frequencies(top_k, 2);
  CHECK_EQ(counts.size(), size_t{2});
  CHECK_NEAR(counts[1], 0.636 / (0.636 + 0.234), 0.01);

  SamplingOptions top_p = at(1);
  top_p.top_p = 0.7f;
  counts = frequencies(top_p, 5);
  CHECK_EQ(counts.size(), size_t{2});
  top_p.top_p = 0.6f;
  CHECK_EQ(frequencies(top_p, 5).size(), size_t{1});

  SamplingOptions min_p = at(1);
  min_p.min_p = 0.1f;  // 0.0636: tokens 1, 2 and 0 stay.
  counts = frequencies(min_p, 5);
  CHECK_EQ(counts.size(), size_t{3});
  CHECK_NEAR(counts[0], 0.086 / (0.636 + 0.234 + 0.086), 0.01);
}

TEST("top-p counts the share of what top-k left") {
  SamplingOptions options = at(1);
  options.top_k = 3;  // 0.665, 0.245, 0.090 after renormalizing.
  options.top_p = 0.66f;
  CHECK_EQ(frequencies(options, 3).size(), size_t{1});
  options.top_p = 0.67f;
  CHECK_EQ(frequencies(options, 3).size(), size_t{2});
}

TEST("few candidates give the same draws as all of them, or ask for more") {
  for (const float top_p : {1.0f, 0.5f, 0.9f, 0.99f}) {
    SamplingOptions options = at(1);
    options.top_p = top_p;
    const Sampler sampler(options, {}, 5);
    const Candidates few(kLogits, 1, 2), all(kLogits, 1, 5);
    int asked = 0, direct = 0;
    for (uint64_t i = 0; i < 2000; ++i) {
      const int32_t wanted = sampler.draw(all.result, 5, i);
      const int32_t token = sampler.draw(few.result, 2, i);
      token < 0 ? ++asked : ++direct;
      if (token >= 0) CHECK_EQ(token, wanted);
    }
    // 0.87 of the mass is in two candidates: top-p 0.5 and 1 can often do without more.
    CHECK((direct > 0) == (top_p == 1.0f || top_p == 0.5f));
    CHECK((asked > 0) == (top_p != 0.5f));
  }
}

TEST("fewer candidates than asked for are all there are") {
  SamplingOptions options = at(1);
  options.top_p = 0.999f;  // Both are needed to reach it.
  const Sampler sampler(options, {}, 100);
  Candidates masked(kLogits, 1, 2);
  masked.result.candidate_log_mass =
      std::log(std::exp(3.0) + std::exp(2.0));  // The mask allows only these two.
  for (uint64_t i = 0; i < 1000; ++i) CHECK(sampler.draw(masked.result, 5, i) >= 1);
}

TEST("a draw depends on seed and index alone") {
  CHECK(uniform(1, 2) == uniform(1, 2));
  CHECK(uniform(1, 2) != uniform(1, 3));
  CHECK(uniform(1, 2) != uniform(2, 2));
  double sum = 0;
  for (uint64_t i = 0; i < 10000; ++i) {
    const double u = uniform(3, i);
    CHECK(u >= 0 && u < 1);
    sum += u;
  }
  CHECK_NEAR(sum / 10000, 0.5, 0.02);
}

TEST("penalties see the prompt's tokens once and count the output's") {
  SamplingOptions options = at(1);
  options.repetition_penalty = 1.5f;
  Sampler sampler(options, {4, 4, 2}, 5);
  sampler.accept(2);
  sampler.accept(3);
  sampler.accept(3);
  SampleRow row{};
  sampler.describe(&row);
  std::map<int32_t, int32_t> seen;
  for (int32_t i = 0; i < row.seen_count; ++i) seen[row.seen_tokens[i]] = row.seen_counts[i];
  CHECK(seen == (std::map<int32_t, int32_t>{{4, 0}, {2, 1}, {3, 2}}));
}

TEST("an allow-list has the bits of its tokens and no others") {
  AllowList list({0, 33, 63}, 64);
  CHECK_EQ(list.mask()[0], 1u);
  CHECK_EQ(list.mask()[1], 0x80000002u);
}
