#include "engine/generation.h"

#include <algorithm>
#include <utility>

namespace tramontane {
namespace {

// A draw that lies beyond the candidates asks for so many times as many. Of a small model with
// 49,152 tokens (SmolLM2 135M) at temperature 1, 16% of the draws lie beyond the best 64, 4% beyond
// the best 1,024 and 0.1% beyond the best 16,384; at 1.5 it is 75, 48 and 8%.
constexpr int32_t kWiden = 16;

}  // namespace

Generation::Generation(uint64_t id, GenerateRequest request, int32_t vocabulary, int32_t context,
                       const uint32_t* drawable)
    : Task(id, request.priority, std::move(request.prompt), request.cache_salt,
           std::move(request.adapter)),
      sampler_(std::move(request.sampling), tokens_, vocabulary),
      constraint_(std::move(request.constraint)),
      stop_tokens_(std::move(request.stop_tokens)),
      vocabulary_(vocabulary),
      max_tokens_(request.max_tokens),
      context_(context),
      logprobs_(request.logprobs),
      drawable_(drawable) {}

bool Generation::describe(SampleRow* row, SampleResult* result) {
  sampler_.describe(&row_);
  row_.mask = mask();
  row_.top = std::clamp(logprobs_, 0, vocabulary_);
  if (asked_ > 0) row_.candidates = asked_;
  candidates_.resize(static_cast<size_t>(row_.candidates));
  raw_.resize(static_cast<size_t>(row_.candidates));
  top_.resize(static_cast<size_t>(row_.top));
  result_.candidates = candidates_.data();
  result_.candidate_raw = raw_.data();
  result_.top = top_.data();
  *row = row_;
  *result = result_;
  return true;
}

// What the constraint allows, of what can be drawn at all.
const uint32_t* Generation::mask() {
  const uint32_t* allowed = constraint_ ? constraint_->mask() : nullptr;
  if (allowed == nullptr || drawable_ == nullptr) return allowed ? allowed : drawable_;
  mask_.resize((static_cast<size_t>(vocabulary_) + 31) / 32);
  for (size_t i = 0; i < mask_.size(); ++i) mask_[i] = allowed[i] & drawable_[i];
  return mask_.data();
}

bool Generation::read(Backend&, int32_t, int32_t, const SampleResult& sample) {
  result_ = sample;
  if (!result_.finite) {
    set_problem("COMPUTE_FAILED", kNotFinite);
    return true;
  }
  if (result_.candidate_count == 0) {
    set_no_token_left();
    return true;
  }
  token_ = sampler_.draw(result_, row_.candidates, static_cast<uint64_t>(count() - prompt_length));
  // Sorting what is asked for is most of its cost: the whole vocabulary comes last.
  asked_ = token_ >= 0 ? 0 : std::min(row_.candidates * kWiden, vocabulary_);
  return token_ >= 0;
}

void Generation::set_no_token_left() {
  const std::string place = constraint_ ? constraint_->place() : std::string();
  if (place.empty()) {
    return set_problem("INVALID_OPTION", "logitBias and allowedTokens leave no token to choose");
  }
  set_problem("INVALID_GRAMMAR", "no token is left to choose after " +
                                     std::to_string(count() - prompt_length) +
                                     " of the output: the grammar goes on with " + place);
}

void Generation::take(std::vector<Event>* events) {
  if (fail_of_problem(events) || token_ < 0) return;
  newest_token_ = Clock::now();
  if (count() == prompt_length) first_token_ = newest_token_;
  sampler_.accept(token_);
  if (constraint_) constraint_->accept(token_);
  tokens_.push_back(token_);
  ++ahead_;
  report_token(events);

  const bool stops =
      std::find(stop_tokens_.begin(), stop_tokens_.end(), token_) != stop_tokens_.end();
  if (stops || (constraint_ && constraint_->finished())) {
    end(Finish::kStop, events);
  } else if (count() - prompt_length >= max_tokens_ || count() >= context_) {
    end(Finish::kLength, events);
  }
  token_ = -1;
}

void Generation::report_token(std::vector<Event>* events) {
  Event event;
  event.id = id;
  event.token = token_;
  if (logprobs_ >= 0) {
    for (int32_t i = 0; i < result_.candidate_count; ++i) {
      if (result_.candidates[i].token != token_) continue;
      event.logprob = static_cast<float>(result_.candidate_raw[i] - result_.log_sum_exp);
      break;
    }
    for (int32_t i = 0; i < result_.top_count; ++i) {
      const TokenLogit& top = result_.top[i];
      event.top.push_back({top.token, static_cast<float>(top.logit - result_.log_sum_exp)});
    }
  }
  events->push_back(std::move(event));
}

}  // namespace tramontane
