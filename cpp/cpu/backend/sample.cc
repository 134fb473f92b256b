#include "cpu/backend/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/portable_math.h"
#include "base/split_mix.h"

namespace tramontane::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// The order of tokens.
bool better(const TokenLogit& a, const TokenLogit& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// Collects the best `wanted` of the logits that are above -infinity, in any order. Tokens are taken
// while they beat the worst of the best known so far, and twice as many as wanted are cut down to
// the best: linear time, and most logits are looked at by a compare alone.
void collect_best(const RowKernels& kernels, const float* logits, int32_t vocabulary,
                  int32_t wanted, std::vector<TokenLogit>& best) {
  wanted = std::min(wanted, vocabulary);
  best.clear();
  if (wanted == 0) return;
  const size_t room = 2 * static_cast<size_t>(wanted) + 14;
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

// Before it are the logits at which a token is at least `min_p` times as probable as the best.
TokenLogit min_p_bound(float best, float temperature, float min_p) {
  const double least = best + double{temperature} * portable::log(min_p);
  if (least <= -kLargest) return {0, -kInfinity};
  const float logit = static_cast<float>(least);
  return {0, logit < least ? logit : std::nextafter(logit, -kInfinity)};
}

// The tokens before a bound, with the weights they are drawn by.
class Draw {
 public:
  // All tokens that are allowed.
  Draw(const RowKernels& kernels, const float* logits, int32_t vocabulary, float best,
       float temperature, SampleScratch& scratch)
      : kernels_(kernels), logits_(logits), vocabulary_(vocabulary), scratch_(scratch) {
    scratch.reserve_weights(vocabulary);
    kernels.exp_weights(logits, vocabulary, best, temperature, scratch.weights.data(),
                        scratch.sums.data());
    add_sums();
  }

  // Of all their weights.
  double mass() const { return mass_; }

  void keep_before(const TokenLogit& bound) {
    if (!better(bound, bound_)) return;
    bound_ = bound;
    kernels_.sums_before(logits_, scratch_.weights.data(), vocabulary_, bound,
                         scratch_.sums.data());
    add_sums();
  }

  // The first token at which the sum of the weights, in the order of tokens' numbers, is above
  // `target`; the last with a weight where rounding leaves none.
  TokenLogit find(double target) const {
    const float* weights = scratch_.weights.data();
    const float* sums = scratch_.sums.data();
    int32_t block = 0, token = 0;
    double before = 0, sum = 0;
    for (int32_t i = 0; i < weight_blocks(vocabulary_) && sum <= target; ++i) {
      if (sums[i] == 0) continue;
      block = i;
      before = sum;
      sum += sums[i];
    }
    const int32_t first = block * kWeightBlock, last = std::min(first + kWeightBlock, vocabulary_);
    for (int32_t i = first; i < last && before <= target; ++i) {
      if (weights[i] == 0 || !better({i, logits_[i]}, bound_)) continue;
      token = i;
      before += weights[i];
    }
    return {token, logits_[token]};
  }

 private:
  void add_sums() {
    const float* sums = scratch_.sums.data();
    mass_ = std::accumulate(sums, sums + weight_blocks(vocabulary_), 0.0);
  }

  const RowKernels& kernels_;
  const float* const logits_;
  const int32_t vocabulary_;
  SampleScratch& scratch_;
  TokenLogit bound_ = {0, -kInfinity};
  double mass_ = 0;
};

// -1: no token is allowed. What top-p leaves is never sorted, as in FlashInfer's sorting-free
// sampling: a token is drawn as if there was no top-p. Where those before it have the share without
// it, neither it nor any after it is left, and one of those before it is drawn instead: that is
// rejection sampling, and each rejection takes half of what is too much away, on average.
int32_t draw(const RowKernels& kernels, const float* logits, int32_t vocabulary,
             const SampleRow& row, SampleScratch& scratch) {
  collect_best(kernels, logits, vocabulary, 1, scratch.best);
  if (scratch.best.empty()) return -1;
  const TokenLogit best = scratch.best.front();
  if (row.temperature == 0) return best.token;

  Draw tokens(kernels, logits, vocabulary, best.logit, row.temperature, scratch);
  if (row.top_k > 0) {
    collect_best(kernels, logits, vocabulary, row.top_k, scratch.best);
    const TokenLogit last = *std::max_element(scratch.best.begin(), scratch.best.end(), better);
    tokens.keep_before({last.token + 1, last.logit});
  }
  const double enough = row.top_p < 1 ? row.top_p * tokens.mass() : kInfinity;
  if (row.min_p > 0) tokens.keep_before(min_p_bound(best.logit, row.temperature, row.min_p));
  for (uint64_t random = row.random;; random = split_mix(random)) {
    const double uniform = static_cast<double>(random >> 11) * 0x1p-53;
    const TokenLogit drawn = tokens.find(uniform * tokens.mass());
    if (row.top_p == 1) return drawn.token;
    tokens.keep_before(drawn);
    if (tokens.mass() < enough) return drawn.token;
  }
}

}  // namespace

void SampleScratch::reserve_weights(int32_t vocabulary) {
  weights.reserve(static_cast<size_t>(vocabulary + kSumLanes - 1));
  sums.reserve(static_cast<size_t>(weight_blocks(vocabulary)));
}

void sample(const RowKernels& kernels, const float* logits, int32_t vocabulary,
            const SampleRow& row, SampleScratch& scratch, SampleResult& result) {
  float maximum;
  result.finite = kernels.finite_maximum(logits, vocabulary, &maximum) ? 1 : 0;
  if (result.finite == 0) return;
  result.top_count = 0;
  if (row.top >= 0) {
    const Draw all(kernels, logits, vocabulary, maximum, 1, scratch);
    result.log_sum_exp = maximum + portable::log(all.mass());
    collect_best(kernels, logits, vocabulary, row.top, scratch.best);
    std::sort(scratch.best.begin(), scratch.best.end(), better);
    std::copy(scratch.best.begin(), scratch.best.end(), result.top);
    result.top_count = static_cast<int32_t>(scratch.best.size());
  }

  const float* modified = logits;
  if (modifies(row)) {
    scratch.logits.reserve(static_cast<size_t>(vocabulary));
    std::copy_n(logits, vocabulary, scratch.logits.data());
    modify(row, vocabulary, scratch.logits.data());
    modified = scratch.logits.data();
  }
  result.token = draw(kernels, modified, vocabulary, row, scratch);
  if (result.token >= 0) result.logit = logits[result.token];
}

}  // namespace tramontane::cpu
