#include "engine/score.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/portable_math.h"
#include "model/transformer.h"

namespace tramontane {

Score::Score(uint64_t id, ScoreRequest request, int32_t vocabulary)
    : Task(id, 0, std::move(request.tokens), request.cache_salt, std::move(request.adapter)),
      first_(request.first),
      positions_(std::move(request.positions)),
      out_(request.out),
      vocabulary_(vocabulary) {}

bool Score::wants(int32_t position) const {
  if (out_ == nullptr) return position >= first_wanted() && position < count() - 1;
  return std::binary_search(positions_.begin(), positions_.end(), position);
}

int32_t Score::first_wanted() const { return out_ == nullptr ? first_ - 1 : positions_.front(); }

void Score::restart() {
  negative_log_likelihood_ = 0;
  read_.clear();
}

void Score::read(Backend& backend, int32_t position, int32_t output, const SampleResult&) {
  float* logits;
  if (out_ != nullptr) {
    const auto found = std::lower_bound(positions_.begin(), positions_.end(), position);
    logits = out_ + (found - positions_.begin()) * int64_t{vocabulary_};
  } else {
    logits_.resize(static_cast<size_t>(vocabulary_));
    logits = logits_.data();
  }
  check(backend, backend.read_logits(output, logits));
  const auto finite = [](float logit) { return std::isfinite(logit); };
  if (!std::all_of(logits, logits + vocabulary_, finite)) {
    set_problem("COMPUTE_FAILED", kNotFinite);
    return;
  }
  if (out_ != nullptr) return;

  const float highest = *std::max_element(logits, logits + vocabulary_);
  double sum = 0;
  for (int32_t i = 0; i < vocabulary_; ++i) sum += portable::exp(double{logits[i]} - highest);
  const double next = logits[tokens_[position + 1]];
  read_.push_back(portable::log(sum) + highest - next);
}

void Score::take(std::vector<Event>* events) {
  if (fail_of_problem(events)) return;
  for (const double row : read_) negative_log_likelihood_ += row;
  read_.clear();
}

void Score::computed(std::vector<Event>* events) { end(Finish::kScored, events); }

void Score::describe_end(Event* event) const {
  event->negative_log_likelihood = negative_log_likelihood_;
}

}  // namespace tramontane
