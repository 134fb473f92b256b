#include "engine/sampler.h"

#include <utility>

#include "base/split_mix.h"

namespace tramontane {
uint64_t random_bits(uint64_t seed, uint64_t index) {
  return split_mix(split_mix(seed) + index * kGolden);
}

AllowList::AllowList(const std::vector<int32_t>& tokens, int32_t vocabulary)
    : bits_((static_cast<size_t>(vocabulary) + 31) / 32) {
  for (const int32_t token : tokens) bits_[token / 32] |= uint32_t{1} << (token % 32);
}

Sampler::Sampler(SamplingOptions options, const std::vector<int32_t>& prompt, int32_t vocabulary)
    : options_(std::move(options)),
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

void Sampler::describe(uint64_t index, SampleRow* row) const {
  row->temperature = options_.temperature;
  row->top_k = options_.top_k;
  row->top_p = options_.top_p;
  row->min_p = options_.min_p;
  row->random = random_bits(options_.seed, index);
  row->bias_tokens = options_.bias_tokens.data();
  row->bias_values = options_.bias_values.data();
  row->bias_count = static_cast<int32_t>(options_.bias_tokens.size());
  row->seen_tokens = seen_tokens_.data();
  row->seen_counts = seen_counts_.data();
  row->seen_count = static_cast<int32_t>(seen_tokens_.size());
  row->repetition_penalty = options_.repetition_penalty;
  row->presence_penalty = options_.presence_penalty;
  row->frequency_penalty = options_.frequency_penalty;
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
