// Draws tokens of one sequence from the candidates a backend gives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace tramontane {

struct SamplingOptions {
  float temperature = 0.7f;  // 0: greedy
  int32_t top_k = 0;         // 0: off
  float top_p = 1;           // 1: off
  float min_p = 0;           // 0: off
  uint64_t seed = 0;
  float repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  std::vector<int32_t> bias_tokens;
  std::vector<float> bias_values;
};

// Restricts what may be drawn next. A speculative draw is accepted before it is certain, hence
// rollback().
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Bits of the tokens allowed next, [ceil(vocabulary / 32)]; valid until the next call.
  virtual const uint32_t* mask() = 0;
  virtual void accept(int32_t token) = 0;
  // Takes the last `tokens` accepted tokens back.
  virtual void rollback(int32_t tokens) = 0;
  // Nothing but an end may follow.
  virtual bool finished() { return false; }
  // What may follow, for the message where no token of the vocabulary does; empty: unknown.
  virtual std::string place() { return {}; }
};

// The same tokens are allowed at every step.
class AllowList final : public TokenConstraint {
 public:
  AllowList(const std::vector<int32_t>& tokens, int32_t vocabulary);
  const uint32_t* mask() override { return bits_.data(); }
  void accept(int32_t) override {}
  void rollback(int32_t) override {}

 private:
  std::vector<uint32_t> bits_;
};

class Sampler {
 public:
  // `prompt` counts for the repetition penalty.
  Sampler(SamplingOptions options, const std::vector<int32_t>& prompt, int32_t vocabulary);

  // Everything of a SampleRow but `output`, `mask` and `top`. Pointers are valid until accept().
  void describe(SampleRow* row) const;

  // Draws token number `index` of the output. Greedy at temperature 0; else, as in Hugging Face's
  // order: temperature, top-k, top-p over what top-k left, min-p. Randomness is a function of
  // (seed, index) alone. `asked` candidates were asked for; there are fewer when the mask allows no
  // more. Returns -1 when they do not cover the draw: ask for more, at last for
  // the whole vocabulary.
  int32_t draw(const SampleResult& result, int32_t asked, uint64_t index) const;

  void accept(int32_t token);

 private:
  const SamplingOptions options_;
  const int32_t vocabulary_;
  bool penalties_;
  std::vector<int32_t> seen_tokens_, seen_counts_;
  std::vector<int32_t>
      seen_index_;  // [vocabulary] index into seen_tokens_, or -1; with penalties only
};

// A number in [0, 1) that depends on its two arguments alone.
double uniform(uint64_t seed, uint64_t index);

}  // namespace tramontane
