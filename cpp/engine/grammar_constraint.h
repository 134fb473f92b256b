// Keeps a generation to a grammar.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "grammar/matcher.h"

namespace tramontane {

class GrammarConstraint final : public TokenConstraint {
 public:
  // `stop_tokens`: those of the generation. Such as have no text end it where the grammar accepts.
  GrammarConstraint(const std::shared_ptr<SharedGrammar>& grammar,
                    const std::shared_ptr<const Vocabulary>& vocabulary,
                    const std::vector<int32_t>& stop_tokens, bool dummy_space,
                    int32_t model_vocabulary);

  const uint32_t* mask() override;
  void accept(int32_t token) override;
  void rollback(int32_t tokens) override { matcher_.rollback(tokens); }
  bool finished() override { return matcher_.finished(); }
  std::string place() override;

 private:
  Matcher matcher_;
  Mask mask_;
  // Where model and tokenizer count their tokens differently, [ceil(model_vocabulary / 32)].
  std::vector<uint32_t> fitted_;
};

}  // namespace tramontane
