#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/portable_math.h"
#include "base/split_mix.h"

namespace tramontane {
namespace {

// Candidates asked for at first. Most draws fall among them; one that does not asks for more.
constexpr int32_t kFirstCandidates = 64;

}  // namespace

double uniform(uint64_t seed, uint64_t index) {
  const uint64_t bits = split_mix(split_mix(seed) + index * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

AllowList::AllowList(const std::vector<int32_t>& tokens, int32_t vocabulary)
    : bits_((static_cast<size_t>(vocabulary) + 31) / 32) {
  for (const int32_t token : tokens) bits_[token / 32] |= uint32_t{1} << (token % 32);
}

Sampler::Sampler(SamplingOptions options, const std::vector<int32_t>& prompt, int32_t vocabulary)
    : options_(std::move(options)),
      vocabulary_(vocabulary),
      penalties_(options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
                 options_.frequency_penalty != 0) {
  if (!penalties_) return;
  seen_index_.assign(static_cast<size_t>(vocabulary), -1);
  for (const int32_t token : prompt) {
    if (seen_index_[token] >= 0) continue;
    seen_index_[token] = static_cast<int32_t>(seen_tokens_.size());
    seen_tokens_.push_back(token);
    seen_counts_.push_back(0);
  }
}

void Sampler::describe(SampleRow* row) const {
  row->temperature = options_.temperature;
  row->bias_tokens = options_.bias_tokens.data();
  row->bias_values = options_.bias_values.data();
  row->bias_count = static_cast<int32_t>(options_.bias_tokens.size());
  row->seen_tokens = seen_tokens_.data();
  row->seen_counts = seen_counts_.data();
  row->seen_count = static_cast<int32_t>(seen_tokens_.size());
  row->repetition_penalty = options_.repetition_penalty;
  row->presence_penalty = options_.presence_penalty;
  row->frequency_penalty = options_.frequency_penalty;
  const int32_t wanted = options_.temperature == 0 ? 1
                         : options_.top_k > 0      ? options_.top_k
                                                   : kFirstCandidates;
  row->candidates = std::min(wanted, vocabulary_);
}

int32_t Sampler::draw(const SampleResult& result, int32_t asked, uint64_t index) const {
  const TokenLogit* candidates = result.candidates;
  if (options_.temperature == 0) return candidates[0].token;

  const int32_t count = result.candidate_count;
  const bool complete = options_.top_k > 0 || asked == vocabulary_ || count < asked;
  const auto probability = [&](int32_t i) {
    return portable::exp(candidates[i].logit / double{options_.temperature} -
                         result.candidate_log_mass);
  };

  // What the filters leave is a prefix of the candidates: its length and its mass.
  double total = 1;
  if (complete) {
    total = 0;
    for (int32_t i = 0; i < count; ++i) total += probability(i);
  }
  const bool filtered = options_.top_p < 1 || options_.min_p > 0;
  double mass = total;
  if (filtered) {
    const double enough = options_.top_p < 1 ? options_.top_p * total : INFINITY;
    const double least = options_.min_p * probability(0);
    mass = 0;
    int32_t kept = 0;
    while (kept < count && mass < enough && probability(kept) >= least) mass += probability(kept++);
    if (kept == count && !complete) return -1;
  }
  const double target = uniform(options_.seed, index) * mass;
  double sum = 0;
  int32_t last = 0;
  for (int32_t i = 0; i < count; ++i) {
    const double p = probability(i);
    if (p > 0) last = i;
    sum += p;
    if (sum > target) return candidates[i].token;
    if (filtered && sum >= mass) break;
  }
  return complete || filtered ? candidates[last].token : -1;
}

void Sampler::accept(int32_t token) {
  if (!penalties_) return;
  int32_t& index = seen_index_[token];
  if (index < 0) {
    index = static_cast<int32_t>(seen_tokens_.size());
    seen_tokens_.push_back(token);
    seen_counts_.push_back(0);
  }
  ++seen_counts_[index];
}

}  // namespace tramontane
