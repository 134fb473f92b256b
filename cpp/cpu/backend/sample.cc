#include "cpu/backend/sample.h"

#include <algorithm>
#include <limits>

#include "base/portable_math.h"

namespace tramontane::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

bool better(const TokenLogit& a, const TokenLogit& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// Writes the best `wanted` of the logits that are above -infinity, best first; returns how many.
// Tokens are collected while they beat the worst of the best known so far, and twice as many as
// wanted are cut down to the best: linear time, and most logits are looked at by a compare alone.
int32_t select_best(const RowKernels& kernels, const float* logits, int32_t vocabulary,
                    int32_t wanted, std::vector<TokenLogit>& best, TokenLogit* out) {
  wanted = std::min(wanted, vocabulary);
  if (wanted == 0) return 0;
  const size_t room = 2 * static_cast<size_t>(wanted) + 14;
  best.clear();
  const auto cut = [&] {
    std::nth_element(best.begin(), best.begin() + (wanted - 1), best.end(), better);
    best.resize(static_cast<size_t>(wanted));
  };
  float threshold = -kInfinity;
  for (int32_t token = kernels.find_above(logits, 0, vocabulary, threshold); token < vocabulary;
       token = kernels.find_above(logits, token + 1, vocabulary, threshold)) {
    best.push_back({token, logits[token]});
    if (best.size() == room) {
      cut();
      threshold = best.back().logit;  // A later token that equals it would come after it.
    }
  }
  if (best.size() > static_cast<size_t>(wanted)) cut();
  std::sort(best.begin(), best.end(), better);
  std::copy(best.begin(), best.end(), out);
  return static_cast<int32_t>(best.size());
}

bool modifies(const SampleRow& row) {
  const bool penalties =
      row.repetition_penalty != 1 || row.presence_penalty != 0 || row.frequency_penalty != 0;
  return row.bias_count > 0 || (row.seen_count > 0 && penalties) || row.mask != nullptr;
}

void modify(const SampleRow& row, int32_t vocabulary, float* logits) {
  for (int32_t i = 0; i < row.bias_count; ++i) {
    float& logit = logits[row.bias_tokens[i]];
    logit = row.bias_values[i] == -kInfinity
                ? -kInfinity
                : std::clamp(logit + row.bias_values[i], -kLargest, kLargest);
  }
  for (int32_t i = 0; i < row.seen_count; ++i) {
    float& logit = logits[row.seen_tokens[i]];
    if (logit == -kInfinity) continue;
    logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    if (row.seen_counts[i] > 0) {
      logit -= row.presence_penalty;
      logit -= row.frequency_penalty * static_cast<float>(row.seen_counts[i]);
    }
    logit = std::clamp(logit, -kLargest, kLargest);
  }
  if (row.mask == nullptr) return;
  for (int32_t first = 0; first < vocabulary; first += 32) {
    const uint32_t allowed = row.mask[first / 32];
    if (allowed == ~uint32_t{0}) continue;
    const int32_t end = std::min(first + 32, vocabulary);
    for (int32_t token = first; token < end; ++token) {
      if (!((allowed >> (token - first)) & 1)) logits[token] = -kInfinity;
    }
  }
}

}  // namespace

void sample(const RowKernels& kernels, const float* logits, int32_t vocabulary,
            const SampleRow& row, SampleScratch& scratch, SampleResult& result) {
  float maximum;
  result.finite = kernels.finite_maximum(logits, vocabulary, &maximum) ? 1 : 0;
  if (result.finite == 0) return;
  result.log_sum_exp = maximum + portable::log(kernels.exp_sum(logits, vocabulary, maximum, 1));
  result.top_count = select_best(kernels, logits, vocabulary, row.top, scratch.best, result.top);

  const float* modified = logits;
  if (modifies(row)) {
    scratch.logits.reserve(static_cast<size_t>(vocabulary));
    std::copy_n(logits, vocabulary, scratch.logits.data());
    modify(row, vocabulary, scratch.logits.data());
    modified = scratch.logits.data();
  }
  result.candidate_count =
      select_best(kernels, modified, vocabulary, row.candidates, scratch.best, result.candidates);
  for (int32_t i = 0; i < result.candidate_count; ++i) {
    result.candidate_raw[i] = logits[result.candidates[i].token];
  }
  result.candidate_log_mass = -std::numeric_limits<double>::infinity();
  if (row.temperature > 0 && result.candidate_count > 0) {
    const float best = result.candidates[0].logit;
    const double sum = kernels.exp_sum(modified, vocabulary, best, row.temperature);
    result.candidate_log_mass = static_cast<double>(best) / row.temperature + portable::log(sum);
  }
}

}  // namespace tramontane::cpu
