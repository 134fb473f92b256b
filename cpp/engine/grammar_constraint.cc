#include "engine/grammar_constraint.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace tramontane {
namespace {

std::vector<int32_t> without_text(const Vocabulary& vocabulary,
                                  const std::vector<int32_t>& tokens) {
  std::vector<int32_t> ends;
  for (const int32_t token : tokens) {
    const bool inside = token >= 0 && token < vocabulary.size();
    if (inside && !vocabulary.has_text(token)) ends.push_back(token);
  }
  return ends;
}

}  // namespace

GrammarConstraint::GrammarConstraint(const std::shared_ptr<SharedGrammar>& grammar,
                                     const std::shared_ptr<const Vocabulary>& vocabulary,
                                     const std::vector<int32_t>& stop_tokens, bool dummy_space,
                                     int32_t model_vocabulary)
    : matcher_(grammar, vocabulary, {without_text(*vocabulary, stop_tokens), dummy_space}) {
  if (vocabulary->size() == model_vocabulary) return;
  fitted_.resize((static_cast<size_t>(model_vocabulary) + 31) / 32);
}

const uint32_t* GrammarConstraint::mask() {
  mask_ = matcher_.mask();
  if (fitted_.empty()) return mask_->data();
  std::copy_n(mask_->begin(), std::min(mask_->size(), fitted_.size()), fitted_.begin());
  return fitted_.data();
}

void GrammarConstraint::accept(int32_t token) {
  if (matcher_.accept(token)) return;
  throw Error("COMPUTE_FAILED", "a token was drawn that the grammar does not allow");
}

std::string GrammarConstraint::place() {
  try {
    return matcher_.place();
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace tramontane
