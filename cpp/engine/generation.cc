#include "engine/generation.h"

#include <algorithm>
#include <utility>

namespace tramontane {
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
  sampler_.describe(static_cast<uint64_t>(count() - prompt_length), row);
  row->mask = mask();
  row->top = std::min(logprobs_, vocabulary_);
  top_.resize(static_cast<size_t>(std::max(row->top, 0)));
  result->top = top_.data();
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

void Generation::read(Backend&, int32_t, int32_t, const SampleResult& sample) {
  drawn_ = sample;
  if (!drawn_.finite) {
    set_problem("COMPUTE_FAILED", kNotFinite);
  } else if (drawn_.token < 0) {
    set_no_token_left();
  }
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
  if (fail_of_problem(events) || drawn_.token < 0) return;
  const int32_t token = std::exchange(drawn_.token, -1);
  newest_token_ = Clock::now();
  if (count() == prompt_length) first_token_ = newest_token_;
  sampler_.accept(token);
  if (constraint_) constraint_->accept(token);
  tokens_.push_back(token);
  ++ahead_;
  report_token(token, events);

  const bool stops =
      std::find(stop_tokens_.begin(), stop_tokens_.end(), token) != stop_tokens_.end();
  if (stops || (constraint_ && constraint_->finished())) {
    end(Finish::kStop, events);
  } else if (count() - prompt_length >= max_tokens_ || count() >= context_) {
    end(Finish::kLength, events);
  }
}

void Generation::report_token(int32_t token, std::vector<Event>* events) {
  Event event;
  event.id = id;
  event.token = token;
  if (logprobs_ >= 0) {
    event.logprob = static_cast<float>(drawn_.logit - drawn_.log_sum_exp);
    for (int32_t i = 0; i < drawn_.top_count; ++i) {
      const TokenLogit& top = drawn_.top[i];
      event.top.push_back({top.token, static_cast<float>(top.logit - drawn_.log_sum_exp)});
    }
  }
  events->push_back(std::move(event));
}

}  // namespace tramontane
